"""What waits, as one person sees it: first what needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Lower, Trim

from approvals.core import lifecycle
from approvals.core.lifecycle import Actor, Choice, Refused, Status
from approvals.core.risk import Risk
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest, Vote
from approvals.selectors.cursors import moment, packed, unpacked
from approvals.selectors.filters import Filters, filtered

PAGE_SIZE = 50


class Sort(StrEnum):
    """In which order people see what waits; what needs them comes first in every one."""

    URGENT = "urgent"
    EXPIRING = "expiring"
    NEWEST = "newest"
    OLDEST = "oldest"


@dataclass(frozen=True)
class Waiting:
    """A pending request as one person sees it: why they may not vote, and what they voted."""

    row: ApprovalRequest
    approvals: int
    needs_me: bool
    refused: Refused | None
    voted: Choice | None


@dataclass(frozen=True)
class WaitingPage:
    """What waits, in order, and the cursor of the next page, empty on the last."""

    items: Sequence[Waiting]
    next_cursor: str


@dataclass(frozen=True)
class Counts:
    """How many requests wait for somebody's decision, and how many for others'."""

    mine: int
    others: int


def waiting_for(
    actor: Actor,
    filters: Filters,
    now: datetime,
    *,
    sort: Sort = Sort.URGENT,
    cursor: str = "",
    limit: int = PAGE_SIZE,
) -> WaitingPage:
    """What waits as the actor sees it at that time: first what needs them, each in that order.

    Raises InvalidInput for an unknown filter, or a cursor of another order.
    """
    rows: Any = _ranked(_waiting(actor, filters), sort)
    column, descending = _ORDERS[sort]
    if cursor:
        rows = rows.filter(_after(cursor, sort))
    sign = "-" if descending else ""
    ordered = rows.prefetch_related("votes").order_by("rank", f"{sign}{column}", f"{sign}pk")
    found = list(ordered[: limit + 1])
    more = len(found) > limit
    items = [_seen_by(row, actor, now) for row in found[:limit]]
    return WaitingPage(items, _place_of(found[limit - 1], sort) if more else "")


def count_waiting(actor: Actor, filters: Filters) -> Counts:
    """Exactly how many requests that fit wait for the actor, and for others."""
    return Counts(
        **_waiting(actor, filters).aggregate(
            mine=Count("pk", filter=Q(needs_me=True)), others=Count("pk", filter=Q(needs_me=False))
        )
    )


# Which column orders, and whether the latest comes first.
_ORDERS: Mapping[Sort, tuple[str, bool]] = {
    Sort.URGENT: ("expires_at", False),
    Sort.EXPIRING: ("expires_at", False),
    Sort.NEWEST: ("created_at", True),
    Sort.OLDEST: ("created_at", False),
}
_LEVELS = len(Risk)


def _waiting(actor: Actor, filters: Filters) -> QuerySet[Any]:
    """Pending requests, each with whether it needs the actor: `lifecycle.refusal` over a table."""
    rows = filtered({**filters, "status": Status.PENDING})
    voted = Exists(Vote.objects.filter(request=OuterRef("pk"), user_id=actor.user_id or 0))
    asked = Q(opened_by_id=actor.user_id, opened_by_id__isnull=False) | Q(
        asker__in=[alias.strip().lower() for alias in actor.aliases]
    )
    may = Q(policy__groups__has_any_keys=sorted(actor.groups)) & (
        Q(policy__requester_may_decide=True) | ~asked
    )
    needs = ~Q(voted) & may if actor.active and actor.user_id is not None else Q(pk=None)
    return rows.annotate(asker=Lower(Trim("requested_by"))).annotate(
        needs_me=Case(When(needs, then=True), default=False)
    )


def _ranked(rows: QuerySet[Any], sort: Sort) -> QuerySet[Any]:
    others = Case(When(needs_me=True, then=0), default=_LEVELS)
    severity = ApprovalRequest.by_severity() if sort is Sort.URGENT else Value(0)
    ranked: QuerySet[Any] = rows.annotate(rank=others + severity)
    return ranked


def _seen_by(row: Any, actor: Actor, now: datetime) -> Waiting:
    standing = row.standing()
    voted = None if actor.user_id is None else standing.votes.get(actor.user_id)
    approvals = sum(1 for choice in standing.votes.values() if choice is Choice.APPROVE)
    refused = lifecycle.refusal(standing, actor, now)
    return Waiting(row, approvals, row.needs_me, refused, voted)


def _place_of(row: Any, sort: Sort) -> str:
    at = getattr(row, _ORDERS[sort][0])
    return packed(sort, row.rank, at.isoformat(), row.pk)


def _after(cursor: str, sort: Sort) -> Q:
    """What comes after the place that a cursor names."""
    try:
        name, rank, expected, request_id = unpacked(cursor)
        if name != sort:
            raise ValueError("a cursor of another order")
        place, at, key = int(rank), moment(expected), UUID(request_id)
    except ValueError as error:
        raise InvalidInput("cursor", "The cursor is not one that this page gave out.") from error
    column, descending = _ORDERS[sort]
    way = "lt" if descending else "gt"
    return (
        Q(rank__gt=place)
        | Q(rank=place, **{f"{column}__{way}": at})
        | Q(rank=place, **{column: at, f"pk__{way}": key})
    )
