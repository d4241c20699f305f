"""The request people decide on, the votes, and the log of everything that happened to it."""

import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex, GinIndex
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.fields.json import KeyTransform

from approvals.core.events import Snapshot
from approvals.core.lifecycle import Choice, Policy, Standing, Status
from approvals.core.risk import Match, Risk
from approvals.models.owed import ClockTimestamp


def _by_severity() -> Case:
    return Case(
        *(When(risk_level=risk, then=Value(risk.urgency)) for risk in Risk),
        output_field=models.SmallIntegerField(),
    )


class ApprovalRequest(models.Model):
    """One operation that waits, or waited, for people's decision.

    The id is made before anything else and is also the Linear issue's id. What is frozen at the
    opening (task, action, digest, policy) and a final status are guarded by triggers too.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    workflow_id = models.CharField(max_length=200)
    thread_id = models.CharField(max_length=200)
    checkpoint_id = models.CharField(max_length=200, blank=True, default="")
    interrupt_id = models.CharField(max_length=200, blank=True, default="")
    task = models.JSONField()
    action = models.JSONField(null=True, blank=True)
    digest = models.CharField(max_length=64)
    operation = models.CharField(max_length=200)
    environment = models.CharField(max_length=200, blank=True, default="")
    agent_name = models.CharField(max_length=200)
    requested_by = models.CharField(max_length=200)
    # `requested_by` as votes compare it; empty in what was decided before there was this column.
    asker = models.TextField(db_default="", editable=False)
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    risk_level = models.CharField(max_length=10, choices=[(r, r) for r in Risk])
    matches = models.JSONField()
    policy = models.JSONField()
    eligible = models.PositiveIntegerField(help_text="people who could decide at the opening")
    status = models.CharField(
        max_length=12, choices=[(s, s) for s in Status], default=Status.PENDING
    )
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.CharField(max_length=200, blank=True, default="")
    decision_reason = models.TextField(blank=True, default="")
    approved_at = models.GeneratedField(
        expression=Case(When(status=Status.APPROVED, then=F("decided_at"))),
        output_field=models.DateTimeField(null=True),
        db_persist=True,
    )
    approved_by = models.GeneratedField(
        expression=Case(When(status=Status.APPROVED, then=F("decided_by"))),
        output_field=models.CharField(max_length=200, null=True),
        db_persist=True,
    )
    rejection_reason = models.GeneratedField(
        expression=Case(When(status=Status.REJECTED, then=F("decision_reason"))),
        output_field=models.TextField(null=True),
        db_persist=True,
    )
    superseded_by = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="supersedes"
    )
    # Null, not empty, until the issue exists: the column is unique.
    linear_issue_id = models.CharField(max_length=60, null=True, blank=True, unique=True)
    linear_issue_url = models.CharField(max_length=500, null=True, blank=True)  # noqa: DJ001
    pr_number = models.PositiveIntegerField(null=True, blank=True)
    pr_url = models.CharField(max_length=500, blank=True, default="")
    github_repo = models.CharField(max_length=200, blank=True, default="")
    idempotency_key = models.CharField(max_length=200, blank=True, default="")
    idempotency_digest = models.CharField(max_length=64, blank=True, default="")
    # Where the trace that opened it goes on (W3C Trace Context); null where none was kept.
    traceparent = models.CharField(max_length=60, null=True, blank=True)  # noqa: DJ001

    class Meta:
        db_table = "approval_requests"
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(status=Status.PENDING, decided_at=None)
                | (~Q(status=Status.PENDING) & Q(decided_at__isnull=False)),
                name="decided_exactly_when_final",
            ),
            models.CheckConstraint(
                condition=Q(status__in=[str(s) for s in Status]), name="status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(risk_level__in=[str(r) for r in Risk]), name="risk_level_is_known"
            ),
            models.UniqueConstraint(
                fields=["thread_id", "interrupt_id", "digest"],
                # A payload may change back to one that was superseded: that asks anew.
                condition=~Q(interrupt_id="") & ~Q(status=Status.SUPERSEDED),
                name="one_request_an_interrupt_and_digest",
            ),
            models.UniqueConstraint(
                fields=["opened_by", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="one_request_an_idempotency_key",
            ),
            # Nulls are all different to a unique constraint: the gateway's own keys need theirs.
            models.UniqueConstraint(
                fields=["idempotency_key"],
                condition=Q(opened_by=None) & ~Q(idempotency_key=""),
                name="one_request_an_idempotency_key_of_nobody",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["workflow_id"], name="idx_workflow_id"),
            models.Index(fields=["thread_id"], name="idx_thread_id"),
            # Newest first within a status or a risk, as the queue and the API list them.
            models.Index(fields=["status", "-created_at", "-id"], name="idx_status"),
            models.Index(fields=["risk_level", "-created_at", "-id"], name="idx_risk_level"),
            models.Index(fields=["-created_at", "-id"], name="idx_created_at"),
            models.Index(fields=["-decided_at", "-id"], name="idx_decided_at"),
            models.Index(
                fields=["expires_at"],
                condition=Q(status=Status.PENDING),
                name="idx_pending_expiry",
            ),
            models.Index(
                _by_severity(),
                "expires_at",
                "id",
                condition=Q(status=Status.PENDING),
                name="idx_pending_urgent",
            ),
            # What else lists are filtered by: those of agents and environments newest first, those
            # of the history by the end. A rare value would be looked for through the whole table.
            models.Index(fields=["agent_name", "-created_at", "-id"], name="idx_agent"),
            models.Index(fields=["environment", "-created_at", "-id"], name="idx_environment"),
            models.Index(
                fields=["operation", "-decided_at", "-id"],
                condition=Q(decided_at__isnull=False),
                name="idx_operation",
            ),
            models.Index(
                fields=["decided_by", "-decided_at", "-id"],
                condition=Q(decided_at__isnull=False),
                name="idx_decided_by",
            ),
            GinIndex(KeyTransform("groups", "policy"), name="idx_policy_groups"),
            # What people look for in the admin beside identifiers.
            models.Index(fields=["requested_by", "-created_at"], name="idx_requested_by"),
            models.Index(
                fields=["pr_number"],
                condition=Q(pr_number__isnull=False),
                name="idx_request_pull",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.risk_level})"

    @property
    def title(self) -> str:
        """The operation in words, such as "deploy to production"."""
        return f"{self.operation} to {self.environment}" if self.environment else self.operation

    @property
    def given(self) -> Mapping[str, Any]:
        """What was asked, whose secrets nothing shows."""
        task: Mapping[str, Any] = self.task
        return task

    @property
    def frozen_policy(self) -> Policy:
        """The policy as it was when the request opened."""
        return Policy(**{**self.policy, "groups": tuple(self.policy["groups"])})

    @property
    def reasons(self) -> tuple[Match, ...]:
        """Which rules matched, and why."""
        return tuple(Match(m["rule"], Risk(m["risk_level"]), m["reason"]) for m in self.matches)

    @property
    def url(self) -> str:
        """The address of the request's page for people elsewhere."""
        return f"{settings.PUBLIC_URL}/approvals/{self.pk}/"

    def standing(self) -> Standing:
        """The facts a vote is judged by; reads the votes."""
        return Standing(
            status=Status(self.status),
            risk_level=Risk(self.risk_level),
            policy=self.frozen_policy,
            expires_at=self.expires_at,
            requested_by=self.requested_by,
            opened_by_id=self.opened_by_id,
            votes={vote.user_id: Choice(vote.choice) for vote in self.votes.all()},
        )

    def snapshot(self, memory: Mapping[str, Any] | None = None) -> Snapshot:
        """The request as channels see it."""
        return Snapshot(
            id=self.pk,
            status=Status(self.status),
            risk_level=Risk(self.risk_level),
            matches=self.reasons,
            policy=self.frozen_policy,
            task=self.task,
            action=self.action,
            digest=self.digest,
            agent_name=self.agent_name,
            operation=self.operation,
            environment=self.environment,
            requested_by=self.requested_by,
            workflow_id=self.workflow_id,
            thread_id=self.thread_id,
            interrupt_id=self.interrupt_id,
            created_at=self.created_at,
            expires_at=self.expires_at,
            decided_at=self.decided_at,
            decided_by=self.decided_by,
            reason=self.decision_reason,
            eligible=self.eligible,
            pr_number=self.pr_number,
            pr_url=self.pr_url,
            github_repo=self.github_repo,
            linear_issue_id=self.linear_issue_id or "",
            linear_issue_url=self.linear_issue_url or "",
            url=self.url,
            memory=memory or {},
        )

    @staticmethod
    def by_severity() -> Case:
        """Orders by harm: 0 for critical to 3 for low."""
        return _by_severity()


