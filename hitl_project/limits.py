"""Refuse large bodies while they arrive: Django would write them to disk before it looks."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

MAX_BODY_BYTES = 5 * 1024 * 1024

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]


def limit_bodies(application: Application, limit: int = MAX_BODY_BYTES) -> Application:
    """The ASGI application behind a limit of `limit` bytes a body.

    A body that states more is answered 413 unread; one that turns out to be longer is cut off, as
    if its client had gone away, and answered 413 where the application answers nothing.
    """

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        stated = dict(scope["headers"]).get(b"content-length", b"0")
        if stated.isdigit() and int(stated) > limit:
            await _refuse(send)
            return
        read, answered = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            return {"type": "http.disconnect"} if read > limit else message

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        await application(scope, counted, noted)
        if read > limit and not answered:
            await _refuse(send)

    return limited


async def _refuse(send: Send) -> None:
    body = b'{"detail": "The body is larger than 5 MB."}'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
