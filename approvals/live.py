"""Wake waiting clients when something happens to what they wait for.

Everything that happens leaves an audit entry. One poller per process asks for new entries while
anybody waits, over one connection of its own, so that a waiting client costs none.
"""

import asyncio
import contextvars
import logging
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from types import FrameType
from typing import TypeVar
from uuid import UUID
from weakref import WeakSet

import psycopg
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import close_old_connections, connection
from psycopg.conninfo import make_conninfo

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
# How long a database that does not answer may take before its connection is given up.
ANSWER_SECONDS = 5
LONGEST_PAUSE_SECONDS = 5.0
# Longer than any transaction of ours; an id still missing by then was rolled back.
GAP_SECONDS = 60.0
LOOK_BACK = 1000
BATCH = 5000

_NEWEST = "SELECT COALESCE(MAX(id), 0) FROM approvals_auditentry"
_NEW = (
    "SELECT id, stream FROM approvals_auditentry WHERE id > %s OR id = ANY(%s) ORDER BY id LIMIT %s"
)

T = TypeVar("T")


class Watch:
    """One client's view of what changes; `stream` None watches everything.

    It counts from the moment it is made, so make it first and read the rows afterwards. Close it
    in the end; one that nobody holds any more counts as closed.
    """

    def __init__(self, stream: UUID | None) -> None:
        self.stream = stream
        self.ended = False
        self.closed = False
        # How many clients were told of the last change; together they ask for what it did.
        self.crowd = 1
        self._changed: set[UUID] = set()
        self._woken = asyncio.Event()

    def tell(self, streams: Iterable[UUID], crowd: int) -> None:
        """Wake the client if one of the streams is what it watches; so many watch everything."""
        self.crowd = crowd
        mine = set(streams) if self.stream is None else {self.stream}.intersection(streams)
        if mine:
            self._changed |= mine
            self._woken.set()

    def wake(self) -> None:
        """Wake the client whatever it watches, so that it reads again."""
        self._woken.set()

    def close(self) -> None:
        """The client has what it waited for, or went away."""
        self.closed = True

    def end(self) -> None:
        """Tell the client that the server stops."""
        self.ended = True
        self._woken.set()

    async def changes(self, seconds: float) -> set[UUID]:
        """The streams that changed since the last call, waiting for one at most so long.

        Empty when the time is over, and when the client should read again for another reason.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return set()
        self._woken.clear()
        changed, self._changed = self._changed, set()
        return changed


class Reader:
    """Which audit entries were seen. Ids commit out of order: gaps are asked for again."""

    def __init__(self, highest: int, seen: Iterable[int], now: float) -> None:
        recent = range(max(1, highest - LOOK_BACK + 1), highest + 1)
        self.highest = highest
        self._gaps = dict.fromkeys(set(recent).difference(seen), now)

    def gaps(self, now: float) -> list[int]:
        """The ids still missing; one that is missing for long will never come."""
        self._gaps = {gap: since for gap, since in self._gaps.items() if now - since < GAP_SECONDS}
        return list(self._gaps)

    def take(self, rows: Iterable[tuple[int, UUID]], now: float) -> set[UUID]:
        """The streams of rows that arrived, in the order of their ids."""
        streams = set()
        for number, stream in rows:
            streams.add(stream)
            self._gaps.pop(number, None)
            first = max(self.highest + 1, number - BATCH)
            self._gaps.update(dict.fromkeys(range(first, number), now))
            self.highest = max(self.highest, number)
        return streams


class Poller:
    """Asks for new audit entries while somebody watches; one per event loop."""

    def __init__(self) -> None:
        self._watches: WeakSet[Watch] = WeakSet()
        self._reader: Reader | None = None
        self._started = asyncio.Event()
        # Tests have Django rename the database, so its name is not always the one in the URL.
        self._conninfo = make_conninfo(
            settings.DATABASE_URL,
            dbname=str(connection.settings_dict["NAME"]),
            connect_timeout=ANSWER_SECONDS,
            tcp_user_timeout=ANSWER_SECONDS * 1000,
            application_name="hitl-live",
        )
        loop = asyncio.get_running_loop()
        # A context of its own: the poller outlives the request that happens to start it.
        self._task = loop.create_task(self._run(), context=contextvars.Context())

    def watch(self, stream: UUID | None) -> Watch:
        """A new watch."""
        made = Watch(stream)
        self._watches.add(made)
        return made

    def _open(self) -> list[Watch]:
        """The watches that are still held and not closed."""
        return [one for one in list(self._watches) if not one.closed]

    async def started(self, seconds: float) -> bool:
        """Wait until entries are being read; False if the database does not answer in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._started.wait()
        except TimeoutError:
            return False
        return True

    def end(self) -> None:
        """Let every waiting client go; the server stops."""
        for one in self._open():
            one.end()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._follow()
        finally:
            # Nothing was awaited since nobody watched: whoever watches next starts another.
            _pollers.pop(loop, None)

    async def _follow(self) -> None:
        """Read over one connection until nobody watches, and again over a new one if it breaks."""
        pause = POLL_SECONDS
        while self._open():
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._conninfo, autocommit=True
                ) as own:
                    while self._open():
                        async with asyncio.timeout(ANSWER_SECONDS):
                            await self._look(own)
                        pause = POLL_SECONDS
                        await asyncio.sleep(POLL_SECONDS)
            except (psycopg.Error, TimeoutError) as error:
                log.warning("Waiting clients hear of no change for now: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _look(self, own: psycopg.AsyncConnection[tuple[int, UUID]]) -> None:
        now = asyncio.get_running_loop().time()
        if self._reader is None:
            newest = await (await own.execute(_NEWEST)).fetchone()
            highest = int(newest[0]) if newest else 0
            rows = await (await own.execute(_NEW, [highest - LOOK_BACK, [], BATCH])).fetchall()
            self._reader = Reader(
                max([highest, *(number for number, _ in rows)]), (n for n, _ in rows), now
            )
            self._started.set()
            # What happened before this moment was not seen: everybody reads again.
            for one in self._open():
                one.wake()
            return
        gaps = self._reader.gaps(now)
        rows = await (await own.execute(_NEW, [self._reader.highest, gaps, BATCH])).fetchall()
        if streams := self._reader.take(rows, now):
            watches = self._open()
            crowd = sum(one.stream is None for one in watches)
            for one in watches:
                one.tell(streams, crowd)


_pollers: dict[asyncio.AbstractEventLoop, Poller] = {}
_server: "_Server | None" = None


class _Server:
    """Hears that the server stops: it waits for open responses and tells the application nothing.

    So the clients that wait are let go by the signal itself, and the server's own handler runs as
    before.
    """

    def __init__(self) -> None:
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                signal.signal(number, self._handler(before))

    def _handler(
        self, before: Callable[[int, FrameType | None], object]
    ) -> Callable[[int, FrameType | None], None]:
        def stop(number: int, frame: FrameType | None) -> None:
            self.stopping = True
            for loop, poller in list(_pollers.items()):
                loop.call_soon_threadsafe(poller.end)
            before(number, frame)

        return stop


def _poller() -> Poller:
    """The running loop's poller, started if nobody was waiting."""
    global _server  # noqa: PLW0603 - signals belong to the process, and so does this
    if _server is None and threading.current_thread() is threading.main_thread():
        _server = _Server()
    loop = asyncio.get_running_loop()
    if loop not in _pollers:
        _pollers[loop] = Poller()
    return _pollers[loop]


def watch(stream: UUID | None = None) -> Watch:
    """Start watching one stream, or everything; call it on the event loop."""
    made = _poller().watch(stream)
    if _server is not None and _server.stopping:
        made.end()
    return made


async def watch_all(seconds: float) -> Watch | None:
    """Watch everything once entries are being read; None if that takes longer."""
    made = watch()
    return made if await _poller().started(seconds) else None


async def read_until(
    stream: UUID, read: Callable[[], T], patience: Callable[[T], float], seconds: float
) -> T:
    """Read now, and again whenever the stream changes, until it is what is waited for.

    `read` runs in a thread and may use the database; its connection is given back before the wait.
    `patience` says for how many seconds a value may stand without news, 0 when it is the one.
    Returns the last value after `seconds`, or when the server stops.
    """
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + seconds
    with closing(watch(stream)) as watching:
        while True:
            value = await let_go(read)
            left = min(patience(value), ends_at - loop.time())
            if left <= 0 or watching.ended:
                return value
            await watching.changes(left)


async def let_go(read: Callable[[], T]) -> T:
    """Run in the request's thread, then give its database connection back to the pool.

    Where there is no pool the thread keeps its connection, unless that broke.
    """

    def run() -> T:
        try:
            return read()
        finally:
            # Within somebody's transaction the connection is theirs.
            if not connection.in_atomic_block:
                close_old_connections()

    return await sync_to_async(run)()
