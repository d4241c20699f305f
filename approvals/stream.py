"""`/events`: tells an open page which requests changed, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import closing
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET

from approvals import live

HEARTBEAT_SECONDS = 15.0
# After that the page asks again, and whether it may is looked at again.
LIFETIME_SECONDS = 900.0
START_SECONDS = 5.0
RETRY = "retry: 2000\n\n"
# What a page costs a web server that made the same for somebody else, about; few pages ask at once,
# many in turns, so that there is time for everybody else.
PAGE_SECONDS = 0.004
FEW_PAGES = 20


@require_GET
async def events(request: HttpRequest) -> HttpResponseBase:
    """One `changed` event for every change; 401 without a session.

    Its data are the `request_id` and `within_ms`: the page asks for what changed after a time of
    its own choice, at most so long, because as many others do.

    The response begins once changes are being followed, so a page that reads its rows when the
    stream opens misses nothing.
    """
    if not await live.let_go(lambda: request.user.is_authenticated):
        return JsonResponse({"detail": "Log in to follow what changes."}, status=401)
    watching = await live.watch_all(START_SECONDS)
    if watching is None:
        # An empty stream makes the browser try again, where an error would end it for good.
        return _stream(_nothing())
    return _stream(_lines(watching))


def _stream(lines: AsyncIterator[str]) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        lines,
        content_type="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _nothing() -> AsyncIterator[str]:
    yield RETRY


async def _lines(watching: live.Watch) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + LIFETIME_SECONDS
    with closing(watching):
        yield RETRY
        while not watching.ended and loop.time() < ends_at:
            changed = await watching.changes(HEARTBEAT_SECONDS)
            within_ms = round(max(0, watching.crowd - FEW_PAGES) * PAGE_SECONDS * 1000)
            events = [_event(one, within_ms) for one in sorted(changed)]
            yield "".join(events) or ": nothing new\n\n"


def _event(stream: UUID, within_ms: int) -> str:
    data = {"request_id": str(stream), "within_ms": within_ms}
    return f"event: changed\ndata: {json.dumps(data)}\n\n"
