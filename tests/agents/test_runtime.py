"""Runs of graphs, turn by turn: each interrupt gets its own approval, and each answer its own."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.contrib.auth.models import Group, User
from django.db import connection

from agents import runtime, services
from agents.models import Execution, Run
from approvals import outbox
from approvals.actors import user_actor
from approvals.core.lifecycle import Choice, Via
from approvals.models import ApprovalRequest, AuditEntry, Delivery
from approvals.services import cast_vote
from tests.agents import graphs_of_others as others

pytestmark = pytest.mark.django_db(transaction=True)

GRAPHS = {
    name: (f"tests.agents.graphs_of_others.{name}", "1")
    for name in (
        "one_interrupt",
        "parallel_interrupts",
        "looping_interrupts",
        "nested_interrupts",
        "unknown_payload",
        "needs_nobody",
        "failing",
    )
}


@pytest.fixture(autouse=True)
def _world(settings: Any) -> Iterator[None]:
    settings.HITL_CHANNELS = ["integrations.workflow.WorkflowChannel"]
    settings.HITL_GRAPHS = GRAPHS
    outbox.channels.cache_clear()
    others.effects.clear()
    others.asked.clear()
    others.asked["version"] = "v1"
    yield
    runtime.disconnect()
    outbox.channels.cache_clear()


@pytest.fixture
def requester() -> User:
    return User.objects.create_user("rosa", "rosa@example.com")


@pytest.fixture
def approver() -> User:
    user = User.objects.create_user("ada", "ada@example.com")
    user.groups.add(Group.objects.create(name="release-managers"))
    return user


def start(requester: User, workflow: str, **task: Any) -> Run:
    """Start a run and give it its first turn."""
    task = {"operation": "deploy", "environment": "production", **task}
    run = services.start_run(actor=user_actor(requester, Via.API), workflow=workflow, task=task)
    turn()
    run.refresh_from_db()
    return run


def turn() -> None:
    """Do all the work that is owed to runs, as a worker would."""
    for _ in range(50):
        if not (services.advance_next() or outbox.deliver_next("workflow")):
            return
    raise AssertionError("the work never ends")


def decide(request: ApprovalRequest, user: User, choice: Choice = Choice.APPROVE) -> None:
    """Vote and let the run go on."""
    cast_vote(request.pk, actor=user_actor(user, Via.WEB), choice=choice, comment="because")
    turn()


def done(run: Run) -> list[str]:
    """What the graph's nodes said they did."""
    run.refresh_from_db()
    assert run.result is not None
    said: list[str] = run.result["values"]["done"]
    return said


def pending(run: Run) -> list[ApprovalRequest]:
    rows = ApprovalRequest.objects.filter(workflow_id=str(run.pk), status="pending")
    return list(rows.order_by("created_at"))


def test_a_graph_that_knows_nothing_of_this_project_gets_its_approval(
    requester: User, approver: User
) -> None:
    run = start(requester, "one_interrupt")
    (request,) = pending(run)
    assert run.status == "waiting"
    assert request.risk_level == "critical"
    assert request.task == {"operation": "deploy", "environment": "production", "version": "v1"}
    assert request.action is None
    decide(request, approver)
    assert done(run) == ["production"]
    assert run.status == "completed"
    assert others.effects == ["production"]


def test_a_rejection_reaches_the_graph_and_ends_the_run_as_rejected(
    requester: User, approver: User
) -> None:
    run = start(requester, "one_interrupt")
    decide(pending(run)[0], approver, Choice.REJECT)
    assert done(run) == ["production: rejected"]
    assert run.status == "rejected"
    assert others.effects == []


def test_parallel_interrupts_are_answered_one_by_one(requester: User, approver: User) -> None:
    run = start(requester, "parallel_interrupts")
    left, right = sorted(pending(run), key=lambda row: row.task["region"])
    decide(right, approver)
    run.refresh_from_db()
    assert run.status == "waiting"
    assert others.effects == ["production"]
    assert [row.pk for row in pending(run)] == [left.pk]
    decide(left, approver, Choice.REJECT)
    assert sorted(done(run)) == ["production", "production: rejected"]
    assert others.effects == ["production"]


def test_each_turn_of_a_loop_in_one_node_asks_anew(requester: User, approver: User) -> None:
    run = start(requester, "looping_interrupts")
    seen: set[UUID] = set()
    for choice in (Choice.APPROVE, Choice.REJECT, Choice.APPROVE):
        (request,) = pending(run)
        assert request.pk not in seen
        seen.add(request.pk)
        decide(request, approver, choice)
    assert done(run) == ["0: approved", "1: rejected", "2: approved"]
    assert others.effects == ["looped"]


def test_a_redelivered_verdict_does_not_answer_the_next_interrupt_of_the_same_node(
    requester: User, approver: User
) -> None:
    run = start(requester, "looping_interrupts")
    (first,) = pending(run)
    decide(first, approver)
    (second,) = pending(run)
    for _ in range(3):
        outbox.nudge(first.pk, "workflow")
        turn()
    assert [row.pk for row in pending(run)] == [second.pk]
    run.refresh_from_db()
    assert run.status == "waiting"


