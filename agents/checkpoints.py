"""The sole owner of the checkpointer: its tables, its connection, and the lock on each thread.

Everything that moves a thread happens under one advisory lock on that thread, held by the very
connection that writes its checkpoints: who loses the lock can no longer write.
"""

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import django.db
import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.base import id as ids
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from approvals.core.events import ChannelBusy

# One connection a thread of a process; opened after the fork, because first used there.
_local = threading.local()
_PROGRAM = "hitl-runtime"


def create_tables(address: Mapping[str, Any]) -> None:
    """Create or upgrade the checkpointer's tables; one process at a time, outside a transaction.

    `address` holds libpq's parameters of the database that is being migrated.
    """
    with psycopg.connect(**address, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtextextended('hitl-checkpoints', 0))")
        PostgresSaver(connection).setup()


class _Saver(PostgresSaver):
    """Lets what is written come after what was read, whatever the clocks of two workers say.

    The newest checkpoint of a thread is the one with the greatest id, and an id begins with the
    time at which its process made it: written by a clock that is behind, it would never be found.
    """

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint; each that this process makes from now on has a greater id."""
        found = super().get_tuple(config)
        if found is not None:
            made_at = ids.UUID(found.checkpoint["id"]).time
            # By this a process sees to it that its own ids grow, though its clock may be set back.
            latest = max(vars(ids)["_last_v6_timestamp"] or 0, made_at)
            vars(ids)["_last_v6_timestamp"] = latest
        return found


@contextmanager
def locked(thread_id: str) -> Iterator[PostgresSaver]:
    """The checkpointer, with a thread's lock held; ChannelBusy while somebody else holds it."""
    connection = _connection()
    name = f"hitl-thread:{thread_id}"
    held = connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS held", [name]
    ).fetchone()
    if not held or not held["held"]:
        raise ChannelBusy(f"Somebody else moves the thread {thread_id}.")
    try:
        yield _Saver(connection)
    finally:
        if not (connection.closed or connection.broken):
            connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])


def silent_holder(thread_id: str, seconds: float) -> str | None:
    """Who holds a thread's lock and has not used it for so long, in words; None where nobody."""
    with django.db.connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
            " WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND (classid::bigint << 32 | objid::bigint) = hashtextextended(%s, 0)"
            # Whoever has just taken the lock over is not silent, however long the action stands.
            " AND state_change <= clock_timestamp() - make_interval(secs => %s)",
            [f"hitl-thread:{thread_id}", seconds],
        )
        found = cursor.fetchone()
    if found is None:
        return None
    session, program = found
    process, _, host = program.removeprefix(f"{_PROGRAM} ").partition("@")
    worker = f"process {process} on {host}" if host else program or "a program without a name"
    return f"{worker}, database session {session}"


def answers_given(saver: PostgresSaver, thread_id: str) -> Iterator[Any]:
    """Every answer that any node of a thread, in any subgraph, was given so far."""
    with saver.conn.cursor() as cursor:  # type: ignore[union-attr]
        rows = cursor.execute(
            "SELECT type, blob FROM checkpoint_writes"
            " WHERE thread_id = %s AND channel = '__resume__'",
            [thread_id],
        ).fetchall()
    for row in rows:
        value = saver.serde.loads_typed((row["type"], row["blob"]))
        yield from value if isinstance(value, list) else [value]


def note(saver: PostgresSaver, config: RunnableConfig, facts: Mapping[str, str]) -> None:
    """Change what is kept with the one checkpoint that the configuration of a state names."""
    named = config["configurable"]
    with saver.conn.cursor() as cursor:  # type: ignore[union-attr]
        cursor.execute(
            "UPDATE checkpoints SET metadata = metadata || %s"
            " WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s",
            [Jsonb(facts), named["thread_id"], named["checkpoint_ns"], named["checkpoint_id"]],
        )


def _connection() -> "psycopg.Connection[DictRow]":
    connection: psycopg.Connection[DictRow] | None = getattr(_local, "connection", None)
    if connection is None or connection.closed or connection.broken:
        connection = psycopg.connect(
            **address(django.db.connection),
            autocommit=True,
            prepare_threshold=0,
            row_factory=dict_row,
            # Of these 63 bytes are kept; they tell a person which process holds a lock.
            application_name=f"{_PROGRAM} {os.getpid()}@{socket.gethostname()}",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
        )
        _local.connection = connection
    return connection


def disconnect() -> None:
    """Close this thread's connection; the next turn opens another."""
    connection = getattr(_local, "connection", None)
    if connection is not None:
        connection.close()


def address(database: Any) -> dict[str, Any]:
    """libpq's parameters of the database that a connection of Django's is for."""
    parameters = database.get_connection_params()
    names = ("host", "port", "dbname", "user", "password", "sslmode", "sslrootcert")
    return {name: parameters[name] for name in names if parameters.get(name)}
