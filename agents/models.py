"""Runs of workflows, and the record of every action that was begun."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.owed import ClockTimestamp, Owed


class RunStatus(models.TextChoices):
    """Where a run stands; `ENDED` has those that are final."""

    RUNNING = "running"
    WAITING = "waiting"
    NEEDS_ATTENTION = "needs_attention"
    COMPLETED = "completed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"


ENDED = frozenset(
    {
        RunStatus.COMPLETED,
        RunStatus.REJECTED,
        RunStatus.EXPIRED,
        RunStatus.CANCELLED,
        RunStatus.FAILED,
    }
)


class Run(Owed):
    """One execution of a workflow, which is one LangGraph thread.

    What is owed is a turn: to start, or to go on after a crash or a person's word.
    `in_invocation` is true while a worker is inside the graph, so that a crash is told apart from
    a pause; `may_continue` is a person's word to go on where the gateway would not by itself.
    `purged_at` is when retention took the checkpoints and the actions' output of an ended run.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workflow = models.CharField(max_length=100)
    graph = models.CharField(max_length=100)
    graph_version = models.CharField(max_length=40)
    thread_id = models.CharField(max_length=200, unique=True)
    task = models.JSONField()
    input = models.JSONField()
    status = models.CharField(max_length=20, choices=RunStatus.choices, default=RunStatus.RUNNING)
    attention = models.TextField(blank=True, default="")
    in_invocation = models.BooleanField(default=False)
    may_continue = models.BooleanField(default=False)
    steps = models.JSONField(default=list)
    result = models.JSONField(null=True, blank=True)
    requested_by = models.CharField(max_length=200)
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    pr_number = models.PositiveIntegerField(null=True, blank=True)
    pr_url = models.CharField(max_length=500, blank=True, default="")
    github_repo = models.CharField(max_length=200, blank=True, default="")
    idempotency_key = models.CharField(max_length=200, blank=True, default="")
    idempotency_digest = models.CharField(max_length=64, blank=True, default="")
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    ended_at = models.DateTimeField(null=True, blank=True)
    purged_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["opened_by", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="one_run_an_idempotency_key",
            )
        ]
        indexes: ClassVar = [
            models.Index("priority", "not_before", condition=Owed.is_owed(), name="idx_run_owed"),
            models.Index(fields=["status", "-created_at"], name="idx_run_status"),
            # Newest first, as the list shows them: all of them, or by what people look for.
            models.Index(fields=["-created_at", "-id"], name="idx_run_newest"),
            models.Index(fields=["workflow", "-created_at", "-id"], name="idx_run_workflow"),
            models.Index(fields=["requested_by", "-created_at", "-id"], name="idx_run_asked_by"),
            # Shrinks by every run that is purged: a million of those cost a look nothing.
            models.Index(
                fields=["ended_at"],
                condition=Q(ended_at__isnull=False, purged_at=None),
                name="idx_run_unpurged",
            ),
            # What people look for in the admin; most runs have none.
            models.Index(
                fields=["pr_number"], condition=Q(pr_number__isnull=False), name="idx_run_pull"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} {self.pk}"

    @property
    def given(self) -> dict[str, Any]:
        """Everything that it was started with, whose secrets nothing shows."""
        return {"task": self.task, "input": self.input}


class ExecutionStatus(models.TextChoices):
    """How an action stands: `held` was not begun, `unknown` may or may not have happened.

    Both wait for a person's word; succeeded, failed and abandoned are final.
    """

    STARTED = "started"
    HELD = "held"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABANDONED = "abandoned"


# What a person's word settles.
UNSETTLED = frozenset({ExecutionStatus.HELD, ExecutionStatus.UNKNOWN, ExecutionStatus.STARTED})


class Execution(models.Model):
    """The record that an action was begun, made before it begins.

    `key` is what it may be begun for once: an approved request, or a step that needed none. The
    holder of `claim_token` may finish it; after `lease_until` a started one counts as crashed.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, models.PROTECT, related_name="executions")
    key = models.CharField(max_length=100, unique=True)
    position = models.PositiveIntegerField()
    request_id = models.UUIDField(null=True, blank=True)
    action = models.JSONField()
    digest = models.CharField(max_length=64)
    status = models.CharField(
        max_length=12, choices=ExecutionStatus.choices, default=ExecutionStatus.STARTED
    )
    attempts = models.PositiveIntegerField(default=1)
    claim_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    # A person's word, given after looking, that the action may be begun once more.
    retry_granted_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(db_default=ClockTimestamp())
    finished_at = models.DateTimeField(null=True, blank=True)
    summary = models.TextField(blank=True, default="")
    output = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["run", "position"], name="idx_execution_run"),
            # As the admin lists them.
            models.Index(fields=["-started_at"], name="idx_execution_started"),
            models.Index(fields=["status", "-started_at"], name="idx_execution_status"),
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.status}"

    @property
    def given(self) -> dict[str, Any]:
        """What its run was started with."""
        return self.run.given
