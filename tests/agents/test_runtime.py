"""Runs of graphs, turn by turn: each interrupt gets its own approval, and each answer its own."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import InternalError, connection
from psycopg.errors import IdleInTransactionSessionTimeout

from agents import checkpoints, payloads, services
from agents.models import Execution, Run
from approvals import outbox
from approvals import services as approvals
from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.models import AuditEntry, Delivery
from tests.agents import graphs_of_others as others
from tests.agents import scenes
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.worker import Worker
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import manager

pytestmark = pytest.mark.django_db(transaction=True)

GRAPHS = {
    name: (f"tests.agents.graphs_of_others.{name}", "1")
    for name in (
        "one_interrupt",
        "asks_then_acts",
        "parallel_interrupts",
        "three_interrupts",
        "looping_interrupts",
        "nested_interrupts",
        "unknown_payload",
        "needs_nobody",
        "failing",
        "dying",
        "hangs_in_a_transaction",
    )
}


@pytest.fixture(autouse=True)
def _graphs(settings: Any) -> None:
    settings.HITL_GRAPHS = GRAPHS


def done(run: Run) -> list[str]:
    """What the graph's nodes said they did."""
    run.refresh_from_db()
    assert run.result is not None
    said: list[str] = run.result["values"]["done"]
    return said


def test_a_graph_that_knows_nothing_of_this_project_gets_its_approval(worker: Worker) -> None:
    run = worker.start("one_interrupt")
    (request,) = worker.pending(run)
    assert run.status == "waiting"
    assert request.risk_level == "critical"
    assert request.task == {"operation": "deploy", "environment": "production", "version": "v1"}
    assert request.action is None
    worker.decide(request)
    assert done(run) == ["production"]
    assert run.status == "completed"
    assert others.effects == ["production"]


def test_a_rejection_reaches_the_graph_and_ends_the_run_as_rejected(worker: Worker) -> None:
    run = worker.start("one_interrupt")
    worker.decide(worker.pending(run)[0], Choice.REJECT)
    assert done(run) == ["production: rejected"]
    assert run.status == "rejected"
    assert others.effects == []


def test_parallel_interrupts_are_answered_one_by_one(worker: Worker) -> None:
    run = worker.start("parallel_interrupts")
    left, right = sorted(worker.pending(run), key=lambda row: row.task["region"])
    worker.decide(right)
    run.refresh_from_db()
    assert run.status == "waiting"
    assert others.effects == ["production"]
    assert [row.pk for row in worker.pending(run)] == [left.pk]
    worker.decide(left, Choice.REJECT)
    assert sorted(done(run)) == ["production", "production: rejected"]
    assert others.effects == ["production"]


def test_each_turn_of_a_loop_in_one_node_asks_anew(worker: Worker) -> None:
    run = worker.start("looping_interrupts")
    seen: set[UUID] = set()
    for choice in (Choice.APPROVE, Choice.REJECT, Choice.APPROVE):
        (request,) = worker.pending(run)
        assert request.pk not in seen
        seen.add(request.pk)
        worker.decide(request, choice)
    assert done(run) == ["0: approved", "1: rejected", "2: approved"]
    assert others.effects == ["looped"]


def test_a_redelivered_verdict_does_not_answer_the_next_interrupt_of_the_same_node(
    worker: Worker,
) -> None:
    run = worker.start("looping_interrupts")
    (first,) = worker.pending(run)
    worker.decide(first)
    (second,) = worker.pending(run)
    for _ in range(3):
        outbox.nudge(first.pk, "workflow")
        worker.turn()
    assert [row.pk for row in worker.pending(run)] == [second.pk]
    run.refresh_from_db()
    assert run.status == "waiting"


def test_an_interrupt_in_a_subgraph_gets_its_approval(worker: Worker) -> None:
    run = worker.start("nested_interrupts")
    worker.decide(worker.pending(run)[0])
    run.refresh_from_db()
    assert run.status == "completed"
    assert others.effects == ["production"]


def test_a_payload_that_is_no_task_is_an_unknown_high_risk_operation(worker: Worker) -> None:
    run = worker.start("unknown_payload")
    (request,) = worker.pending(run)
    assert (request.operation, request.risk_level) == ("unknown", "high")
    assert request.task["payload"][0] == "free the \N{REPLACEMENT CHARACTER} penguins"
    worker.decide(request)
    run.refresh_from_db()
    assert run.status == "completed"


