"""How runs and executions end is counted in the transaction in which they do; exactly once."""

from typing import Any

import pytest
from django.db import transaction

from agents import services, turns
from agents.models import Execution, Run
from approvals import outbox
from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.models import ApprovalRequest, Delivery, Tally
from approvals.services import SYSTEM, expire_overdue, withdraw_request
from tests.agents import executors_of_tests as executors
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.gated_worker import Other
from tests.agents.test_executions import approve_and_die, leases_end
from tests.agents.test_silent_workers import silent, start_other  # noqa: F401 - fixtures
from tests.agents.worker import Worker
from tests.approvals.scenes import at_once, pass_deadline, unguarded
from tests.metrics_page import Page

pytestmark = pytest.mark.django_db(transaction=True)

RESUMED = "hitl_decision_to_resume_seconds"


def outcomes() -> dict[str, float]:
    """How many executions came to each outcome."""
    return flat("hitl_executions_total")


def ended() -> dict[str, float]:
    """How many runs ended in each way."""
    return flat("hitl_runs_ended_total")


def resumed() -> dict[str, float]:
    """How many decided requests had their run resumed, by status."""
    return flat(f"{RESUMED}_count")


def flat(name: str) -> dict[str, float]:
    """The samples of a metric with one label that are not 0."""
    return {value: number for (value,), number in Page.scrape().all(name).items()}


def decide_long_ago(request: ApprovalRequest, seconds: float) -> None:
    """Let the decision have been made so much earlier."""
    unguarded(
        "UPDATE approval_requests SET decided_at = decided_at - make_interval(secs => %s)"
        " WHERE id = %s",
        [seconds, request.pk],
    )


def test_every_status_and_outcome_starts_at_zero() -> None:
    page = Page.scrape()
    for status in ("completed", "rejected", "expired", "cancelled", "failed"):
        assert page.value("hitl_runs_ended_total", status=status) == 0
    for outcome in ("succeeded", "failed", "unknown", "held", "abandoned"):
        assert page.value("hitl_executions_total", outcome=outcome) == 0
    for status in ("running", "waiting", "needs_attention"):
        assert page.value("hitl_runs", status=status) == 0
    for status in ("approved", "rejected", "expired"):
        assert page.value(f"{RESUMED}_count", status=status) == 0


def test_each_way_that_a_run_ends_counts_once(worker: Worker, operator: Actor) -> None:
    runs = {
        way: worker.start("task")
        for way in ("completed", "rejected", "expired", "cancelled", "failed", "settled", "dropped")
    }
    (expiring,) = worker.pending(runs["expired"])
    pass_deadline(expiring.pk)
    expire_overdue()
    worker.turn()
    worker.decide(worker.pending(runs["completed"])[0])
    worker.decide(worker.pending(runs["rejected"])[0], Choice.REJECT)
    services.cancel_run(runs["cancelled"].pk, actor=operator, reason="Stop.")
    executors.next_outcomes.append("fail")
    worker.decide(worker.pending(runs["failed"])[0])
    for way, word in (("settled", "done"), ("dropped", "abandon")):
        executors.next_outcomes.append("unknown")
        worker.decide(worker.pending(runs[way])[0])
        services.settle_run(runs[way].pk, word, actor=operator, reason="I looked.")
        worker.turn()
    # Whatever comes by later finds them ended.
    Run.objects.update(wanted=2, done=1)
    Delivery.objects.update(done=0)
    worker.turn()
    assert ended() == {
        "completed": 2, "rejected": 1, "expired": 1, "cancelled": 1, "failed": 2
    }  # fmt: skip
    assert outcomes() == {"succeeded": 2, "failed": 1, "unknown": 2, "abandoned": 1}
    assert resumed() == {"approved": 4, "rejected": 1, "expired": 1}


