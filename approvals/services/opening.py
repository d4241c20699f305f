"""Open a request, or leave a record that none was needed."""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.db.models import Value
from django.db.models.functions import Concat, Trim

from approvals import audit, masking, outbox, policy, search, trail
from approvals.audit import SYSTEM, Fact
from approvals.clock import clock
from approvals.core import intake
from approvals.core.canonical import digest, proposal_digest
from approvals.core.events import EventName
from approvals.core.lifecycle import Actor, Policy, Status, folded
from approvals.core.risk import Assessment, Risk, assess
from approvals.errors import IdempotencyConflict, InvalidInput
from approvals.inputs import must_be_one_pull_request, must_be_texts
from approvals.models import ApprovalRequest, SparedRequest

log = logging.getLogger(__name__)

NOT_REQUIRED = "not_required"


@dataclass(frozen=True)
class Opened:
    """What came of asking: a request that waits, or no need for one (`request_id` None)."""

    request_id: UUID | None
    status: str
    risk_level: Risk
    linear_issue_id: str | None = None
    linear_issue_url: str | None = None

    @property
    def requires_approval(self) -> bool:
        """Whether people must decide before the operation runs."""
        return self.request_id is not None


def assess_task(task: Mapping[str, Any], agent_name: str, stated: str | None = None) -> Assessment:
    """Assess a task by the rules this process started with; opens nothing.

    `stated` may raise the risk, never lower it. InvalidInput where a value does not fit.
    """
    if (fault := intake.task_fault(task)) is not None:
        raise InvalidInput("task", f"The task {fault}.")
    assessment = assess(policy.current_rules(), task, agent_name, is_secret=masking.is_secret)
    if not stated:
        return assessment
    if stated not in set(Risk):
        raise InvalidInput("risk_level", f"The risk level is one of {', '.join(Risk)}.")
    return assessment.raised_to(Risk(stated))


def open_request(
    *,
    workflow_id: str,
    thread_id: str,
    task: Mapping[str, Any],
    agent_name: str,
    checkpoint_id: str | None = None,
    requested_by: str | None = None,
    pr_number: int | None = None,
    pr_url: str | None = None,
    github_repo: str | None = None,
    risk_level: str | None = None,
    idempotency_key: str | None = None,
    actor: Actor = SYSTEM,
    action: Mapping[str, Any] | None = None,
    interrupt_id: str = "",
) -> Opened:
    """Assess the task and, where people must decide, open a request and owe its channels the news.

    The same idempotency key of the same user, or the same interrupt with the same payload, gives
    the answer that was given before. Raises InvalidInput and IdempotencyConflict.
    """
    facts = {
        "workflow_id": workflow_id,
        "thread_id": thread_id,
        "checkpoint_id": checkpoint_id or "",
        "agent_name": agent_name,
        "requested_by": (requested_by or "").strip() or actor.name,
        "pr_url": pr_url or "",
        "github_repo": github_repo or "",
        "idempotency_key": idempotency_key or "",
        "interrupt_id": interrupt_id,
    }
    _check(facts, pr_number, action)
    assessment = assess_task(task, agent_name, risk_level)
    row = _drafted(facts, task, action, assessment)
    row.pr_number, row.opened_by_id = pr_number, actor.user_id
    if row.idempotency_key:
        row.idempotency_digest = digest([facts, pr_number, risk_level, task])
    frozen = _policy(task, agent_name, assessment, stated=risk_level)
    with trail.step("open_request", request_id=row.pk, workflow_id=workflow_id, via=actor.via):
        return _answer(row, assessment, frozen, actor)


def record_not_required(
    stream: UUID,
    task: Mapping[str, Any],
    agent_name: str,
    assessment: Assessment,
    *,
    asker: masking.Given,
    interrupt_id: str = "",
    actor: Actor = SYSTEM,
) -> None:
    """Leave an audit entry that the rules let an operation through without a human.

    In the stream of the run whose interrupt asked, or in one of its own; without the secrets of
    the `asker`, a run or a request that never was.
    """
    data = {
        "agent": agent_name,
        "operation": task["operation"],
        "environment": task.get("environment"),
        "risk_level": assessment.risk_level,
        "matches": [asdict(match) for match in assessment.matches],
        "digest": digest(task),
        **({"interrupt_id": interrupt_id} if interrupt_id else {}),
    }
    with transaction.atomic():
        told = masking.quiet_json(asker, data)
        audit.append([Fact(stream, EventName.NOT_REQUIRED, actor, clock(), told)])


def _policy(
    task: Mapping[str, Any], agent_name: str, assessment: Assessment, *, stated: str | None
) -> Policy:
    """The policy of the assessment; a risk that the caller stated brings in no laxer one."""
    chosen = policy.choose_policy(assessment.risk_level, agent_name, task)
    if not stated:
        return chosen
    found = assess_task(task, agent_name)
    least = policy.choose_policy(found.risk_level, agent_name, task)
    return replace(
        chosen,
        quorum=max(chosen.quorum, least.quorum),
        expires_after_seconds=min(chosen.expires_after_seconds, least.expires_after_seconds),
        execute_within_seconds=min(chosen.execute_within_seconds, least.execute_within_seconds),
        requester_may_decide=chosen.requester_may_decide and least.requester_may_decide,
    )