class Vote(models.Model):
    """One person's word on one request; they may change it while the request is pending."""

    request = models.ForeignKey(ApprovalRequest, models.CASCADE, related_name="votes")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="votes")
    choice = models.CharField(max_length=8, choices=[(c, c) for c in Choice])
    comment = models.TextField(blank=True, default="")
    via = models.CharField(max_length=20)
    cast_at = models.DateTimeField(db_default=ClockTimestamp())
    # From being shown the request's page to the vote; null where no page of ours was in between.
    seconds_to_vote = models.FloatField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "user"], name="one_vote_a_person"),
            models.CheckConstraint(
                condition=Q(seconds_to_vote=None) | Q(seconds_to_vote__gte=0),
                name="vote_follows_showing",
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["-cast_at"], name="idx_cast_at")]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.choice}"

    @property
    def given(self) -> Mapping[str, Any]:
        """What the request was asked with."""
        return self.request.given


class VoteRefusal(models.Model):
    """Counts identical refusals, of which the audit log holds only the first."""

    request = models.ForeignKey(ApprovalRequest, models.CASCADE, related_name="refusals")
    actor = models.CharField(max_length=200)
    choice = models.CharField(max_length=8)
    reason = models.CharField(max_length=40)
    via = models.CharField(max_length=20)
    times = models.PositiveIntegerField(default=1)
    last_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["request", "actor", "choice", "reason", "via"], name="one_refusal_a_kind"
            )
        ]

    def __str__(self) -> str:
        return f"{self.actor}: {self.reason} ({self.times})"


class AuditEntry(models.Model):
    """One thing that happened; appended, never changed, chained by digest within its stream.

    A stream is a request's or a run's id, or an id of its own for an assessment that opened
    nothing. The digest covers every column and the digest before it.
    """

    stream = models.UUIDField()
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=40)
    actor = models.CharField(max_length=200)
    actor_key = models.CharField(max_length=200)
    via = models.CharField(max_length=20)
    data = models.JSONField(default=dict)
    at = models.DateTimeField()
    digest = models.CharField(max_length=64)

    class Meta:
        verbose_name_plural = "audit entries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["stream", "number"], name="one_entry_a_number")
        ]
        indexes: ClassVar = [
            # Rows come in the order of time, so that a few kilobytes tell where a day lies.
            BrinIndex(fields=["at"], name="idx_audit_at"),
            # The newest of a kind, as the admin filters them: most kinds are rare.
            models.Index(fields=["name", "-id"], name="idx_audit_name"),
            models.Index(fields=["via", "-id"], name="idx_audit_via"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"
