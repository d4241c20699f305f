"""Runs in every state that one can be in, made by the verbs and a worker."""

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver

from agents import checkpoints, services
from agents.models import Execution, Run
from approvals.core.lifecycle import Actor, Choice
from approvals.models import ApprovalRequest, Delivery
from tests.agents import executors_of_tests as executors
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.worker import Worker
from tests.approvals.scenes import unguarded

SHIP = {"description": "Ship the saved baskets"}
VERSION = {"arguments": {"version": "v2.5.0"}}


def waiting(worker: Worker, workflow: str = "task", **task: Any) -> Run:
    """A run that waits for people to decide on a deployment to production."""
    given = {} if workflow == "infrastructure" else VERSION
    return worker.start(workflow, **{**SHIP, **given, **task})


def completed(worker: Worker, **task: Any) -> Run:
    """A run that was approved and did what it was for."""
    run = waiting(worker, **task)
    worker.decide(worker.pending(run)[0])
    return fresh(run)


def rejected(worker: Worker, workflow: str = "pr-deployment") -> Run:
    """A run whose deployment was rejected, with its rollback steps done."""
    run = waiting(worker, workflow)
    worker.decide(worker.pending(run)[0], Choice.REJECT)
    return fresh(run)


def failed(worker: Worker) -> Run:
    """A run whose action failed."""
    run = waiting(worker)
    executors.next_outcomes.append("fail")
    worker.decide(worker.pending(run)[0])
    return fresh(run)


def stopped(worker: Worker, workflow: str = "task") -> Run:
    """A run that needs attention: its reply was lost in the middle of the action."""
    run = waiting(worker, workflow)
    executors.next_outcomes.append("unknown")
    worker.decide(worker.pending(run)[0])
    assert fresh(run).status == "needs_attention"
    return fresh(run)


def at_work(worker: Worker) -> Run:
    """A run whose worker is in the middle of the action, as far as anybody can tell."""
    run = waiting(worker)
    executors.next_outcomes.append("die")
    worker.vote(worker.pending(run)[0])
    with pytest.raises(WorkerDied):
        worker.turn()
    assert Execution.objects.get(run=run).status == "started"
    assert Delivery.objects.filter(lease_until__isnull=False).exists()
    return fresh(run)


def cancelled(worker: Worker, actor: Actor) -> Run:
    """A run that an operator has cancelled."""
    run = waiting(worker)
    services.cancel_run(run.pk, actor=actor, reason="Not during the sale.")
    return fresh(run)


def fresh(run: Run) -> Run:
    """The run as it stands now."""
    return Run.objects.get(pk=run.pk)


def every_state(worker: Worker, operator: Actor) -> dict[str, Run]:
    """One run in each state, by its name."""
    made: dict[str, Callable[[], Run]] = {
        "waiting": lambda: waiting(worker),
        "completed": lambda: completed(worker),
        "rejected": lambda: rejected(worker),
        "failed": lambda: failed(worker),
        "needs_attention": lambda: stopped(worker),
        "cancelled": lambda: cancelled(worker, operator),
        "running": lambda: at_work(worker),
    }
    return {name: make() for name, make in made.items()}


def let_approval_grow_old(request: ApprovalRequest) -> None:
    """Let a request have been decided two days ago."""
    unguarded(
        "UPDATE approval_requests SET decided_at = decided_at - interval '2 days' WHERE id = %s",
        [request.pk],
    )


def die_before_checkpoint(worker: Worker) -> None:
    """Take a turn whose worker dies once a node's writes are saved, and not what takes them in."""

    def dies(*_: Any, **__: Any) -> None:
        raise WorkerDied

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PostgresSaver, "put", dies)
        with pytest.raises(WorkerDied):
            worker.turn()
    checkpoints.disconnect()
    Delivery.objects.update(lease_until="2020-01-01T00:00:00Z")
