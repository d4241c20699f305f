"""A light load generator: prepared HTTP requests over connections that stay open.

It works in a process of its own, so that what it does takes no time from those it measures with,
and it says how much of a processor it used.
"""

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Self, TypeVar

import uvloop

from hitl_project import parent_death

HOST = "127.0.0.1"

T = TypeVar("T")


@dataclass(frozen=True)
class Load:
    """What a load took: the seconds of each call, and of all of them together.

    `cpu_seconds` is what making it used of a processor; None where no generator made it.
    """

    seconds: Sequence[float]
    elapsed_seconds: float
    cpu_seconds: float | None = None

    @property
    def per_second(self) -> float:
        """Calls a second."""
        return len(self.seconds) / self.elapsed_seconds


class UnexpectedAnswer(Exception):
    """A server answered something else than the benchmark is about."""


def http_post(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The bytes of one HTTP/1.1 POST, so that sending it costs next to nothing."""
    fields = {"Host": HOST, "Content-Type": "application/json", "Content-Length": len(body)}
    lines = [f"{name}: {value}\r\n" for name, value in {**fields, **headers}.items()]
    return f"POST {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body


def http_get(path: str, headers: Mapping[str, str]) -> bytes:
    """The bytes of one HTTP/1.1 GET."""
    lines = [f"{name}: {value}\r\n" for name, value in {"Host": HOST, **headers}.items()]
    return f"GET {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


@cache
def generator() -> ProcessPoolExecutor:
    """The one process that makes loads; it ends with this one."""
    return ProcessPoolExecutor(
        max_workers=1,
        # A fork would take along what this process has open, and its threads' locks.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=parent_death.die_with_parent,
        initargs=(signal.SIGKILL,),
    )


def send_all(port: int, requests: Sequence[bytes], status: int, *, concurrency: int) -> Load:
    """Send every request over so many connections; UnexpectedAnswer where one is not `status`."""
    return begin_sending(port, requests, status, concurrency=concurrency).result()


def begin_sending(
    port: int, requests: Sequence[bytes], status: int, *, concurrency: int
) -> "Future[Load]":
    """Send every request as `send_all` does, without waiting for the end."""
    return generator().submit(_send, port, list(requests), status, concurrency)


def _send(port: int, requests: Sequence[bytes], status: int, concurrency: int) -> Load:
    async def send() -> Load:
        connections = [await _Connection.open(port) for _ in range(concurrency)]
        try:
            return await share(requests, [one.sender(status) for one in connections])
        finally:
            for connection in connections:
                connection.close()

    return run(send)


def run(load: Callable[[], Awaitable[Load]]) -> Load:
    """Run a load on the event loop that the servers use too."""

    async def main() -> Load:
        return await load()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def share(work: Sequence[T], workers: Sequence[Callable[[T], Awaitable[None]]]) -> Load:
    """Have the workers take the pieces of work one by one until none is left."""
    waiting, seconds = iter(work), []

    async def serve(worker: Callable[[T], Awaitable[None]]) -> None:
        for piece in waiting:
            began = time.perf_counter()
            await worker(piece)
            seconds.append(time.perf_counter() - began)

    used, began = time.process_time(), time.perf_counter()
    await asyncio.gather(*map(serve, workers))
    return Load(seconds, time.perf_counter() - began, time.process_time() - used)


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Self:
        return cls(*await asyncio.open_connection(HOST, port))

    def close(self) -> None:
        self._writer.close()

    def sender(self, status: int) -> Callable[[bytes], Awaitable[None]]:
        expected = f"HTTP/1.1 {status} ".encode()

        async def send(request: bytes) -> None:
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            body = await self._reader.readexactly(int(length))
            if not head.startswith(expected):
                first_line = head.partition(b"\r\n")[0].decode()
                raise UnexpectedAnswer(f"{first_line}: {body.decode()[:500]}")

        return send
