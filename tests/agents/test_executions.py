"""An action is begun at most once for what it may be begun for, whatever dies around it."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection

from agents import services
from agents.models import Execution, Run
from agents.operations import load_operations
from approvals.core.lifecycle import Actor, Choice
from approvals.models import ApprovalRequest, AuditEntry, Delivery
from tests.agents import executors_of_tests as executors
from tests.agents import scenes
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)


def leases_end() -> None:
    """Let the time pass that a dead worker's claims last."""
    Delivery.objects.update(lease_until="2020-01-01T00:00:00Z")
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    Execution.objects.update(lease_until="2020-01-01T00:00:00Z")


def approve_and_die(worker: Worker, run: Run) -> ApprovalRequest:
    """Approve what the run waits for; the worker dies in the middle of the action."""
    (request,) = worker.pending(run)
    executors.next_outcomes.append("die")
    worker.vote(request)
    with pytest.raises(WorkerDied):
        worker.turn()
    return request


def test_the_frozen_action_runs_once_with_the_requests_key(worker: Worker) -> None:
    run = worker.start("task", arguments={"version": "v2.5.0"})
    (request,) = worker.pending(run)
    worker.decide(request)
    run.refresh_from_db()
    assert run.status == "completed"
    assert executors.begun == [(f"request:{request.pk}", request.action)]
    assert "v2.5.0" in executors.begun[0][1]["argv"]
    names = list(
        AuditEntry.objects.filter(stream=request.pk)
        .order_by("number")
        .values_list("name", flat=True)
    )
    assert names[:5] == [
        "request.opened",
        "vote.cast",
        "request.approved",
        "execution.started",
        "execution.finished",
    ]


def test_a_rejected_step_runs_nothing_and_its_rollback_is_assessed_like_any_step(
    worker: Worker,
) -> None:
    run = worker.start("pr-deployment")
    worker.decide(worker.pending(run)[0], Choice.REJECT)
    run.refresh_from_db()
    assert run.status == "rejected"
    assert run.result is not None
    ended = [(step["name"], step["status"]) for step in run.result["steps"]]
    assert ended == [
        ("review", "succeeded"),
        ("test", "succeeded"),
        ("stage", "succeeded"),
        ("deploy", "rejected"),
        ("roll-back-staging", "succeeded"),
    ]
    assert "rejected by ada: because" in run.result["steps"][3]["summary"]
    environments = [action["argv"] for _, action in executors.begun if "deploy" in action["argv"]]
    assert all("production" not in argv for argv in environments)


def test_a_rollback_to_production_waits_for_its_own_approval(worker: Worker) -> None:
    run = worker.start("hotfix")
    worker.decide(worker.pending(run)[0], Choice.REJECT)
    (rollback,) = worker.pending(run)
    assert (rollback.operation, rollback.environment) == ("rollback", "production")
    worker.decide(rollback)
    run.refresh_from_db()
    assert run.status == "rejected"


def test_a_failed_action_says_so_in_the_result(worker: Worker) -> None:
    run = worker.start("task")
    executors.next_outcomes.append("fail")
    worker.decide(worker.pending(run)[0])
    run.refresh_from_db()
    assert run.status == "failed"
    assert run.steps[0]["summary"] == "exited 3"
    assert Execution.objects.get().output == "no disk left"


def test_what_cannot_be_resolved_fails_before_anybody_is_asked(worker: Worker) -> None:
    run = worker.start("task", operation="release_the_penguins")
    assert run.status == "failed"
    assert "There is no operation 'release_the_penguins'" in run.steps[0]["summary"]
    assert worker.pending(run) == []


def test_a_worker_that_dies_inside_an_idempotent_action_is_followed_by_a_repeat(
    worker: Worker,
) -> None:
    run = worker.start("task", operation="rollback")
    request = approve_and_die(worker, run)
    leases_end()
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert [key for key, _ in executors.begun] == [f"request:{request.pk}"] * 2
    assert Execution.objects.get().attempts == 2


NOBODY_LISTENS = "The call was not begun: nobody listens."


def test_what_may_have_happened_unasked_is_told_of_when_the_rules_get_stricter(
    worker: Worker, operator: Actor, changed_rules: Callable[..., None]
) -> None:
    executors.next_outcomes.append("die")
    with pytest.raises(WorkerDied):
        worker.start("task", operation="rollback", environment="staging")
    run = Run.objects.get()
    leases_end()
    changed_rules(
        "  - {name: strict, conditions: {operation: rollback}, risk_level: high,"
        " requires_approval: true}\n"
    )
    worker.turn()
    run.refresh_from_db()
    told = "The rules now require an approval for a step that had none."
    assert run.status == "needs_attention"
    assert run.attention.startswith(f"{told} But an earlier attempt has no known end")
    services.settle_run(run.pk, "done", actor=operator, reason="It happened.")
    worker.turn()
    run.refresh_from_db()
    assert (run.status, len(executors.begun)) == ("completed", 1)
    assert [step["status"] for step in run.steps] == ["succeeded"]


