"""Requests share threads one after the other, and nothing of one gets into the next."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.urls import path
from pytest_django import Settings

from hitl_project.asgi import IDLE_THREADS, Handler

AT_WORK_SECONDS = 0.6
GONE_AFTER_SECONDS = 0.2

_left: ContextVar[str] = ContextVar("left", default="nothing")
_at_work: set[int] = set()


def _found() -> str:
    """What the thread still does and has of an earlier request, which is now this one's."""
    found = f"{_left.get()}, {'busy' if threading.get_ident() in _at_work else 'free'}"
    _left.set("something")
    return found


def works(_: HttpRequest) -> HttpResponse:
    """Take a while, whoever still waits for it."""
    found = _found()
    _at_work.add(threading.get_ident())
    time.sleep(AT_WORK_SECONDS)
    _at_work.discard(threading.get_ident())
    return HttpResponse(found)


def waits(_: HttpRequest) -> HttpResponse:
    """Wait on the event loop as the API's calls do."""
    async_to_sync(asyncio.sleep)(30)
    return HttpResponse(_found())


def fails(_: HttpRequest) -> HttpResponse:
    """End as no view should."""
    raise asyncio.CancelledError(_found())


def answers(_: HttpRequest) -> HttpResponse:
    """Answer at once."""
    return HttpResponse(_found())


urlpatterns = [path(view.__name__, view) for view in (works, waits, fails, answers)]


@pytest.fixture
def handler(settings: Settings) -> Iterator[Handler]:
    """What answers these views, with no middleware around them."""
    settings.ROOT_URLCONF, settings.MIDDLEWARE = __name__, []
    yield Handler()
    assert not _at_work


def kept(handler: Handler) -> int:
    """How many threads wait for the next request."""
    return len(handler._idle)  # noqa: SLF001 - nothing else tells


async def ask(handler: Handler, name: str, *, gone_after: float | None = None) -> bytes:
    """The body of the answer; empty for a client that goes away before there is one."""
    gone, body = asyncio.Event(), b""
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])

    async def receive() -> dict[str, object]:
        if (message := next(messages, None)) is None:
            await gone.wait()
            return {"type": "http.disconnect"}
        return message

    async def send(message: dict[str, bytes]) -> None:
        nonlocal body
        body += message.get("body", b"")

    scope = {"type": "http", "method": "GET", "path": f"/{name}", "headers": []}
    if gone_after is not None:
        asyncio.get_running_loop().call_later(gone_after, gone.set)
    await handler(scope, receive, send)  # type: ignore[arg-type]
    return body


@pytest.mark.parametrize("name", ["works", "waits"])
def test_a_client_that_goes_away_leaves_a_thread_that_is_free(handler: Handler, name: str) -> None:
    async def both() -> tuple[bytes, bytes]:
        return await ask(handler, name, gone_after=GONE_AFTER_SECONDS), await ask(
            handler, "answers"
        )

    started = time.monotonic()
    assert asyncio.run(both()) == (b"", b"nothing, free")
    assert time.monotonic() - started < 5
    assert kept(handler) == 1


def test_a_view_that_ends_as_none_should_leaves_a_thread_that_is_free(handler: Handler) -> None:
    async def both() -> bytes:
        with pytest.raises(asyncio.CancelledError):
            await ask(handler, "fails")
        return await ask(handler, "answers")

    assert asyncio.run(both()) == b"nothing, free"
    assert kept(handler) == 1


def test_no_more_threads_are_kept_than_are_of_use(handler: Handler) -> None:
    async def crowd() -> list[bytes]:
        return await asyncio.gather(*(ask(handler, "works") for _ in range(IDLE_THREADS + 8)))

    before = threading.active_count()
    assert set(asyncio.run(crowd())) == {b"nothing, free"}
    assert kept(handler) == IDLE_THREADS
    assert threading.active_count() - before <= IDLE_THREADS + 1
