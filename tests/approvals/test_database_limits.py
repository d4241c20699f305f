"""Whoever hangs in a transaction keeps locks from others only for so long."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import pytest
from django.db import InternalError, OperationalError, connection, connections, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.models import Index
from psycopg.errors import IdleInTransactionSessionTimeout, LockNotAvailable

from agents import checkpoints
from approvals import services
from approvals.core.lifecycle import Choice
from approvals.models import ApprovalRequest
from approvals.online_ddl import AddIndexOnline
from tests.approvals.scenes import MIGRATE, manager, opened, row
from tests.hitl_project.test_settings import manage
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels")]

LIMITS = ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")
LIMITED = (
    "-c random_page_cost=1.1 -c max_parallel_workers_per_gather=0"
    " -c idle_in_transaction_session_timeout=60s -c lock_timeout=90s"
)
SHOW = "from django.db import connection as c; print(c.get_connection_params()['options'])"


@contextmanager
def another(**limits: str) -> Iterator[Any]:
    """A connection as the product's processes make them, with other limits."""
    made: Any = connections.create_connection("default")
    made.settings_dict = {
        **connection.settings_dict,
        "OPTIONS": {**connection.settings_dict["OPTIONS"]},
    }
    options = made.settings_dict["OPTIONS"]
    options["options"] += "".join(f" -c {name}={value}" for name, value in limits.items())
    with closing(made):
        yield made


def sessions(condition: str, *values: int | str) -> bool:
    """Whether somebody is connected for whom this holds."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT FROM pg_stat_activity WHERE {condition}", values)
        return bool(cursor.fetchall())


def shown(cursor: Any, name: str) -> str:
    """What the database says of a limit."""
    cursor.execute(f"SHOW {name}")
    return str(cursor.fetchone()[0])


def test_every_connection_of_the_application_has_limits() -> None:
    with connection.cursor() as cursor:
        assert [shown(cursor, name) for name in LIMITS] == ["1min", "90s", "0"]


def test_a_hung_transaction_is_ended_and_who_waited_for_its_lock_goes_on() -> None:
    request_id = opened(MIGRATE)
    with another(idle_in_transaction_session_timeout="500ms") as hung:
        hung.ensure_connection()
        hung.set_autocommit(autocommit=False)
        with hung.cursor() as cursor:
            cursor.execute("SELECT 1 FROM approval_requests WHERE id = %s FOR UPDATE", [request_id])
        began = time.monotonic()
        services.cast_vote(request_id, actor=manager("maria"), choice=Choice.APPROVE)
        assert 0.3 < time.monotonic() - began < 20
        assert row(request_id).status == "approved"
        with pytest.raises(InternalError) as caught, hung.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert isinstance(caught.value.__cause__, IdleInTransactionSessionTimeout)


def test_a_worker_whose_transaction_was_ended_connects_anew() -> None:
    with another(idle_in_transaction_session_timeout="200ms") as hung:
        hung.ensure_connection()
        hung.set_autocommit(autocommit=False)
        with hung.cursor() as cursor:
            cursor.execute("SELECT 1")
        ended = hung.connection.info.backend_pid
        eventually(lambda: not sessions("pid = %s", ended), "the database ends the transaction")
        # What Django does before the next task or request.
        hung.health_check_done = False
        hung.close_if_unusable_or_obsolete()
        hung.ensure_connection()
        with hung.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            assert cursor.fetchone() != (ended,)


def test_who_waits_for_a_lock_without_end_gives_up_with_an_error() -> None:
    request_id = opened(MIGRATE)
    with another(lock_timeout="300ms") as waiting:
        with transaction.atomic():
            ApprovalRequest.objects.select_for_update().get(pk=request_id)
            with pytest.raises(OperationalError) as caught, waiting.cursor() as cursor:
                cursor.execute("UPDATE approval_requests SET id = id WHERE id = %s", [request_id])
        assert isinstance(caught.value.__cause__, LockNotAvailable)


def test_the_connection_that_holds_a_runs_lock_may_be_silent_for_as_long_as_an_action_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thread_id = f"t-{uuid4()}"
    asked = "-c idle_in_transaction_session_timeout=200ms -c statement_timeout=200ms"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", asked)
    checkpoints.disconnect()
    try:
        with checkpoints.locked(thread_id) as saver:
            time.sleep(0.6)
            assert checkpoints.silent_holder(thread_id, 0.1)
            assert saver.get_tuple({"configurable": {"thread_id": thread_id}}) is None
    finally:
        checkpoints.disconnect()


def test_an_index_that_is_added_online_may_wait_for_older_transactions() -> None:
    with (
        another(lock_timeout="200ms") as migrating,
        another() as backup,
        ThreadPoolExecutor() as pool,
    ):
        backup.ensure_connection()
        backup.set_autocommit(autocommit=False)
        with backup.cursor() as cursor:
            # As pg_dump reads.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT count(*) FROM approvals_vote")
        index = Index(fields=["via"], name="idx_online")
        migrating.inc_thread_sharing()
        added = pool.submit(_add, AddIndexOnline("vote", index), migrating)
        waits = "wait_event_type = 'Lock' AND query_start < clock_timestamp() - interval '0.4 s'"
        eventually(lambda: sessions(waits), "it has waited twice as long as others may")
        assert not added.done()
        backup.rollback()
        added.result(timeout=20)
        with migrating.cursor() as cursor:
            assert shown(cursor, "lock_timeout") == "200ms"
            cursor.execute("DROP INDEX idx_online")


def _add(operation: AddIndexOnline, migrating: Any) -> None:
    """Add an index as a migration does."""
    before = MigrationLoader(migrating).project_state()
    after = before.clone()
    operation.state_forwards("approvals", after)
    with migrating.schema_editor(atomic=False) as editor:
        operation.database_forwards("approvals", editor, before, after)
    # Whatever this thread opened by the way.
    connection.close()


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        (
            {"HITL_DATABASE_POOL": "1"},
            f"{LIMITED} -c statement_timeout=30s",
        ),
        (
            {"DATABASE_URL": "postgresql://a@b/c?options=-c%20lock_timeout%3D5s"},
            f"{LIMITED} -c lock_timeout=5s",
        ),
    ],
)
def test_the_web_server_bounds_its_statements_and_the_address_has_the_last_word(
    changes: dict[str, str], options: str
) -> None:
    said = manage("shell", "--command", SHOW, **changes)
    assert options in said.stdout.splitlines(), said.stderr
