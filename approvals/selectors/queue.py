"""Lists of requests: the newest, and what was decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from approvals.core.lifecycle import Status
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest, ClockTimestamp
from approvals.selectors.cursors import moment, packed, unpacked
from approvals.selectors.filters import Filters, filtered

PAGE_SIZE = 50
RECENT = 500


@dataclass(frozen=True)
class Page:
    """Requests in order, and the cursor of the next page, empty on the last."""

    rows: Sequence[ApprovalRequest]
    next_cursor: str


def list_requests(filters: Filters, *, cursor: str = "", limit: int = PAGE_SIZE) -> Page:
    """Requests that fit the filters, newest first; InvalidInput for an unknown value."""
    rows = filtered(filters)
    if cursor:
        created_at, request_id = decoded(cursor)
        rows = rows.filter(
            Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lt=request_id)
        )
    found = list(rows.order_by("-created_at", "-pk")[: limit + 1])
    more = len(found) > limit
    found = found[:limit]
    return Page(found, encoded(found[-1].created_at, found[-1].pk) if more else "")


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


def list_decided(filters: Filters, limit: int = 25) -> Sequence[ApprovalRequest]:
    """Requests that were decided or ended, the latest first."""
    rows = filtered(filters).exclude(status=Status.PENDING, expires_at__gt=ClockTimestamp())
    return list(rows.order_by("-decided_at", "-pk")[:limit])


def encoded(at: datetime, request_id: UUID) -> str:
    """The cursor of what follows a request, in an order by a time and the id."""
    return packed(at.isoformat(), request_id)


def decoded(cursor: str) -> tuple[datetime, UUID]:
    """The time and the id in a cursor; InvalidInput for one that `encoded` did not make."""
    try:
        at, request_id = unpacked(cursor)
        return moment(at), UUID(request_id)
    except ValueError as error:
        raise InvalidInput("cursor", "The cursor is not one that this API gave out.") from error
