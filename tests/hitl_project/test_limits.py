"""Bodies are limited while they arrive, for every address."""

import asyncio
from collections.abc import Mapping
from typing import Any

from hitl_project.limits import Application, limit_bodies

LIMIT = 10


async def _echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers how much it read, and what ended the body."""
    read, message = 0, {"type": "http.request", "more_body": True}
    while message["type"] == "http.request" and message.get("more_body"):
        message = await receive()
        read += len(message.get("body", b""))
    await send({"type": "echo", "read": read, "ended_by": message["type"]})


async def _nothing(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers nothing once its client has gone away, as Django does."""
    while (await receive())["type"] == "http.request":
        pass


def answered(
    *chunks: bytes, stated: int | None = None, by: Application = _echo
) -> list[Mapping[str, Any]]:
    """What the application behind the limit answers to a body in these chunks."""
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]
    sent: list[Mapping[str, Any]] = []

    async def receive() -> Mapping[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)

    headers = [] if stated is None else [(b"content-length", str(stated).encode())]
    scope = {"type": "http", "headers": headers}
    asyncio.run(limit_bodies(by, LIMIT)(scope, receive, send))
    return sent


def test_a_body_within_the_limit_arrives_whole() -> None:
    assert answered(b"12345", b"67890", stated=10) == [
        {"type": "echo", "read": 10, "ended_by": "http.request"}
    ]


def test_a_body_that_states_more_is_answered_413_unread() -> None:
    start, body = answered(b"x" * 11, stated=11)
    assert start["status"] == 413
    assert b"larger than" in body["body"]


def test_a_body_that_turns_out_longer_is_cut_off() -> None:
    assert answered(b"12345", b"67890", b"1", b"2") == [
        {"type": "echo", "read": 10, "ended_by": "http.disconnect"}
    ]


def test_a_body_that_turns_out_longer_and_was_left_unanswered_is_answered_413() -> None:
    start, body = answered(b"12345", b"67890", b"1", b"2", by=_nothing)
    assert start["status"] == 413
    assert b"larger than" in body["body"]


def test_who_goes_away_within_the_limit_is_answered_nothing() -> None:
    assert answered(b"12345", by=_nothing) == []
