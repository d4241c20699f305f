"""Lists of requests: what waits, what was decided."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from approvals.core import intake, lifecycle
from approvals.core.lifecycle import Actor, Choice, Refused, Status
from approvals.core.risk import Risk
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest, ClockTimestamp

PAGE_SIZE = 50
RECENT = 500


@dataclass(frozen=True)
class Page:
    """Requests in order, and the cursor of the next page, empty on the last."""

    rows: Sequence[ApprovalRequest]
    next_cursor: str


def list_requests(
    filters: Mapping[str, str | None], *, cursor: str = "", limit: int = PAGE_SIZE
) -> Page:
    """Requests that fit the filters, newest first; InvalidInput for an unknown value.

    `filters` may hold status, risk_level, agent, environment, operation and workflow_id.
    """
    rows = _filtered(filters)
    if cursor:
        created_at, request_id = _decoded(cursor)
        rows = rows.filter(
            Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lt=request_id)
        )
    found = list(rows.order_by("-created_at", "-pk")[: limit + 1])
    more = len(found) > limit
    found = found[:limit]
    return Page(found, _encoded(found[-1]) if more else "")


def list_waiting(filters: Mapping[str, str | None], limit: int = 100) -> Sequence[ApprovalRequest]:
    """Pending requests, most severe first, then the one that expires first."""
    rows = _filtered({**filters, "status": Status.PENDING}).prefetch_related("votes__user")
    return list(rows.order_by(ApprovalRequest.by_severity(), "expires_at", "pk")[:limit])


@dataclass(frozen=True)
class Waiting:
    """A pending request as one person sees it: why they may not vote, and what they voted."""

    row: ApprovalRequest
    approvals: int
    refused: Refused | None
    voted: Choice | None

    @property
    def needs_me(self) -> bool:
        """Whether this person's vote is still asked for."""
        return self.refused is None and self.voted is None


def waiting_for(
    actor: Actor, filters: Mapping[str, str | None], now: datetime, limit: int = 100
) -> Sequence[Waiting]:
    """What waits, as the actor sees it at that time, in the order of `list_waiting`."""
    found = []
    for row in list_waiting(filters, limit):
        standing = row.standing()
        voted = None if actor.user_id is None else standing.votes.get(actor.user_id)
        approvals = sum(1 for choice in standing.votes.values() if choice is Choice.APPROVE)
        found.append(Waiting(row, approvals, lifecycle.refusal(standing, actor, now), voted))
    return found


@dataclass(frozen=True)
class Seen:
    """The agents and environments of the newest requests, sorted: what a filter may offer."""

    agents: Sequence[str]
    environments: Sequence[str]


def recently_seen() -> Seen:
    """Read from the newest requests only, so that it costs the same however many there are."""
    newest = ApprovalRequest.objects.order_by("-created_at", "-pk")
    pairs = list(newest.values_list("agent_name", "environment")[:RECENT])
    agents = sorted({agent for agent, _ in pairs})
    return Seen(agents, sorted({environment for _, environment in pairs if environment}))


def list_decided(filters: Mapping[str, str | None], limit: int = 25) -> Sequence[ApprovalRequest]:
    """Requests that were decided or ended, the latest first."""
    rows = _filtered(filters).exclude(status=Status.PENDING, expires_at__gt=ClockTimestamp())
    return list(rows.order_by("-decided_at", "-pk")[:limit])


def _filtered(filters: Mapping[str, str | None]) -> QuerySet[ApprovalRequest]:
    for field, value in filters.items():
        if value and (fault := intake.text_fault(value, 200)) is not None:
            raise InvalidInput(field, f"{field} {fault}.")
    rows = ApprovalRequest.objects.all()
    if status := filters.get("status"):
        rows = _with_status(rows, status)
    if risk_level := filters.get("risk_level"):
        if risk_level not in set(Risk):
            raise InvalidInput("risk_level", f"The risk level is one of {', '.join(Risk)}.")
        rows = rows.filter(risk_level=risk_level)
    if agent := filters.get("agent"):
        rows = rows.filter(agent_name=agent)
    for field in ("environment", "operation", "workflow_id"):
        if value := filters.get(field):
            rows = rows.filter(**{field: value})
    return rows


def _with_status(rows: QuerySet[ApprovalRequest], status: str) -> QuerySet[ApprovalRequest]:
    if status not in set(Status):
        raise InvalidInput("status", f"The status is one of {', '.join(Status)}.")
    # The sweep may be late: a pending request past its deadline already reads as expired.
    overdue = Q(status=Status.PENDING, expires_at__lte=ClockTimestamp())
    if status == Status.PENDING:
        return rows.filter(status=Status.PENDING).exclude(overdue)
    if status == Status.EXPIRED:
        return rows.filter(Q(status=Status.EXPIRED) | overdue)
    return rows.filter(status=status)


def _encoded(row: ApprovalRequest) -> str:
    text = f"{row.created_at.isoformat()} {row.pk}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _decoded(cursor: str) -> tuple[datetime, UUID]:
    try:
        text, request_id = base64.urlsafe_b64decode(cursor).decode().rsplit(" ", 1)
        created_at = datetime.fromisoformat(text)
        if created_at.tzinfo is None:
            raise ValueError("a time without a zone")
        return created_at.astimezone(UTC), UUID(request_id)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise InvalidInput("cursor", "The cursor is not one that this API gave out.") from error