def test_a_worker_that_dies_between_the_verdict_and_the_action_is_followed_by_one_that_acts(
    worker: Worker,
) -> None:
    run = worker.start("task")
    worker.vote(worker.pending(run)[0])
    # The node that waited has saved the verdict; the checkpoint that leads on is never written.
    scenes.die_before_checkpoint(worker)
    assert executors.begun == []
    leases_end()
    worker.turn()
    run.refresh_from_db()
    assert len(executors.begun) == 1
    assert run.status == "completed"
    assert run.result is not None
    assert [step["status"] for step in run.result["steps"]] == ["succeeded"]


def test_a_worker_that_dies_inside_any_other_action_is_followed_by_a_person(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    approve_and_die(worker, run)
    leases_end()
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "may or may not have happened" in run.attention
    assert len(executors.begun) == 1
    services.settle_run(run.pk, "done", actor=operator, reason="I saw it running.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 1
    assert "Settled as done by olga" in run.steps[0]["summary"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM agents_execution",
        "UPDATE agents_execution SET status = 'started'",
        "UPDATE agents_execution SET attempts = 0",
        "UPDATE agents_execution SET key = 'another'",
        "UPDATE agents_execution SET action = '{}'",
    ],
)
def test_the_database_forgets_no_action_that_was_begun(worker: Worker, statement: str) -> None:
    worker.decide(worker.pending(worker.start("task"))[0])
    before = Execution.objects.values().get()
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(statement)
    assert Execution.objects.values().get() == before


def test_a_persons_retry_begins_the_action_once_more(worker: Worker, operator: Actor) -> None:
    run = worker.start("task")
    approve_and_die(worker, run)
    leases_end()
    worker.turn()
    services.settle_run(run.pk, "retry", actor=operator, reason="It never started.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 2


def test_an_abandoned_run_begins_nothing_more(worker: Worker, operator: Actor) -> None:
    run = worker.start("task")
    request = approve_and_die(worker, run)
    leases_end()
    worker.turn()
    services.settle_run(run.pk, "abandon", actor=operator, reason="Superseded by v3.")
    Delivery.objects.filter(request=request).update(done=0, gave_up_at=None)
    worker.turn()
    run.refresh_from_db()
    assert run.status == "failed"
    assert len(executors.begun) == 1


def test_an_unknown_outcome_needs_a_person(worker: Worker) -> None:
    run = worker.start("task")
    executors.next_outcomes.append("unknown")
    worker.decide(worker.pending(run)[0])
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "reply was lost" in run.attention
    worker.turn()
    assert len(executors.begun) == 1


@pytest.mark.parametrize("operation", ["deploy", "rollback"])
def test_an_approval_is_not_used_up_by_what_was_surely_not_begun(
    worker: Worker, operator: Actor, operation: str
) -> None:
    run = worker.start("task", operation=operation)
    executors.next_outcomes.append("refuse")
    worker.decide(worker.pending(run)[0])
    run.refresh_from_db()
    held = Execution.objects.get()
    assert (run.status, run.attention) == (
        "needs_attention",
        NOBODY_LISTENS,
    )
    assert (held.status, held.summary) == ("held", run.attention)
    worker.turn()
    assert len(executors.begun) == 1
    services.settle_run(run.pk, "retry", actor=operator, reason="Somebody listens now.")
    worker.turn()
    run.refresh_from_db()
    assert (run.status, Execution.objects.get().status) == ("completed", "succeeded")
    assert [key for key, _ in executors.begun] == [held.key] * 2


def test_a_step_that_needed_no_approval_and_was_not_begun_waits_for_a_person_too(
    worker: Worker, operator: Actor
) -> None:
    executors.next_outcomes.append("refuse")
    run = worker.start("task", environment="staging")
    assert (run.status, run.attention) == (
        "needs_attention",
        NOBODY_LISTENS,
    )
    services.settle_run(run.pk, "retry", actor=operator, reason="Somebody listens now.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"


def test_what_is_begun_once_more_has_not_ended(worker: Worker, operator: Actor) -> None:
    run = worker.start("task")
    executors.next_outcomes += ["refuse", "die"]
    worker.decide(worker.pending(run)[0])
    services.settle_run(run.pk, "retry", actor=operator, reason="Somebody listens now.")
    with pytest.raises(WorkerDied):
        worker.turn()
    begun = Execution.objects.get()
    assert (begun.status, begun.summary, begun.finished_at) == ("started", "", None)


def test_while_another_worker_is_at_the_action_nobody_begins_it(worker: Worker) -> None:
    run = worker.start("task")
    approve_and_die(worker, run)
    # The dead worker's delivery may be taken over, but its action may still be running somewhere.
    Delivery.objects.update(lease_until="2020-01-01T00:00:00Z")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "running"
    assert len(executors.begun) == 1
    assert Execution.objects.get().status == "started"


def test_an_old_approval_runs_nothing_until_a_person_says_so(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    (request,) = worker.pending(run)
    worker.vote(request)
    scenes.let_approval_grow_old(request)
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "should have run within" in run.attention
    assert executors.begun == []
    services.settle_run(run.pk, "retry", actor=operator, reason="Still wanted.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 1


def test_a_persons_word_runs_nothing_once_it_is_old_itself(worker: Worker, operator: Actor) -> None:
    """As where no worker was there to hear it."""
    run = worker.start("task")
    (request,) = worker.pending(run)
    worker.vote(request)
    scenes.let_approval_grow_old(request)
    worker.turn()
    services.settle_run(run.pk, "retry", actor=operator, reason="Still wanted.")
    Execution.objects.update(retry_granted_at="2020-01-01T00:00:00Z")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "was to be tried again from 2020-01-01 00:00 UTC on and should have run" in run.attention
    assert executors.begun == []
    assert Execution.objects.get().status == "held"
    services.settle_run(run.pk, "retry", actor=operator, reason="Wanted even now.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert len(executors.begun) == 1


@pytest.fixture
def later_operations(settings: Any, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A function after which every operation is another one, as after a restart."""

    def change() -> None:
        folder = tmp_path / "config"
        shutil.copytree(settings.HITL_CONFIG_DIR, folder)
        path = folder / "hitl" / "operations.yaml"
        path.write_text(path.read_text().replace("sandbox.program", "sandbox.other_program"))
        settings.HITL_CONFIG_DIR = folder
        load_operations.cache_clear()

    yield change
    load_operations.cache_clear()


@pytest.fixture
def changed_rules(settings: Any, tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A function that adds rules, or leaves one out, as after a restart."""

    def change(more: str, without: str = "") -> None:
        folder = tmp_path / "config"
        shutil.copytree(settings.HITL_CONFIG_DIR, folder)
        path = folder / "hitl" / "risk-assessment-rules.yaml"
        rules = path.read_text().rstrip() + "\n\n" + more
        if without:
            rules = re.sub(rf"  - name: {without}\n(    .*\n)+", "", rules)
            rules += (
                "  - {name: let through, conditions: {operation: rollback}, risk_level: low,"
                " requires_approval: false}\n"
            )
        path.write_text(rules)
        settings.HITL_CONFIG_DIR = folder

    yield change
    load_operations.cache_clear()


def test_a_changed_operations_file_changes_nothing_that_was_approved(
    worker: Worker, later_operations: Callable[[], None]
) -> None:
    run = worker.start("task", arguments={"version": "v2.5.0"})
    (request,) = worker.pending(run)
    frozen = request.action
    later_operations()
    assert load_operations().resolve(run.task) != frozen
    worker.decide(request)
    assert [action for _, action in executors.begun] == [frozen]


def test_a_cancelled_run_executes_nothing_that_was_approved_before(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    (request,) = worker.pending(run)
    worker.vote(request)
    services.cancel_run(run.pk, actor=operator, reason="Stop.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "cancelled"
    assert executors.begun == []


def test_every_field_of_a_task_is_assessed_shown_and_frozen(
    worker: Worker, changed_rules: Callable[..., None]
) -> None:
    changed_rules(
        "  - {name: public, conditions: {audience: public}, risk_level: critical,"
        " requires_approval: true}\n"
    )
    task = {"operation": "update_docs", "environment": "development"}
    assert worker.start("task", **task).status == "completed"
    run = worker.start("task", **task, audience="public")
    (request,) = worker.pending(run)
    assert (request.risk_level, request.task["audience"]) == ("critical", "public")
    by_template = worker.start("docs-update", **task, audience="public")
    assert worker.pending(by_template)[0].risk_level == "critical"


def test_a_rule_over_the_repository_lets_a_step_through_to_its_end(
    worker: Worker, changed_rules: Callable[..., None]
) -> None:
    changed_rules(
        "  - {name: shop, conditions: {operation: scale_service, github_repo: acme/shop},"
        " risk_level: low, requires_approval: false}\n"
    )
    run = worker.start(
        "task",
        operation="scale_service",
        environment="preview-7",
        github_repo="acme/shop",
        arguments={"replicas": 2},
    )
    assert run.status == "failed", run.attention
    assert "preview-7" in run.steps[0]["summary"]


def test_what_people_were_asked_stays_theirs_when_the_rules_change(
    worker: Worker, changed_rules: Callable[..., None]
) -> None:
    run = worker.start("task", operation="rollback")
    (request,) = worker.pending(run)
    changed_rules("", without="production_rollback")
    Run.objects.filter(pk=run.pk).update(wanted=2)
    worker.turn()
    assert executors.begun == []
    assert [row.pk for row in worker.pending(run)] == [request.pk]


def test_while_an_approved_action_runs_its_run_is_running(worker: Worker) -> None:
    run = worker.start("task")
    approve_and_die(worker, run)
    run.refresh_from_db()
    assert run.status == "running"