def _drafted(
    facts: Mapping[str, str],
    task: Mapping[str, Any],
    action: Mapping[str, Any] | None,
    assessment: Assessment,
) -> ApprovalRequest:
    return ApprovalRequest(
        **facts,
        id=uuid4(),
        task=dict(task),
        action=None if action is None else dict(action),
        digest=proposal_digest(task, facts["agent_name"], action),
        operation=str(task["operation"]).strip(),
        environment=str(task.get("environment") or "").strip(),
        asker=folded(facts["requested_by"]),
        risk_level=assessment.risk_level,
        matches=[asdict(match) for match in assessment.matches],
    )


def _answer(row: ApprovalRequest, assessment: Assessment, frozen: Policy, actor: Actor) -> Opened:
    """The answer that was given before to the same, or a new one."""
    try:
        with transaction.atomic():
            if row.idempotency_key and (known := _known(row)) is not None:
                return known
            if assessment.requires_approval:
                _insert(row, frozen, actor)
                return _opened(row)
            _spare(row, assessment, actor)
    except IntegrityError:
        # Somebody captured the same interrupt at the same moment: theirs is the one.
        twin = _captured(row)
        if twin is None:
            raise
        return _same(twin, row.idempotency_digest)
    return Opened(None, NOT_REQUIRED, assessment.risk_level)


def _known(row: ApprovalRequest) -> Opened | None:
    """What the key was answered before, if anything; nobody else uses it until the commit."""
    owner, key = row.opened_by_id, row.idempotency_key
    # Two tables hold keys, so that no constraint keeps one key from being used in both.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"opening {owner} {key}"]
        )
    opened = ApprovalRequest.objects.filter(opened_by_id=owner, idempotency_key=key).first()
    if opened is not None:
        return _same(opened, row.idempotency_digest)
    spared = SparedRequest.objects.filter(opened_by_id=owner, idempotency_key=key).first()
    if spared is None:
        return None
    if spared.idempotency_digest != row.idempotency_digest:
        raise IdempotencyConflict(
            "The idempotency key was used before with another body, which needed no approval."
        )
    return Opened(None, NOT_REQUIRED, Risk(spared.risk_level))


def _spare(row: ApprovalRequest, assessment: Assessment, actor: Actor) -> None:
    if row.idempotency_key:
        SparedRequest.objects.create(
            opened_by_id=row.opened_by_id,
            idempotency_key=row.idempotency_key,
            idempotency_digest=row.idempotency_digest,
            risk_level=assessment.risk_level,
        )
    record_not_required(row.pk, row.task, row.agent_name, assessment, asker=row, actor=actor)


def _insert(row: ApprovalRequest, frozen: Policy, actor: Actor) -> None:
    now = clock()
    row.policy = asdict(frozen)
    row.created_at = now
    row.expires_at = now + timedelta(seconds=frozen.expires_after_seconds)
    row.eligible = _eligible(frozen, row)
    row.traceparent = trail.traceparent()
    row.save(force_insert=True)
    search.add(row)
    data = {
        "operation": row.operation,
        "environment": row.environment,
        "agent": row.agent_name,
        "risk_level": row.risk_level,
        "digest": row.digest,
        "policy": row.policy,
        "eligible": row.eligible,
        "requested_by": row.requested_by,
    }
    audit.begin(Fact(row.pk, EventName.OPENED, actor, now, data))
    outbox.open_deliveries(row)
    trail.tell(log, "Request opened", risk_level=row.risk_level, quorum=frozen.quorum)


def _eligible(frozen: Policy, row: ApprovalRequest) -> int:
    """How many active people could decide now."""
    people = User.objects.filter(is_active=True, groups__name__in=frozen.groups)
    if not frozen.requester_may_decide:
        people = people.exclude(pk=row.opened_by_id) if row.opened_by_id else people
        people = people.exclude(username__iexact=row.requested_by)
        people = people.exclude(email__iexact=row.requested_by)
        people = people.annotate(
            full_name=Trim(Concat("first_name", Value(" "), "last_name"))
        ).exclude(full_name__iexact=row.requested_by)
    return people.distinct().count()


def _check(
    facts: Mapping[str, str], pr_number: int | None, action: Mapping[str, Any] | None
) -> None:
    must_be_texts(facts)
    for field in ("workflow_id", "thread_id", "agent_name"):
        if not facts[field].strip():
            raise InvalidInput(field, f"{field} must not be empty.")
    must_be_one_pull_request(pr_number, facts["pr_url"], facts["github_repo"])
    if (fault := intake.json_fault(action)) is not None:
        raise InvalidInput("action", f"The action {fault}.")


def _captured(row: ApprovalRequest) -> ApprovalRequest | None:
    if not row.interrupt_id:
        return None
    same = ApprovalRequest.objects.filter(
        thread_id=row.thread_id, interrupt_id=row.interrupt_id, digest=row.digest
    )
    return same.exclude(status=Status.SUPERSEDED).first()


def _same(row: ApprovalRequest, body_digest: str) -> Opened:
    if body_digest and row.idempotency_digest != body_digest:
        raise IdempotencyConflict(
            f"The idempotency key was used before with another body, for request {row.pk}."
        )
    return _opened(row)


def _opened(row: ApprovalRequest) -> Opened:
    return Opened(
        row.pk,
        row.status,
        Risk(row.risk_level),
        linear_issue_id=row.linear_issue_id,
        linear_issue_url=row.linear_issue_url,
    )
