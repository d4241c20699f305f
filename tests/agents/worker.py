"""A worker, an asker and an approver, one step at a time."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User

from agents import services, turns
from agents.models import Run
from approvals import outbox
from approvals.actors import user_actor
from approvals.core.lifecycle import Choice, Via
from approvals.models import ApprovalRequest
from approvals.services import cast_vote


@dataclass
class Worker:
    """What a worker and a person do, one step at a time."""

    requester: User
    approver: User

    def start(self, workflow: str, **task: Any) -> Run:
        """Start a run and give it its first turn."""
        task = {"operation": "deploy", "environment": "production", **task}
        run = services.start_run(
            actor=user_actor(self.requester, Via.API), workflow=workflow, task=task
        )
        self.turn()
        run.refresh_from_db()
        return run

    def turn(self) -> None:
        """Do all the work that is owed to runs."""
        for _ in range(50):
            if not (turns.advance_next() or outbox.deliver_next("workflow")):
                return
        raise AssertionError("the work never ends")

    def decide(self, request: ApprovalRequest, choice: Choice = Choice.APPROVE) -> None:
        """Vote and let the run go on."""
        self.vote(request, choice)
        self.turn()

    def vote(self, request: ApprovalRequest, choice: Choice = Choice.APPROVE) -> None:
        """Vote alone."""
        actor = user_actor(self.approver, Via.WEB)
        cast_vote(request.pk, actor=actor, choice=choice, comment="because")

    def pending(self, run: Run) -> list[ApprovalRequest]:
        """What the run waits for."""
        rows = ApprovalRequest.objects.filter(workflow_id=str(run.pk), status="pending")
        return list(rows.order_by("created_at"))
