"""PostgreSQL restarts in the middle of an action: what came of the action is not forgotten."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from threading import Timer
from typing import Any

import psycopg
import pytest
from django.db import Error, connection
from psycopg import sql

from agents import checkpoints, executions
from agents.actions import ActionResult
from agents.models import Execution
from approvals.models import Delivery
from tests.agents import executors_of_tests as executors
from tests.agents.test_executions import leases_end
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

# What goes wrong while an action is at work.
_meanwhile: list[Callable[[], None]] = []


def interrupted(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Do what a test says; something else happens before it is done."""
    for happens in _meanwhile:
        happens()
    return executors.scripted(action, idempotency_key=idempotency_key)


@pytest.fixture
def meanwhile(worker: Worker, settings: Any) -> Iterator[Callable[[Callable[[], None]], None]]:
    """A function that lets something happen during each action."""
    del worker
    settings.HITL_EXECUTORS = {"command": f"{__name__}.interrupted"}
    yield _meanwhile.append
    _meanwhile.clear()
    admit(admitted=True)


@contextmanager
def _beside() -> "Iterator[psycopg.Connection[Any]]":
    """A connection to the server that needs no access to the gateway's database."""
    address = {**checkpoints.address(connection), "dbname": "postgres"}
    with psycopg.connect(**address, autocommit=True) as another:
        yield another


def admit(admitted: bool) -> None:
    """Let the database take new sessions, or none."""
    name = sql.Identifier(connection.settings_dict["NAME"])
    with _beside() as another:
        another.execute(
            sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(name, sql.Literal(admitted))
        )


def cut_every_connection() -> None:
    """End all sessions, as a restart does."""
    with _beside() as another:
        another.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [connection.settings_dict["NAME"]],
        )


def go_away() -> None:
    """End all sessions, and take no new ones."""
    admit(admitted=False)
    cut_every_connection()


def lose_sight(worker: Worker) -> None:
    """Take the turn whose action outlives the sessions that it was begun with."""
    # Whoever stops for a person has nothing more to write on the thread.
    with suppress(Error, psycopg.Error):
        worker.turn()


@pytest.mark.parametrize("operation", ["deploy", "rollback"])
@pytest.mark.parametrize("outcome", ["succeed", "fail", "unknown", "refuse"])
def test_what_came_of_an_action_is_recorded_over_a_new_connection(
    worker: Worker,
    meanwhile: Callable[[Callable[[], None]], None],
    operation: str,
    outcome: str,
) -> None:
    run = worker.start("task", operation=operation)
    meanwhile(cut_every_connection)
    executors.next_outcomes.append(outcome)
    worker.vote(worker.pending(run)[0])
    lose_sight(worker)
    wanted = {"succeed": "succeeded", "fail": "failed", "unknown": "unknown", "refuse": "held"}
    assert Execution.objects.get().status == wanted[outcome]
    leases_end()
    worker.turn()
    run.refresh_from_db()
    ends = {"succeed": "completed", "fail": "failed"}
    assert run.status == ends.get(outcome, "needs_attention")
    assert (len(executors.begun), Execution.objects.get().attempts) == (1, 1)
    assert not Delivery.objects.filter(gave_up_at__isnull=False).exists()


def test_a_database_that_is_away_for_a_while_is_waited_for(
    worker: Worker, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    run = worker.start("task")
    returns = Timer(1.5, admit, [True])

    meanwhile(go_away)
    meanwhile(returns.start)
    worker.vote(worker.pending(run)[0])
    lose_sight(worker)
    returns.join()
    assert Execution.objects.get().status == "succeeded"
    leases_end()
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 1


def test_a_database_that_stays_away_is_not_waited_for_longer_than_a_lease_lasts(
    worker: Worker,
    meanwhile: Callable[[Callable[[], None]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = worker.start("task")
    (request,) = worker.pending(run)
    assert request.action is not None
    seconds = int(request.action["timeout_seconds"])
    meanwhile(partial(monkeypatch.setattr, executions, "GRACE_SECONDS", 1 - seconds))
    meanwhile(go_away)
    worker.vote(request)
    lose_sight(worker)
    admit(admitted=True)
    assert Execution.objects.get().status == "started"


def test_a_result_that_came_after_the_next_worker_counts_no_more(
    worker: Worker, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    run = worker.start("task", operation="rollback")

    def take_over() -> None:
        _meanwhile.clear()
        leases_end()
        # The thread is free with the session that held it.
        checkpoints.disconnect()
        worker.turn()
        cut_every_connection()

    meanwhile(take_over)
    executors.next_outcomes += ["succeed", "fail"]
    worker.vote(worker.pending(run)[0])
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    begun = Execution.objects.get()
    assert (begun.status, begun.attempts) == ("succeeded", 2)
