"""One request, with everything people and channels want to know of it."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db.models import Prefetch, Q, QuerySet, Window
from django.db.models.functions import RowNumber

from approvals.actors import able
from approvals.clock import clock
from approvals.core import intake, lifecycle
from approvals.core.events import EventName, Snapshot
from approvals.core.lifecycle import Actor, Choice, Refused, Status
from approvals.core.roles import to_cancel
from approvals.errors import RequestNotFound
from approvals.masking import masked_beside
from approvals.models import (
    ApprovalRequest,
    AuditEntry,
    Delivery,
    InboundWebhook,
    Vote,
    VoteRefusal,
)


def get_request(request_id: UUID) -> ApprovalRequest:
    """The request with its votes; RequestNotFound."""
    votes = Prefetch("votes", Vote.objects.select_related("user"))
    return _one(ApprovalRequest.objects.prefetch_related(votes), request_id)


def get_snapshot(request_id: UUID) -> Snapshot:
    """The request as channels see it; RequestNotFound."""
    return _one(ApprovalRequest.objects.all(), request_id).snapshot()


def _one(rows: QuerySet[ApprovalRequest], request_id: UUID) -> ApprovalRequest:
    row = rows.filter(pk=request_id).first()
    if row is None:
        raise RequestNotFound(f"There is no request {request_id}.")
    return row


def requests_by_id(request_ids: Iterable[UUID]) -> dict[UUID, ApprovalRequest]:
    """Those of the requests that there are, without their votes."""
    return ApprovalRequest.objects.in_bulk(list(request_ids))


def find_request(reference: str) -> ApprovalRequest:
    """The request by its UUID or its Linear identifier such as CHEF-271; RequestNotFound."""
    request_id = find_for_linear(reference)
    if request_id is None:
        raise RequestNotFound(f"There is no request {reference}.")
    return get_request(request_id)


def find_for_linear(reference: str) -> UUID | None:
    """The id of the request that a Linear issue stands for, by UUID or identifier."""
    try:
        rows = ApprovalRequest.objects.filter(pk=UUID(reference))
    except ValueError:
        if intake.text_fault(reference, 60) is not None:
            return None
        rows = ApprovalRequest.objects.filter(linear_issue_id=reference.strip().upper())
    return rows.values_list("pk", flat=True).first()


def status_at(row: ApprovalRequest, now: datetime) -> Status:
    """The status people should see: a pending request past its deadline reads as expired."""
    if row.status == Status.PENDING and now >= row.expires_at:
        return Status.EXPIRED
    return Status(row.status)


def why_not(row: ApprovalRequest, actor: Actor, now: datetime) -> Refused | None:
    """Why this actor could not vote on the request at that time, or None."""
    return lifecycle.refusal(row.standing(), actor, now)


def may_cancel(row: ApprovalRequest, actor: Actor, now: datetime) -> bool:
    """Whether `cancel_request` would take this actor's word at that time."""
    pending = status_at(row, now) is Status.PENDING
    return pending and able(actor, to_cancel(actor, row.opened_by_id))


def was_let_through(stream: UUID, interrupt_id: str, task_digest: str) -> bool:
    """Whether the log tells that the rules let through what a run's interrupt asked for."""
    told = {"interrupt_id": interrupt_id, "digest": task_digest}
    entries = AuditEntry.objects.filter(stream=stream, name=EventName.NOT_REQUIRED)
    return entries.filter(data__contains=told).exists()


def timeline(stream: UUID) -> Sequence[AuditEntry]:
    """What happened, oldest first."""
    return list(AuditEntry.objects.filter(stream=stream).order_by("number"))


def run_stream(row: ApprovalRequest) -> UUID | None:
    """The stream of the run whose own interrupt opened the request, or None.

    Agents elsewhere may name any workflow: what happens to that is no news of their request.
    """
    try:
        return UUID(row.workflow_id) if row.interrupt_id else None
    except ValueError:
        return None


@dataclass(frozen=True)
class Log:
    """What happened to a request and, apart from its single steps, to its run; oldest first."""

    own: Sequence[AuditEntry]
    run: Sequence[AuditEntry]


def log_of(row: ApprovalRequest) -> Log:
    """Both streams, in one query, without the secrets of what was asked."""
    wanted = Q(stream=row.pk)
    if (run := run_stream(row)) is not None:
        wanted |= Q(stream=run, name__startswith="run.")
    entries = list(AuditEntry.objects.filter(wanted).order_by("number"))
    told = masked_beside(row.given, [entry.data for entry in entries])
    for entry, data in zip(entries, told, strict=True):
        entry.data = data
    return Log(
        [entry for entry in entries if entry.stream == row.pk],
        [entry for entry in entries if entry.stream != row.pk],
    )


def count_approvals(request_id: UUID) -> int:
    """How many people approve of the request as it is now."""
    return Vote.objects.filter(request_id=request_id, choice=Choice.APPROVE).count()


def refusals(request_id: UUID) -> Sequence[VoteRefusal]:
    """How often each kind of vote was refused."""
    return list(VoteRefusal.objects.filter(request_id=request_id))


def deliveries(request_id: UUID) -> Sequence[Delivery]:
    """What each channel has been told, by channel."""
    return list(Delivery.objects.filter(request_id=request_id).order_by("channel"))


