"""Where trails begin, and where spans go: to a collector, if the environment names one."""

import asyncio
import threading
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from celery.signals import (
    before_task_publish,
    task_postrun,
    task_prerun,
    worker_process_shutdown,
)
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.urls import Resolver404, resolve

from approvals import trail
from hitl_project.limits import Application, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

    from approvals.spans import Spans

# A collector that does not answer must not keep a process from ending.
FLUSH_SECONDS = 3.0
# Asked every few seconds, or open for hours: nobody decides anything there.
_UNTRACED = frozenset({"/healthz", "/readyz", "/metrics", "/events"})

_sending: "tuple[Spans, TracerProvider] | None" = None
_tasks: dict[str, ExitStack] = {}


def start() -> None:
    """Send the spans of this process, and of those it forks, to the collector, if there is one."""
    global _sending  # noqa: PLW0603 - a process sends traces or does not
    if not settings.HITL_SENDS_TRACES:
        return
    try:
        # Slow to load, and of no use to whoever sends no spans.
        from approvals.spans import Spans  # noqa: PLC0415
        from hitl_project.otlp import open_provider  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise ImproperlyConfigured(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, or the same for traces, but {missing.name} is not"
            " installed. To send traces, install opentelemetry-sdk and"
            " opentelemetry-exporter-otlp-proto-http; else unset it."
        ) from missing
    provider = open_provider()
    _sending = Spans(provider), provider
    trail.trace_with(_sending[0])


def flush(**_: object) -> None:
    """Send what has not been sent yet, for a few seconds at most."""
    if _sending is None:
        return
    last = threading.Thread(target=_sending[1].force_flush, daemon=True)
    last.start()
    last.join(FLUSH_SECONDS)


def follow_web(application: Application) -> Application:
    """The ASGI application, each of whose requests begins a trail of its own."""

    async def followed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        with trail.entry():
            if _sending is None or _is_untraced(scope):
                await application(scope, receive, send)
                return
            came_from = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
            with _sending[0].root(str(scope["method"]), "server") as span:
                # Whoever asks may be anybody: a trace of theirs is led to, and decides nothing
                # about ours, such as whether it is kept.
                _sending[0].link(came_from)
                _name(span, scope)
                await application(scope, receive, partial(_answer, span, send))

    return followed


def follow_tasks() -> None:
    """Let each Celery task begin a trail of its own, in the trace of whoever sent it."""
    before_task_publish.connect(_carry)
    task_prerun.connect(_enter)
    task_postrun.connect(_leave)
    worker_process_shutdown.connect(flush)


async def _live(receive: Receive, send: Send) -> None:
    """Answer the server's lifespan messages; before it ends, spans are sent."""
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    await asyncio.to_thread(flush)
    await send({"type": "lifespan.shutdown.complete"})


def _is_untraced(scope: Scope) -> bool:
    path = str(scope["path"])
    return path in _UNTRACED or path.startswith(settings.STATIC_URL)


def _name(span: "Span", scope: Scope) -> None:
    """Name a span by its route alone: an address may hold what is nobody else's business."""
    method = str(scope["method"])
    span.set_attribute("http.request.method", method)
    try:
        route = f"/{resolve(str(scope['path'])).route}"
    except Resolver404:
        return
    span.update_name(f"{method} {route}")
    span.set_attribute("http.route", route)


async def _answer(span: "Span", send: Send, message: Message) -> None:
    if message["type"] == "http.response.start":
        span.set_attribute("http.response.status_code", int(message["status"]))
        if int(message["status"]) >= 500 and _sending is not None:
            _sending[0].fail("The server failed.")
    await send(message)


def _carry(headers: dict[str, Any], **_: object) -> None:
    if came_from := trail.traceparent():
        headers["traceparent"] = came_from


def _enter(task_id: str, task: Any, **_: object) -> None:
    work = ExitStack()
    work.enter_context(trail.entry())
    came_from = getattr(task.request, "traceparent", None)
    # The sweep looks for work every few seconds, mostly in vain: what it finds begins a trace.
    if _sending is not None and came_from:
        work.enter_context(_sending[0].root(task.name, "consumer", came_from))
    _tasks[task_id] = work


def _leave(task_id: str, state: str | None = None, **_: object) -> None:
    if state == "FAILURE" and _sending is not None:
        _sending[0].fail("The task failed.")
    _tasks.pop(task_id).close()