def test_what_the_rules_let_through_is_answered_at_once(worker: Worker) -> None:
    run = worker.start("needs_nobody")
    (request,) = worker.pending(run)
    assert request.environment == "production"
    worker.decide(request)
    assert done(run) == ["rules", "ada"]
    entry = AuditEntry.objects.get(stream=run.pk, name="request.not_required")
    assert (entry.data["operation"], entry.data["environment"]) == ("update_docs", "development")
    page = read(signed_in(manager("maria")).get(f"/runs/{run.pk}/"))
    assert "let update_docs in development run: the rules ask for no approval" in page.text


def test_nothing_is_let_through_in_a_run_that_has_ended(
    worker: Worker, operator: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ends_meanwhile(*given: Any) -> Any:
        run = Run.objects.get()
        services.cancel_run(run.pk, actor=operator, reason="Stop.")
        return assess(*given)

    assess = approvals.assess_task
    monkeypatch.setattr(approvals, "assess_task", ends_meanwhile)
    run = worker.start("needs_nobody")
    assert run.status == "cancelled"
    assert not AuditEntry.objects.filter(stream=run.pk, name="request.not_required").exists()


def test_what_is_let_through_once_more_after_a_crash_leaves_one_record(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise WorkerDied

    with monkeypatch.context() as patched:
        patched.setattr(payloads, "unattended_verdict", dies)
        with pytest.raises(WorkerDied):
            worker.start("needs_nobody")
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    worker.turn()
    run = Run.objects.get()
    assert [request.environment for request in worker.pending(run)] == ["production"]
    assert AuditEntry.objects.filter(stream=run.pk, name="request.not_required").count() == 1


def test_a_payload_that_changed_while_it_waited_supersedes_the_request(worker: Worker) -> None:
    run = worker.start("parallel_interrupts")
    left, right = sorted(worker.pending(run), key=lambda row: row.task["region"])
    others.asked["version"] = "v2"
    worker.decide(left)
    right.refresh_from_db()
    assert right.status == "superseded"
    (successor,) = worker.pending(run)
    assert successor.task["version"] == "v2"
    assert right.superseded_by_id == successor.pk


def test_a_payload_that_changed_after_its_approval_is_not_executed(worker: Worker) -> None:
    run = worker.start("parallel_interrupts")
    left, right = sorted(worker.pending(run), key=lambda row: row.task["region"])
    others.asked["version"] = "v2"
    # Both are approved before either verdict is delivered; the left one makes the right one run
    # again, which now asks for another version.
    for request in (left, right):
        worker.vote(request)
    Delivery.objects.filter(request=right).update(priority=9)
    worker.turn()
    assert others.effects == ["production"]
    (successor,) = worker.pending(run)
    assert successor.task["version"] == "v2"
    assert AuditEntry.objects.filter(stream=right.pk, name="request.resume_refused").exists()


def test_a_graph_that_fails_needs_a_person_and_is_never_retried_in_silence(worker: Worker) -> None:
    run = worker.start("failing")
    worker.turn()
    assert run.status == "needs_attention"
    assert "the penguins are loose" in run.attention
    assert others.effects == ["half"]


def test_a_persons_word_lets_a_failed_graph_go_on(worker: Worker, operator: Actor) -> None:
    run = worker.start("failing")
    others.asked["fail"] = False
    services.settle_run(run.pk, "retry", actor=operator, reason="The penguins are back.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert others.effects == ["half", "half"]


def test_a_new_version_of_a_graph_stops_a_waiting_run_loudly(
    worker: Worker, operator: Actor, settings: Any
) -> None:
    run = worker.start("one_interrupt")
    settings.HITL_GRAPHS = {"one_interrupt": (GRAPHS["one_interrupt"][0], "2")}
    worker.decide(worker.pending(run)[0])
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "version 1" in run.attention
    assert others.effects == []
    # The old release comes back, and a person lets the run go on: the verdict still reaches it.
    settings.HITL_GRAPHS = GRAPHS
    services.settle_run(run.pk, "retry", actor=operator, reason="Rolled back.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert others.effects == ["production"]


def test_a_decision_while_the_thread_is_busy_waits_its_turn(worker: Worker) -> None:
    run = worker.start("one_interrupt")
    (request,) = worker.pending(run)
    worker.vote(request)

    with psycopg.connect(**checkpoints.address(connection), autocommit=True) as other:
        other.execute(
            "SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"hitl-thread:{run.thread_id}"]
        )
        assert outbox.deliver_next("workflow") is True
        row = Delivery.objects.get(request=request)
        assert (row.done, row.attempts, row.lease_token) == (row.wanted - 1, 0, None)
        assert others.effects == []
    outbox.wake_thread(run.thread_id)
    worker.turn()
    assert others.effects == ["production"]


def test_twelve_resumes_of_one_approval_are_one(worker: Worker) -> None:
    run = worker.start("one_interrupt")
    (request,) = worker.pending(run)
    worker.decide(request)
    for _ in range(12):
        outbox.nudge(request.pk, "workflow")
        worker.turn()
    assert others.effects == ["production"]
    assert Execution.objects.count() == 0


def test_cancelling_a_run_ends_what_it_waited_for(worker: Worker) -> None:
    run = worker.start("one_interrupt")
    (request,) = worker.pending(run)
    services.cancel_run(run.pk, actor=user_actor(worker.requester, Via.API), reason="Not today.")
    worker.turn()
    request.refresh_from_db()
    run.refresh_from_db()
    assert (request.status, run.status) == ("cancelled", "cancelled")
    assert others.effects == []


def test_a_payload_that_changes_back_asks_anew(worker: Worker) -> None:
    run = worker.start("three_interrupts")
    left, middle, first = sorted(worker.pending(run), key=lambda row: row.task["region"])
    others.asked["version"] = "v2"
    worker.decide(left)
    others.asked["version"] = "v1"
    worker.decide(middle)
    (again,) = worker.pending(run)
    first.refresh_from_db()
    assert (first.status, again.digest) == ("superseded", first.digest)
    worker.decide(again)
    assert len(done(run)) == 3


def test_a_verdict_that_was_passed_over_is_given_when_the_graph_asks_for_it_again(
    worker: Worker,
) -> None:
    run = worker.start("three_interrupts")
    left, middle, right = sorted(worker.pending(run), key=lambda row: row.task["region"])
    for request in (left, right):
        worker.vote(request)
    Delivery.objects.filter(request=right).update(priority=9)
    others.asked["version"] = "v2"
    worker.turn()
    assert others.effects == ["production"]
    others.asked["version"] = "v1"
    worker.decide(middle)
    assert len(done(run)) == 3
    assert others.effects == ["production"] * 3


def test_a_vote_that_meets_its_own_supersession_is_not_used(worker: Worker) -> None:
    run = worker.start("parallel_interrupts")
    left, right = sorted(worker.pending(run), key=lambda row: row.task["region"])
    others.asked["version"] = "v2"
    worker.vote(left)
    worker.vote(right)
    worker.turn()
    assert others.effects == ["production"]
    assert [row.task["version"] for row in worker.pending(run)] == ["v2"]


def test_a_turn_whose_worker_dies_every_time_stops_visibly(worker: Worker) -> None:
    run = worker.start("one_interrupt")
    Run.objects.filter(pk=run.pk).update(
        wanted=2, lease_until="2020-01-01T00:00:00Z", attempts=outbox.MAX_ATTEMPTS - 1
    )
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "died every time" in run.attention


def test_a_payload_that_nobody_can_store_needs_a_person(worker: Worker) -> None:
    others.asked["version"] = "v" * 70_000
    run = worker.start("one_interrupt")
    assert run.status == "needs_attention"
    assert "larger than 64 KiB" in run.attention


def test_a_worker_that_dies_inside_a_foreign_node_is_followed_by_a_person(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("dying")
    (request,) = worker.pending(run)
    worker.vote(request)
    with pytest.raises(WorkerDied):
        worker.turn()
    checkpoints.disconnect()
    Delivery.objects.update(lease_until="2020-01-01T00:00:00Z")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "may or may not have happened" in run.attention
    assert others.effects == ["production"]
    others.asked["die"] = False
    services.settle_run(run.pk, "retry", actor=operator, reason="Nothing was deployed.")
    worker.turn()
    assert done(run) == ["production"]
    assert others.effects == ["production"] * 2


def test_a_worker_whose_transaction_the_database_ended_is_followed_like_one_that_died(
    worker: Worker,
) -> None:
    with pytest.raises(InternalError) as caught:
        worker.start("hangs_in_a_transaction")
    assert isinstance(caught.value.__cause__, IdleInTransactionSessionTimeout)
    run = Run.objects.get()
    assert (run.status, run.attention, run.in_invocation) == ("running", "", True)


def test_a_worker_that_dies_once_a_node_is_done_loses_nothing_that_follows(worker: Worker) -> None:
    run = worker.start("asks_then_acts")
    (request,) = worker.pending(run)
    worker.vote(request)
    scenes.die_before_checkpoint(worker)
    worker.turn()
    assert done(run) == ["approved", "acted"]
    assert others.effects == ["acted"]
