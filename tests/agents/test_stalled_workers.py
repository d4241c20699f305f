"""A worker that stood still after its claim looks once more whether the action is its own."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from django.db import connection

from agents import checkpoints, services
from agents.actions import load_executor
from agents.models import Execution
from approvals.core.lifecycle import Actor
from tests.agents import executors_of_tests as executors
from tests.agents.test_executions import leases_end
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

NOT_BEGUN = "The action was not begun: right before it, its worker stood still or lost the database"


@pytest.fixture
def before_acting(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], None]], None]:
    """A function that lets something happen once, between a claim and its action."""
    del worker

    def arrange(happens: Callable[[], None]) -> None:
        def late(name: str) -> Any:
            monkeypatch.setattr("agents.executions.load_executor", load_executor)
            happens()
            return load_executor(name)

        monkeypatch.setattr("agents.executions.load_executor", late)

    return arrange


def be_cut_off() -> None:
    """Let the thread's lock go, as where the machine was away, and every lease end."""
    checkpoints.disconnect()
    leases_end()


def test_what_a_person_let_another_worker_begin_is_not_begun_by_the_one_that_wakes(
    worker: Worker, operator: Actor, before_acting: Callable[[Callable[[], None]], None]
) -> None:
    run = worker.start("task")

    def others_go_on() -> None:
        be_cut_off()
        worker.turn()
        assert Execution.objects.get().status == "unknown"
        services.settle_run(run.pk, "retry", actor=operator, reason="It never started.")
        worker.turn()

    before_acting(others_go_on)
    worker.vote(worker.pending(run)[0])
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 1
    assert Execution.objects.get().attempts == 2


def test_what_another_worker_repeated_is_not_begun_by_the_one_that_wakes(
    worker: Worker, before_acting: Callable[[Callable[[], None]], None]
) -> None:
    run = worker.start("task", operation="rollback")

    def another_repeats() -> None:
        be_cut_off()
        worker.turn()

    before_acting(another_repeats)
    worker.vote(worker.pending(run)[0])
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 1


@pytest.mark.parametrize("settled", [True, False])
def test_a_worker_that_wakes_too_late_begins_nothing_and_says_so(
    worker: Worker,
    operator: Actor,
    before_acting: Callable[[Callable[[], None]], None],
    settled: bool,
) -> None:
    run = worker.start("task")

    def time_passes() -> None:
        be_cut_off()
        if settled:
            worker.turn()
            run.refresh_from_db()
            assert "may or may not have happened" in run.attention

    before_acting(time_passes)
    worker.vote(worker.pending(run)[0])
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert run.attention.startswith(NOT_BEGUN)
    assert (executors.begun, Execution.objects.get().status) == ([], "held")
    services.settle_run(run.pk, "retry", actor=operator, reason="Its machine is back.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 1


def test_an_action_that_could_not_end_within_its_lease_is_not_begun(
    worker: Worker, before_acting: Callable[[Callable[[], None]], None]
) -> None:
    run = worker.start("task")
    (request,) = worker.pending(run)
    assert request.action is not None
    seconds = int(request.action["timeout_seconds"])

    def most_of_it_passes() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE agents_execution"
                " SET lease_until = clock_timestamp() + make_interval(secs => %s)",
                [seconds - 1],
            )

    before_acting(most_of_it_passes)
    worker.decide(request)
    run.refresh_from_db()
    assert run.attention.startswith(NOT_BEGUN)
    assert executors.begun == []


def test_a_worker_that_cannot_look_begins_nothing(
    worker: Worker, operator: Actor, before_acting: Callable[[Callable[[], None]], None]
) -> None:
    run = worker.start("task")

    def lose_the_connection() -> None:
        address = checkpoints.address(connection)
        connection.ensure_connection()
        session = connection.connection.info.backend_pid
        with psycopg.connect(**address, autocommit=True) as another:
            another.execute("SELECT pg_terminate_backend(%s, 5000)", [session])

    before_acting(lose_the_connection)
    worker.decide(worker.pending(run)[0])
    run.refresh_from_db()
    assert run.attention.startswith(NOT_BEGUN)
    assert executors.begun == []
    services.settle_run(run.pk, "retry", actor=operator, reason="The database is back.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 1
