"""A worker that neither ends nor dies in the middle of an action: a person is told, and decides."""

import os
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.db import connection
from django.db.models import Q

from agents import checkpoints, services, turns
from agents.models import Execution, Run
from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via
from approvals.models import AuditEntry, ClockTimestamp, Delivery
from tests.agents import executors_of_tests as executors
from tests.agents.gated_worker import Other
from tests.agents.test_executions import approve_and_die, leases_end
from tests.agents.worker import Worker
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def start_other(worker: Worker) -> Iterator[Callable[[], Other]]:
    """A function that starts the other worker and returns once it has begun an action."""
    started: list[Other] = []

    def start() -> Other:
        other = Other.start()
        started.append(other)
        # Where the claim is committed, the worker looks at it once more before it begins.
        other.reach_gate()
        return other

    yield start
    for other in started:
        other.kill()


@pytest.fixture
def silent(start_other: Callable[[], Other], worker: Worker) -> tuple[Run, Other]:
    """A run that needs a person, since the worker inside its approved action is silent."""
    run = worker.start("task")
    worker.vote(worker.pending(run)[0])
    other = start_other()
    other.stop()
    time_passes()
    turns.flag_silent_workers(after_seconds=0)
    run.refresh_from_db()
    assert run.status == "needs_attention"
    return run, other


def time_passes() -> None:
    """Let the action's lease, and every other, end just now."""
    leases_end()
    Execution.objects.filter(status="started").update(lease_until=ClockTimestamp())


def completes(worker: Worker, run: Run) -> None:
    """Work until the run is completed: its thread may become free only now."""

    def completed() -> bool:
        worker.turn()
        run.refresh_from_db()
        return run.status == "completed"

    eventually(completed, "the run is completed", every_seconds=0.2)


def names(run: Run) -> list[str]:
    """What the audit log tells of a run and of its only request, in order."""
    ours = Q(stream=run.pk) | Q(stream=Execution.objects.get().request_id)
    entries = AuditEntry.objects.filter(ours).order_by("at")
    told = ("run.", "execution.")
    return [name for name in entries.values_list("name", flat=True) if name.startswith(told)]


def ends(run: Run) -> list[str]:
    """How the action of the run stood, each time the audit log was told, in order."""
    entries = AuditEntry.objects.filter(
        stream__in=[Execution.objects.get(run=run).request_id], name="execution.finished"
    )
    return [data["status"] for data in entries.order_by("number").values_list("data", flat=True)]


def test_a_silent_worker_is_told_with_all_that_a_stranger_needs(silent: tuple[Run, Other]) -> None:
    run, other = silent
    begun = Execution.objects.get()
    assert f"Step 1 (deploy) was begun at {begun.started_at:%Y-%m-%d %H:%M:%S} UTC" in run.attention
    assert f"process {other.pid} on {os.uname().nodename[:40]}" in run.attention
    assert run.attention.endswith(
        "End that process (kill -9), or that session (pg_terminate_backend) where the process"
        " cannot be reached; look whether the action happened; then settle the run."
    )
    assert (begun.status, begun.summary) == ("unknown", run.attention)
    turns.flag_silent_workers(after_seconds=0)
    assert names(run) == [
        "run.started",
        "execution.started",
        "execution.finished",
        "run.needs_attention",
    ]
    assert ends(run) == ["unknown"]


def test_an_action_within_its_time_is_left_alone(
    worker: Worker, start_other: Callable[[], Other]
) -> None:
    run = worker.start("task")
    worker.vote(worker.pending(run)[0])
    other = start_other()
    turns.flag_silent_workers(after_seconds=0)
    other.stop()
    time_passes()
    turns.flag_silent_workers()
    run.refresh_from_db()
    assert (run.status, run.attention) == ("running", "")


@pytest.mark.parametrize("workflow", ["rollback", "deploy"])
def test_an_action_that_waits_for_a_worker_to_take_it_over_is_left_to_that_worker(
    worker: Worker, workflow: str
) -> None:
    run = worker.start("task", operation=workflow)
    approve_and_die(worker, run)
    # No worker was there for hours.
    leases_end()
    turns.flag_silent_workers()
    address = checkpoints.address(connection)
    with psycopg.connect(**address, autocommit=True) as another:
        # Now one begins to take it over.
        lock = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
        another.execute(lock, [f"hitl-thread:{run.thread_id}"])
        turns.flag_silent_workers()
    run.refresh_from_db()
    assert (run.status, Execution.objects.get().status) == ("running", "started")
    worker.turn()
    run.refresh_from_db()
    assert run.status == ("completed" if workflow == "rollback" else "needs_attention")


def test_the_pass_over_runs_never_waits_for_whoever_is_silent(
    worker: Worker, start_other: Callable[[], Other]
) -> None:
    run = worker.start("task")
    worker.vote(worker.pending(run)[0])
    start_other().stop()
    time_passes()
    address = checkpoints.address(connection)
    with psycopg.connect(**address) as silent_too:
        silent_too.execute("SELECT 1 FROM agents_run WHERE id = %s FOR UPDATE", [run.pk])
        turns.flag_silent_workers(after_seconds=0)
        run.refresh_from_db()
        assert run.status == "running"
    turns.flag_silent_workers(after_seconds=0)
    run.refresh_from_db()
    assert run.status == "needs_attention"