def test_a_run_that_needed_no_action_completes_by_a_persons_word(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    Run.objects.filter(pk=run.pk).update(status="needs_attention", attention="Look.")
    services.settle_run(run.pk, "done", actor=operator, reason="Enough.")
    assert (ended(), outcomes()) == ({"completed": 1}, {})


def test_runs_that_have_not_ended_are_shown_by_status(worker: Worker, operator: Actor) -> None:
    worker.start("task")
    for _ in range(2):
        executors.next_outcomes.append("unknown")
        worker.decide(worker.pending(worker.start("task"))[0])
    services.cancel_run(worker.start("task").pk, actor=operator, reason="No.")
    actor = user_actor(worker.requester, Via.API)
    task = {"operation": "deploy", "environment": "production"}
    services.start_run(actor=actor, workflow="task", task=task)
    assert flat("hitl_runs") == {"running": 1, "waiting": 1, "needs_attention": 2}


def test_an_approval_that_came_too_late_counts_as_held_once(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    (request,) = worker.pending(run)
    worker.vote(request)
    decide_long_ago(request, 2 * 86_400)
    worker.turn()
    outbox.nudge(request.pk, "workflow")
    worker.turn()
    assert outcomes() == {"held": 1}
    services.settle_run(run.pk, "retry", actor=operator, reason="Still wanted.")
    worker.turn()
    assert outcomes() == {"held": 1, "succeeded": 1}


def test_a_crash_counts_as_unknown_once_and_then_as_what_a_person_says(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    approve_and_die(worker, run)
    assert outcomes() == {}
    leases_end()
    worker.turn()
    worker.turn()
    assert outcomes() == {"unknown": 1}
    with transaction.atomic():
        services.settle_run(run.pk, "done", actor=operator, reason="I saw it.")
        transaction.set_rollback(True)
    assert outcomes() == {"unknown": 1}
    services.settle_run(run.pk, "done", actor=operator, reason="I saw it.")
    worker.turn()
    assert (outcomes(), ended()) == ({"unknown": 1, "succeeded": 1}, {"completed": 1})


def test_an_action_that_is_repeated_after_a_crash_counts_once(worker: Worker) -> None:
    approve_and_die(worker, worker.start("task", operation="rollback"))
    leases_end()
    worker.turn()
    assert (outcomes(), ended()) == ({"succeeded": 1}, {"completed": 1})


def test_a_silent_worker_counts_as_unknown_and_then_as_what_it_knows(
    silent: tuple[Run, Other],  # noqa: F811 - the fixture
) -> None:
    _, other = silent
    turns.flag_silent_workers(after_seconds=0)
    assert outcomes() == {"unknown": 1}
    other.pass_gate("succeed")
    other.wake()
    assert other.end() == 0
    assert (outcomes(), ended()) == ({"unknown": 1, "succeeded": 1}, {"completed": 1})


def test_a_silent_worker_that_does_not_know_either_is_not_unknown_twice(
    silent: tuple[Run, Other],  # noqa: F811 - the fixture
) -> None:
    _, other = silent
    other.pass_gate("unknown")
    other.wake()
    assert other.end() == 0
    assert (outcomes(), ended()) == ({"unknown": 1}, {})


def test_what_a_silent_worker_says_after_a_person_is_not_counted(
    silent: tuple[Run, Other],  # noqa: F811 - the fixture
    worker: Worker,
    operator: Actor,
) -> None:
    run, other = silent
    services.settle_run(run.pk, "abandon", actor=operator, reason="I looked.")
    other.pass_gate("succeed")
    other.wake()
    assert other.end() == 0
    worker.turn()
    assert (outcomes(), ended()) == ({"unknown": 1, "abandoned": 1}, {"failed": 1})


def test_the_time_to_a_resume_ends_before_the_action_begins(worker: Worker) -> None:
    run = worker.start("task")
    (request,) = worker.pending(run)
    worker.vote(request)
    decide_long_ago(request, 40)
    executors.next_outcomes.append("die")
    with pytest.raises(WorkerDied):
        worker.turn()
    # The worker is dead, but the run did go on: that is what was waited for.
    assert resumed() == {"approved": 1}
    decide_long_ago(request, 1000)
    leases_end()
    worker.turn()
    outbox.nudge(request.pk, "workflow")
    worker.turn()
    page = Page.scrape()
    assert page.value(f"{RESUMED}_count", status="approved") == 1
    assert page.value(f"{RESUMED}_sum", status="approved") == pytest.approx(40, abs=20)
    assert page.value(f"{RESUMED}_bucket", status="approved", le="30.0") == 0
    assert page.value(f"{RESUMED}_bucket", status="approved", le="60.0") == 1


def test_a_decision_that_waits_for_a_person_is_counted_when_its_run_goes_on(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    (request,) = worker.pending(run)
    Run.objects.filter(pk=run.pk).update(status="needs_attention", attention="Look.")
    worker.decide(request)
    assert Delivery.objects.get(request=request).delivered_at is not None
    assert resumed() == {}
    services.settle_run(run.pk, "retry", actor=operator, reason="Go on.")
    worker.turn()
    assert (resumed(), ended()) == ({"approved": 1}, {"completed": 1})


def test_only_what_was_decided_counts_as_resumed(worker: Worker, operator: Actor) -> None:
    cancelled = worker.start("task")
    services.cancel_run(cancelled.pk, actor=operator, reason="No.")
    over = worker.start("task")
    worker.vote(worker.pending(over)[0])
    services.cancel_run(over.pk, actor=operator, reason="No.")
    (withdrawn,) = worker.pending(worker.start("task"))
    withdraw_request(withdrawn.pk, actor=SYSTEM, reason="no longer wanted")
    worker.turn()
    assert resumed() == {}


def test_two_workers_that_resume_at_once_count_one_resume(worker: Worker) -> None:
    requests = [worker.pending(worker.start("task"))[0] for _ in range(3)]
    for request in requests:
        worker.vote(request)

    def work() -> Any:
        while outbox.deliver_next("workflow"):
            pass

    assert at_once(work, work, work) == [None] * 3
    worker.turn()
    assert (resumed(), outcomes()) == ({"approved": 3}, {"succeeded": 3})
    assert ended() == {"completed": 3}


def test_an_end_that_is_rolled_back_is_not_counted(worker: Worker, operator: Actor) -> None:
    run = worker.start("task")
    with transaction.atomic():
        services.cancel_run(run.pk, actor=operator, reason="Stop.")
        assert ended() == {"cancelled": 1}
        transaction.set_rollback(True)
    assert ended() == {}
    assert not Tally.objects.exists()
    assert Execution.objects.count() == 0
