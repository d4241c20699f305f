"""Lists of requests: the newest, and what was decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, QuerySet, Value

from approvals.core.lifecycle import Status
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest
from approvals.selectors.cursors import NOT_OURS, moment, packed, unpacked
from approvals.selectors.filters import Filters, filtered, overdue

PAGE_SIZE = 50
RECENT = 500
# Large, and shown on a request's own page alone.
LARGE = ("action", "matches", "policy")

# Ids commit out of order, but none so much later than the newest: how many there are tells whether
# one came in between. As approvals.live.LOOK_BACK. A deadline that passes leaves no entry at once;
# it is looked for at the one time of the statement, so that the index on it serves.
_NEWEST = """
SELECT statement_timestamp(), max(id), count(*), (
    SELECT max(expires_at) FROM approval_requests
    WHERE status = 'pending' AND expires_at <= statement_timestamp()
) FROM approvals_auditentry WHERE id > (SELECT max(id) - 1000 FROM approvals_auditentry)
"""


@dataclass(frozen=True)
class Newest:
    """The time, and something that stays the same for as long as nothing happens."""

    now: datetime
    happened: tuple[Any, ...]


@dataclass(frozen=True)
class Page:
    """Requests in order, and the cursor of the next page, empty on the last."""

    rows: Sequence[ApprovalRequest]
    next_cursor: str


def newest() -> Newest:
    """How it stands now: everything that changes what lists show leaves an entry in the log."""
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST)
        now, *happened = cursor.fetchone()
    return Newest(now, tuple(happened))


def list_requests(
    filters: Filters, now: datetime, *, cursor: str = "", limit: int = PAGE_SIZE
) -> Page:
    """Requests that fit the filters, newest first; InvalidInput for an unknown value."""
    return page_of(filtered(filters, now), "created_at", cursor, limit)


def page_of(rows: QuerySet[ApprovalRequest], time: str, cursor: str, limit: int) -> Page:
    """The latest by that column, which has a time in every row, after the cursor's place."""
    if cursor:
        at, request_id = _decoded(cursor)
        # The first part alone says where in the index to begin.
        rows = rows.filter(**{f"{time}__lte": at}).filter(
            Q(**{f"{time}__lt": at}) | Q(pk__lt=request_id)
        )
    found = list(rows.order_by(f"-{time}", "-pk")[: limit + 1])
    if len(found) <= limit:
        return Page(found, "")
    last = found[limit - 1]
    return Page(found[:limit], packed(getattr(last, time).isoformat(), last.pk))


@dataclass(frozen=True)
class Seen:
    """The agents and environments of the newest requests, sorted: what a filter may offer."""

    agents: Sequence[str]
    environments: Sequence[str]


def count_pending_elsewhere() -> int:
    """How many requests wait that no run of the gateway's own has asked."""
    return ApprovalRequest.objects.filter(status=Status.PENDING, interrupt_id="").count()


def recently_seen() -> Seen:
    """Read from the newest requests only, so that it costs the same however many there are."""
    newest = ApprovalRequest.objects.order_by("-created_at", "-pk")
    pairs = list(newest.values_list("agent_name", "environment")[:RECENT])
    agents = sorted({agent for agent, _ in pairs})
    return Seen(agents, sorted({environment for _, environment in pairs if environment}))


def list_decided(filters: Filters, now: datetime, limit: int = 25) -> Sequence[ApprovalRequest]:
    """Requests that were decided or ended, the latest first; before them those that are overdue."""
    rows = filtered(filters, now).defer(*LARGE)
    # Each along its index: what waits has no time of a decision and may be much.
    late = rows.filter(overdue(now)).annotate(ended_at=F("expires_at"), is_late=Value(1))
    final = rows.filter(decided_at__isnull=False).annotate(
        ended_at=F("decided_at"), is_late=Value(0)
    )
    newest = [part.order_by("-ended_at", "-pk")[:limit] for part in (late, final)]
    return list(
        newest[0].union(newest[1], all=True).order_by("-is_late", "-ended_at", "-pk")[:limit]
    )


def _decoded(cursor: str) -> tuple[datetime, UUID]:
    """The time and the id in a cursor; InvalidInput for one that `page_of` did not make."""
    try:
        at, request_id = unpacked(cursor)
        return moment(at), UUID(request_id)
    except ValueError as error:
        raise InvalidInput("cursor", NOT_OURS) from error