@pytest.mark.parametrize(
    ("outcome", "status", "ended"),
    [("done", "succeeded", "completed"), ("abandon", "abandoned", "failed")],
)
def test_what_a_silent_worker_says_after_a_person_counts_no_more(
    silent: tuple[Run, Other],
    worker: Worker,
    operator: Actor,
    outcome: str,
    status: str,
    ended: str,
) -> None:
    run, other = silent
    services.settle_run(run.pk, outcome, actor=operator, reason="I looked.")
    other.pass_gate("succeed")
    other.wake()
    assert other.end() == 0
    worker.turn()
    run.refresh_from_db()
    begun = Execution.objects.get()
    assert (run.status, begun.status, begun.attempts) == (ended, status, 1)
    assert begun.summary == f"Settled as {outcome} by olga: I looked."
    assert ends(run) == ["unknown", status]
    assert names(run)[-1] == "run.ended"


def test_a_silent_worker_that_wakes_after_a_persons_retry_ends_only_what_is_begun_anew(
    silent: tuple[Run, Other], operator: Actor
) -> None:
    run, other = silent
    services.settle_run(run.pk, "retry", actor=operator, reason="It never started.")
    other.pass_gate("succeed")
    other.wake()
    # Like any worker it may take the turn that is owed, which comes to the gate once more.
    eventually(lambda: Execution.objects.get().attempts == 2, "the action is begun once more")
    assert ends(run) == ["unknown"]
    other.pass_gate("succeed")
    assert other.end() == 0
    run.refresh_from_db()
    assert (run.status, Execution.objects.get().status) == ("completed", "succeeded")
    assert ends(run) == ["unknown", "succeeded"]


@pytest.mark.parametrize(("outcome", "begun"), [("done", 0), ("retry", 1)])
def test_a_persons_word_waits_until_the_silent_worker_is_gone(
    silent: tuple[Run, Other], worker: Worker, operator: Actor, outcome: str, begun: int
) -> None:
    run, other = silent
    services.settle_run(run.pk, outcome, actor=operator, reason="I looked.")
    worker.turn()
    turns.flag_silent_workers(after_seconds=0)
    run.refresh_from_db()
    assert (run.status, executors.begun) == ("running", [])
    other.kill()
    completes(worker, run)
    assert len(executors.begun) == begun


def test_a_worker_that_wakes_before_anybody_settled_goes_on_with_the_run(
    silent: tuple[Run, Other],
) -> None:
    run, other = silent
    other.pass_gate("succeed")
    other.wake()
    assert other.end() == 0
    run.refresh_from_db()
    begun = Execution.objects.get()
    assert (run.status, run.attention) == ("completed", "")
    assert (begun.status, begun.summary) == ("succeeded", "done by the woken worker")
    assert names(run) == [
        "run.started",
        "execution.started",
        "execution.finished",
        "run.needs_attention",
        "execution.finished",
        "run.ended",
    ]
    assert ends(run) == ["unknown", "succeeded"]


def test_a_worker_that_wakes_and_does_not_know_either_leaves_the_run_to_a_person(
    silent: tuple[Run, Other],
) -> None:
    run, other = silent
    other.pass_gate("unknown")
    other.wake()
    assert other.end() == 0
    run.refresh_from_db()
    assert (run.status, run.attention) == ("needs_attention", "The reply was lost.")


def test_a_run_is_owed_a_turn_when_its_woken_worker_dies_after_all(
    worker: Worker, start_other: Callable[[], Other]
) -> None:
    asker = user_actor(worker.requester, Via.API)
    task = {"operation": "deploy", "environment": "production"}
    run = services.start_run(actor=asker, workflow="pr-deployment", task=task)
    other = start_other()
    other.stop()
    time_passes()
    turns.flag_silent_workers(after_seconds=0)
    # Others find that there is nothing to do as long as a person is asked.
    worker.turn()
    other.pass_gate("succeed")
    other.wake()
    eventually(lambda: Execution.objects.count() == 2, "the woken worker has begun the next step")
    other.kill()
    leases_end()
    worker.turn()
    run.refresh_from_db()
    assert (run.status, run.steps[1]["status"]) == ("waiting", "succeeded")


def test_a_worker_that_only_lost_its_thread_still_tells_how_the_action_ended(
    worker: Worker, start_other: Callable[[], Other]
) -> None:
    run = worker.start("task")
    worker.vote(worker.pending(run)[0])
    other = start_other()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE %s",
            [f"hitl-runtime {other.pid}@%"],
        )
    leases_end()
    worker.turn()
    run.refresh_from_db()
    assert run.attention.startswith("The worker died while the action was at work")
    other.pass_gate("succeed")
    assert other.end() != 0
    completes(worker, run)
    assert Execution.objects.get().summary == "done by the woken worker"
    assert Delivery.objects.filter(gave_up_at__isnull=False).count() == 0
