"""Kills a process exactly where it is told to: before or after a statement, a call or an effect.

A point lies before and after each statement, commit and pipeline of Django's connection and of the
checkpointer's, each HTTP call, each message to the broker, each start and end of a command, and
each effect that a graph has by itself. All of that is wrapped in a forked child, and only there.
"""

import gc
import multiprocessing
import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

import celery
import httpx
import psycopg
from django.db import connection, connections
from psycopg.pq import TransactionStatus

from agents import checkpoints
from integrations.github.client import open_github
from integrations.linear.client import open_linear
from tests.e2e import graphs
from tests.processes import runs
from tests.waiting import eventually

# Far more than anything here takes.
PATIENCE_SECONDS = 60.0

_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Point:
    """Where a process can die; `changes` counts what it had changed for good until then."""

    name: str
    changes: int


@dataclass(frozen=True)
class Ending:
    """How a child ended: the points that it passed, and what it returned or None where it died."""

    passed: Sequence[Point]
    returned: Any = None
    killed: bool = False


@dataclass
class Points:
    """The points that this process passes, one of which, by its number, it does not survive."""

    fatal: int | None
    pipe: Connection
    passed: list[Point] = field(default_factory=list)
    guards: list[int] = field(default_factory=list)
    _changes: int = 0
    _turn: Lock = field(default_factory=Lock)

    def reach(self, name: str, *, changed: bool = False) -> None:
        """Pass a point, or die there; a graph's threads pass theirs one at a time."""
        with self._turn:
            self._changes += changed
            self.passed.append(Point(name, self._changes))
            if len(self.passed) - 1 == self.fatal:
                self.pipe.send({"passed": self.passed, "guards": self.guards})
                os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """Wrap everything, for as long as this process lives."""
        # Below Django, so that the checkpointer's statements are met as well, and every savepoint.
        self._wrap(psycopg.Cursor, "execute", _words, _is_committed)
        self._wrap(psycopg.Cursor, "executemany", _words, _is_committed)
        self._wrap(psycopg.Connection, "commit", lambda *_: "COMMIT")
        # What is in a pipeline is one transaction, which ends with it.
        self._wrap(psycopg.Pipeline, "__exit__", lambda *_: "the end of a pipeline")
        self._wrap(celery.Celery, "send_task", lambda _, name, *__: f"the message {name}")
        self._wrap(httpx.HTTPTransport, "handle_request", _call, _may_change)
        self._wrap_async(httpx.AsyncHTTPTransport, "handle_async_request")
        self._wrap(subprocess.Popen, "__init__", lambda *_: "the start of a command")
        self._wrap(subprocess.Popen, "wait", lambda *_: "the wait for a command that has ended")
        self._wrap(graphs, "record_effect", lambda *_: "an effect of a graph")

    def _wrap(
        self,
        owner: Any,
        name: str,
        tell: Callable[..., str],
        changes: Callable[..., bool] = lambda *_: True,
    ) -> None:
        call = getattr(owner, name)

        @wraps(call)
        def between(*arguments: Any, **options: Any) -> Any:
            what = tell(*arguments)
            self.reach(f"before {what}")
            returned = call(*arguments, **options)
            if isinstance(arguments[0], subprocess.Popen):
                self.guards.append(arguments[0].pid)
            self.reach(f"after {what}", changed=changes(*arguments))
            return returned

        setattr(owner, name, between)

    def _wrap_async(self, owner: Any, name: str) -> None:
        call = getattr(owner, name)

        @wraps(call)
        async def between(transport: Any, request: httpx.Request) -> Any:
            what = _call(transport, request)
            self.reach(f"before {what}")
            returned = await call(transport, request)
            self.reach(f"after {what}", changed=_may_change(transport, request))
            return returned

        setattr(owner, name, between)


def _words(cursor: Any, query: Any, *_: Any) -> str:
    """The beginning of a statement; Django gives texts, others also bytes and compositions."""
    del cursor
    text = query.decode() if isinstance(query, bytes) else str(query)
    return " ".join(text.split())[:70]


def _is_committed(cursor: "psycopg.Cursor[Any]", query: Any, *_: Any) -> bool:
    """Whether a statement that was executed may have changed something for good."""
    status = cursor.connection.info.transaction_status
    return status is TransactionStatus.IDLE and not _words(cursor, query).lower().startswith(
        "select"
    )


def _call(transport: Any, request: httpx.Request) -> str:
    del transport
    return f"{request.method} {request.url.path}"


def _may_change(transport: Any, request: httpx.Request) -> bool:
    del transport
    return request.method != "GET"


def in_child(act: Callable[[], Any], fatal: int | None = None) -> Ending:
    """Let a forked child act, until it dies at the point of this number or has done it all.

    When this returns, nothing of the child is left: no process, and no lock in the database.
    """
    # A connection belongs to one process, and the child needs some of its own.
    connections.close_all()
    checkpoints.disconnect()
    here, there = _fork.Pipe(duplex=False)
    child = _fork.Process(target=_be_child, args=(act, fatal, there), daemon=True)
    child.start()
    there.close()
    with here:
        said = _heard(here)
    if "error" in said:
        child.kill()
    child.join(PATIENCE_SECONDS)
    if "error" in said or child.exitcode not in {0, -signal.SIGKILL}:
        raise AssertionError(f"The child ended with {child.exitcode}: {said.get('error')}")
    for guard in said.get("guards", ()):
        eventually(partial(_has_ended, guard), "the guard of a command has ended")
    eventually(_alone, "the database has noticed that the child is gone")
    return Ending(said["passed"], said.get("returned"), killed=child.exitcode != 0)


def _has_ended(process: int) -> bool:
    return not runs(process)


def _heard(pipe: Connection) -> dict[str, Any]:
    if not pipe.poll(PATIENCE_SECONDS):
        return {"error": f"It has not ended within {PATIENCE_SECONDS:g} s."}
    try:
        said: dict[str, Any] = pipe.recv()
    except EOFError:
        return {"error": "It said nothing."}
    return said


def _be_child(act: Callable[[], Any], fatal: int | None, pipe: Connection) -> None:
    try:
        open_linear.cache_clear()
        open_github.cache_clear()
        # A collection would touch, and so copy, all memory that is shared with the parent.
        gc.disable()
        connection.ensure_connection()
        points = Points(fatal, pipe)
        points.arm()
        returned = act()
        points.fatal = None
        pipe.send({"passed": points.passed, "returned": returned})
    except BaseException:  # noqa: BLE001 - whatever it is, nobody else is there to tell it
        pipe.send({"error": traceback.format_exc()})
        os._exit(1)
    # Nothing of pytest's is to end twice.
    os._exit(0)


def _alone() -> bool:
    """Whether this process alone is connected to the database: what others held is free."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid())"
        )
        return bool(cursor.fetchone()[0])