def test_an_interrupt_in_a_subgraph_gets_its_approval(requester: User, approver: User) -> None:
    run = start(requester, "nested_interrupts")
    decide(pending(run)[0], approver)
    run.refresh_from_db()
    assert run.status == "completed"
    assert others.effects == ["production"]


def test_a_payload_that_is_no_task_is_an_unknown_high_risk_operation(
    requester: User, approver: User
) -> None:
    approver.groups.add(Group.objects.create(name="platform"))
    run = start(requester, "unknown_payload")
    (request,) = pending(run)
    assert (request.operation, request.risk_level) == ("unknown", "high")
    assert request.task["payload"][0] == "free the \N{REPLACEMENT CHARACTER} penguins"
    decide(request, approver)
    run.refresh_from_db()
    assert run.status == "completed"


def test_what_the_rules_let_through_is_answered_at_once(requester: User, approver: User) -> None:
    run = start(requester, "needs_nobody")
    (request,) = pending(run)
    assert request.environment == "production"
    decide(request, approver)
    assert done(run) == ["rules", "ada"]


def test_a_payload_that_changed_while_it_waited_supersedes_the_request(
    requester: User, approver: User
) -> None:
    run = start(requester, "parallel_interrupts")
    left, right = sorted(pending(run), key=lambda row: row.task["region"])
    others.asked["version"] = "v2"
    decide(left, approver)
    right.refresh_from_db()
    assert right.status == "superseded"
    (successor,) = pending(run)
    assert successor.task["version"] == "v2"
    assert right.superseded_by_id == successor.pk


def test_a_payload_that_changed_after_its_approval_is_not_executed(
    requester: User, approver: User
) -> None:
    run = start(requester, "parallel_interrupts")
    left, right = sorted(pending(run), key=lambda row: row.task["region"])
    others.asked["version"] = "v2"
    # Both are approved before either verdict is delivered; the left one makes the right one run
    # again, which now asks for another version.
    for request in (left, right):
        cast_vote(request.pk, actor=user_actor(approver, Via.WEB), choice=Choice.APPROVE)
    Delivery.objects.filter(request=right).update(priority=9)
    turn()
    assert others.effects == ["production"]
    (successor,) = pending(run)
    assert successor.task["version"] == "v2"
    assert AuditEntry.objects.filter(stream=right.pk, name="request.resume_refused").exists()


def test_a_graph_that_fails_needs_a_person_and_is_never_retried_in_silence(
    requester: User, approver: User
) -> None:
    run = start(requester, "failing")
    turn()
    assert run.status == "needs_attention"
    assert "the penguins are loose" in run.attention
    assert others.effects == ["half"]


def test_a_persons_word_lets_a_failed_graph_go_on(requester: User, approver: User) -> None:
    run = start(requester, "failing")
    approver.groups.add(Group.objects.create(name="operators"))
    others.asked["fail"] = False
    services.settle_run(
        run.pk, "retry", actor=user_actor(approver, Via.WEB), reason="The penguins are back."
    )
    turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert others.effects == ["half", "half"]


def test_a_new_version_of_a_graph_stops_a_waiting_run_loudly(
    requester: User, approver: User, settings: Any
) -> None:
    run = start(requester, "one_interrupt")
    settings.HITL_GRAPHS = {"one_interrupt": (GRAPHS["one_interrupt"][0], "2")}
    decide(pending(run)[0], approver)
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "version 1" in run.attention
    assert others.effects == []
    # The old release comes back, and a person lets the run go on: the verdict still reaches it.
    settings.HITL_GRAPHS = GRAPHS
    approver.groups.add(Group.objects.create(name="operators"))
    services.settle_run(run.pk, "retry", actor=user_actor(approver, Via.WEB), reason="Rolled back.")
    turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert others.effects == ["production"]


def test_a_decision_while_the_thread_is_busy_waits_its_turn(
    requester: User, approver: User
) -> None:
    run = start(requester, "one_interrupt")
    (request,) = pending(run)
    cast_vote(request.pk, actor=user_actor(approver, Via.WEB), choice=Choice.APPROVE)

    with psycopg.connect(**runtime.address(connection), autocommit=True) as other:
        other.execute(
            "SELECT pg_advisory_lock(hashtextextended(%s, 0))", [f"hitl-thread:{run.thread_id}"]
        )
        assert outbox.deliver_next("workflow") is True
        row = Delivery.objects.get(request=request)
        assert (row.done, row.attempts, row.lease_token) == (row.wanted - 1, 0, None)
        assert others.effects == []
    outbox.wake_thread(run.thread_id)
    turn()
    assert others.effects == ["production"]


def test_twelve_resumes_of_one_approval_are_one(requester: User, approver: User) -> None:
    run = start(requester, "one_interrupt")
    (request,) = pending(run)
    decide(request, approver)
    for _ in range(12):
        outbox.nudge(request.pk, "workflow")
        turn()
    assert others.effects == ["production"]
    assert Execution.objects.count() == 0


def test_cancelling_a_run_ends_what_it_waited_for(requester: User, approver: User) -> None:
    run = start(requester, "one_interrupt")
    (request,) = pending(run)
    services.cancel_run(run.pk, actor=user_actor(requester, Via.API), reason="Not today.")
    turn()
    request.refresh_from_db()
    run.refresh_from_db()
    assert (request.status, run.status) == ("cancelled", "cancelled")
    assert others.effects == []
