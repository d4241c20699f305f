"""Very many open tabs of the queue, in a process of their own: each does what static/live.js does.

A tab follows the stream of changes, and asks for its live part soon after it hears of one.
"""

import asyncio
import json
import multiprocessing
import random
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Self

import uvloop

from bench.load import HOST, http_get
from hitl_project import parent_death

# As static/live.js gathers changes.
GATHER_SECONDS = 0.15
OPENING_AT_ONCE = 50
OPEN_SECONDS = 120.0
END_SECONDS = 10.0
_SHOWN = re.compile(r"/approvals/([0-9a-f-]{36})/")


class TabsFailed(Exception):
    """The tabs could not be opened."""


@dataclass(frozen=True)
class Tab:
    """Whose browser it is open in, by the headers that it sends, and where."""

    headers: Mapping[str, str]
    path: str = "/"


@dataclass(frozen=True)
class Seen:
    """What one tab saw and when, by the monotonic clock of the machine.

    `told` says which request changed; `status` is that of an answer, which shows these requests.
    """

    at: float
    told: str = ""
    status: int = 0
    shows: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Change:
    """When each tab heard of a request, and when each of those that did showed it."""

    told_at: list[float]
    shown_at: list[float]
    refused: int


class Tabs:
    """So many tabs, open until the block ends."""

    def __init__(self, pipe: "Connection[object, object]", pid: int, number: int) -> None:
        self._pipe = pipe
        self.pid = pid
        self.number = number

    @classmethod
    @contextmanager
    def opened(cls, port: int, tabs: Sequence[Tab], *, quiet: bool = False) -> Iterator[Self]:
        """Tabs that follow what changes; each has shown its page once. Raises TabsFailed.

        Where they are `quiet`, they do what tabs do, but tell nobody what they saw.
        """
        context, number = multiprocessing.get_context("spawn"), len(tabs)
        ours, theirs = context.Pipe()
        process = context.Process(target=_browse, args=(theirs, port, tabs, quiet))
        process.start()
        theirs.close()
        try:
            if not ours.poll(OPEN_SECONDS):
                raise TabsFailed(f"{number} tabs were not open after {OPEN_SECONDS:g} s.")
            with suppress(EOFError):
                ours.recv()
                if process.pid is not None:
                    yield cls(ours, process.pid, number)
                    return
            raise TabsFailed(f"{number} tabs could not be opened; see above.")
        finally:
            process.kill()
            process.join(END_SECONDS)

    def change(self, request_id: str, seconds: float) -> Change:
        """What the tabs saw of a request that was just opened, for at most so many seconds."""
        ends = time.monotonic() + seconds
        told: list[float] = []
        shown: list[float] = []
        refused = 0
        while len(shown) + refused < self.number and self._pipe.poll(ends - time.monotonic()):
            seen = self._pipe.recv()
            if not isinstance(seen, Seen):
                raise TypeError(f"A tab said {seen!r}.")
            if seen.told == request_id:
                told.append(seen.at)
            elif request_id in seen.shows:
                shown.append(seen.at)
            elif seen.status != 200 and not seen.told:
                refused += 1
        return Change(told, shown, refused)


def _browse(
    pipe: "Connection[object, object]", port: int, opened: Sequence[Tab], quiet: bool
) -> None:
    parent_death.die_with_parent(signal.SIGKILL)

    def say(seen: Seen) -> None:
        if not quiet:
            pipe.send(seen)

    tabs = [_Open(say, port, tab) for tab in opened]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_open(tabs))
        pipe.send(len(tabs))
        runner.run(_follow(tabs))


async def _open(tabs: "Sequence[_Open]") -> None:
    opening = asyncio.Semaphore(OPENING_AT_ONCE)

    async def open_one(tab: "_Open") -> None:
        async with opening:
            await tab.open()

    await asyncio.gather(*map(open_one, tabs))


async def _follow(tabs: "Sequence[_Open]") -> None:
    await asyncio.gather(*(tab.follow() for tab in tabs))


class _Open:
    def __init__(self, say: Callable[[Seen], None], port: int, tab: Tab) -> None:
        self._say = say
        self._port = port
        self._stream = http_get("/events", tab.headers)
        part = {"HX-Request": "true", "HX-Target": "queue", "HX-Trigger": "queue"}
        self._part = http_get(tab.path, {**tab.headers, **part, "Connection": "close"})
        self._refresh: asyncio.Task[None] | None = None
        self._again = False
        self._within_seconds = 0.0

    async def open(self) -> None:
        """Show the live part once, and open the stream."""
        await self._ask()
        self._reader, self._writer = await asyncio.open_connection(HOST, self._port)
        self._writer.write(self._stream)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise TabsFailed(head.decode())

    async def follow(self) -> None:
        """Hear of changes, and show them, for as long as the stream is open."""
        async for line in self._reader:
            if line.startswith(b"data: "):
                news = json.loads(line.removeprefix(b"data: "))
                self._say(Seen(time.monotonic(), told=news["request_id"]))
                self._within_seconds = news["within_ms"] / 1000
                self._again = True
                if self._refresh is None or self._refresh.done():
                    self._refresh = asyncio.create_task(self._show())

    async def _show(self) -> None:
        while self._again:
            spread = random.random() * self._within_seconds  # noqa: S311 - no secret
            await asyncio.sleep(GATHER_SECONDS + spread)
            self._again = False
            status, page = await self._ask()
            shows = frozenset(_SHOWN.findall(page)) if status == 200 else frozenset()
            self._say(Seen(time.monotonic(), status=status, shows=shows))

    async def _ask(self) -> tuple[int, str]:
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            writer.write(self._part)
            answer = await reader.read()
            return int(answer.split(b" ", 2)[1]), answer.decode(errors="replace")
        finally:
            writer.close()