def delivery_state(row: Delivery) -> str:
    """How a delivery stands: "told", "owed", "failing" or "given_up"."""
    if row.gave_up_at is not None:
        return "given_up"
    if row.done >= row.wanted:
        return "told"
    return "failing" if row.attempts else "owed"


def snapshots_of_thread(thread_id: str) -> list[Snapshot]:
    """Every request that a thread's own interrupts opened, oldest first.

    Agents elsewhere may name any thread: what they ask for is no part of it.
    """
    rows = ApprovalRequest.objects.filter(thread_id=thread_id).exclude(interrupt_id="")
    return [row.snapshot() for row in rows.order_by("created_at", "pk")]


def asked_of_people(thread_id: str) -> set[tuple[str, str]]:
    """The interrupts of a thread, each with its digest, that people were asked about."""
    rows = ApprovalRequest.objects.filter(thread_id=thread_id).exclude(status=Status.SUPERSEDED)
    return set(rows.values_list("interrupt_id", "digest"))


def heard_of_later(request_id: UUID, moment: datetime) -> bool:
    """Whether a message about something later than the moment was recorded for the request."""
    rows = InboundWebhook.objects.filter(request_id=request_id, happened_at__gt=moment)
    return rows.exists()


def current_for_channel(
    channel: str, limit: int, after: UUID | None, *, ended_within: timedelta
) -> dict[UUID, Callable[[], Snapshot]]:
    """Requests that wait or just ended, and that a channel was told of, with its memory.

    They come by id, after the given one. Each is read when it is called, without another query, so
    that one that this release cannot read takes no other with it.
    """
    current = Q(request__status=Status.PENDING) | Q(request__decided_at__gt=clock() - ended_within)
    rows = (
        Delivery.objects.filter(current, channel=channel, told__gt=0)
        .select_related("request")
        .order_by("request_id")
    )
    if after is not None:
        rows = rows.filter(request_id__gt=after)
    return {row.request_id: partial(row.request.snapshot, row.memory) for row in rows[:limit]}


@dataclass(frozen=True)
class IssueLink:
    """What a Linear issue is called, once it exists."""

    linear_issue_id: str | None
    linear_issue_url: str | None


def linear_link(request_id: UUID) -> IssueLink:
    """The Linear identifier and address of a request, None until the issue exists.

    Raises RequestNotFound.
    """
    rows = ApprovalRequest.objects.filter(pk=request_id)
    row = rows.values_list("linear_issue_id", "linear_issue_url").first()
    if row is None:
        raise RequestNotFound(f"There is no request {request_id}.")
    return IssueLink(*row)


def statuses_of_workflow(workflow_id: str) -> list[dict[str, str]]:
    """The requests of a workflow, oldest first.

    Each as `request_id`, `status`, `operation` and `environment`.
    """
    # Whoever asks by API may name any workflow; what a run itself asked has an interrupt.
    rows = ApprovalRequest.objects.filter(workflow_id=workflow_id).exclude(interrupt_id="")
    rows = rows.order_by("created_at", "pk")
    now = clock()
    return [
        {
            "request_id": str(row.pk),
            "status": str(status_at(row, now)),
            "operation": row.operation,
            "environment": row.environment,
        }
        for row in rows
    ]


@dataclass(frozen=True)
class Asked:
    """A request as its run shows it, with the status people should see."""

    id: UUID
    thread_id: str
    title: str
    agent_name: str
    operation: str
    environment: str
    risk_level: str
    status: Status
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str


def asked_by_threads(
    threads: Collection[str], now: datetime, *, pending: bool = False, limit: int = 200
) -> list[Asked]:
    """What the threads' own interrupts asked, oldest first; of each the newest where it is more.

    With `pending`, only what still waits at that time. What was superseded is left out.
    """
    rows = ApprovalRequest.objects.filter(thread_id__in=threads).exclude(interrupt_id="")
    if pending:
        rows = rows.filter(status=Status.PENDING, expires_at__gt=now)
    rows = rows.exclude(status=Status.SUPERSEDED).defer("task", "action", "matches", "policy")
    # Counted by thread, or one with many open interrupts would hide what the others wait for.
    newest = Window(RowNumber(), partition_by="thread_id", order_by=("-created_at", "-pk"))
    rows = rows.annotate(place=newest).filter(place__lte=limit)
    return [
        Asked(
            id=row.pk,
            thread_id=row.thread_id,
            title=row.title,
            agent_name=row.agent_name,
            operation=row.operation,
            environment=row.environment,
            risk_level=row.risk_level,
            status=status_at(row, now),
            created_at=row.created_at,
            expires_at=row.expires_at,
            decided_at=row.decided_at,
            decided_by=row.decided_by,
        )
        for row in rows.order_by("created_at", "pk")
    ]


def latest_entries(
    streams: Collection[UUID], names: Collection[str], limit: int
) -> Sequence[AuditEntry]:
    """The latest entries of these names in these streams, oldest first."""
    rows = AuditEntry.objects.filter(stream__in=streams, name__in=names)
    return list(reversed(rows.order_by("-at", "-pk")[:limit]))
