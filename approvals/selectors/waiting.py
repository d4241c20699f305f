"""What waits, as one person sees it: first what needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Value, When

from approvals.core import lifecycle
from approvals.core.lifecycle import Actor, Choice, Refused, Status
from approvals.core.risk import Risk
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest, Vote
from approvals.selectors.cursors import NOT_OURS, moment, packed, unpacked
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
    # The task says what is asked for; what else is large is shown on the request's page alone.
    rows = _ranked(actor, filtered(_pending(filters), now), sort).defer("action", "matches")
    if cursor:
        rows = rows.filter(_after(_read(cursor, sort), sort))
    found = list(rows.prefetch_related("votes").order_by(*_columns(sort))[: limit + 1])
    more = len(found) > limit
    items = [_seen_by(row, actor, now) for row in found[:limit]]
    last = found[limit - 1] if more else None
    return WaitingPage(items, _written(_Place.of(last, last.rank, sort), sort) if last else "")


def next_waiting(
    actor: Actor,
    filters: Filters,
    row: ApprovalRequest,
    now: datetime,
    *,
    sort: Sort = Sort.URGENT,
) -> ApprovalRequest | None:
    """The request that needs the actor, other than this one, in the order of their queue.

    From one that is still pending it is the next one below, around the end to the top; from one
    that is decided it is the top.
    """
    # Only what needs the actor, so that it is worked out once for each row, and no rank tells more.
    mine = filtered(_pending(filters), now).filter(_needs(actor)).exclude(pk=row.pk)
    rows = mine.annotate(rank=_urgency(sort))
    below: Sequence[Case] = ()
    if row.status == Status.PENDING:
        rank = Risk(row.risk_level).urgency if sort is Sort.URGENT else 0
        below = [Case(When(_after(_Place.of(row, rank, sort), sort), then=0), default=1)]
    found: ApprovalRequest | None = rows.order_by(*below, *_columns(sort)).first()
    return found


def count_waiting(actor: Actor, filters: Filters, now: datetime) -> Counts:
    """Exactly how many requests that fit wait for the actor, and for others."""
    rows = filtered(_pending(filters), now)
    found = rows.aggregate(every=Count("pk"), mine=Count("pk", filter=_needs(actor)))
    return Counts(found["mine"], found["every"] - found["mine"])


# Which column orders, and whether the latest comes first.
_ORDERS: Mapping[Sort, tuple[str, bool]] = {
    Sort.URGENT: ("expires_at", False),
    Sort.EXPIRING: ("expires_at", False),
    Sort.NEWEST: ("created_at", True),
    Sort.OLDEST: ("created_at", False),
}
_LEVELS = len(Risk)


def _pending(filters: Filters) -> Filters:
    return {**filters, "status": Status.PENDING}


def _needs(actor: Actor) -> Q:
    """Which pending requests need the actor: `lifecycle.refusal` over a table."""
    if not actor.active or actor.user_id is None:
        return Q(pk=None)
    voted = Exists(Vote.objects.filter(request=OuterRef("pk"), user_id=actor.user_id))
    asked = Q(opened_by_id=actor.user_id, opened_by_id__isnull=False) | Q(
        asker__in=[lifecycle.folded(alias) for alias in actor.aliases]
    )
    may = Q(policy__groups__has_any_keys=sorted(actor.groups)) & (
        Q(policy__requester_may_decide=True) | ~asked
    )
    # The votes come last: to look for one costs more than all the rest.
    return may & ~Q(voted)


def _ranked(actor: Actor, rows: QuerySet[Any], sort: Sort) -> QuerySet[Any]:
    """The rank of what is mine is 0 to 3, of what is others' 4 to 7; without risk 0 or 4."""
    rows = rows.annotate(needs_me=Case(When(_needs(actor), then=True), default=False))
    whose = Case(When(needs_me=True, then=0), default=_LEVELS)
    ranked: QuerySet[Any] = rows.annotate(rank=whose + _urgency(sort))
    return ranked


def _urgency(sort: Sort) -> Case | Value:
    return ApprovalRequest.by_severity() if sort is Sort.URGENT else Value(0)


def _columns(sort: Sort) -> Sequence[str]:
    column, descending = _ORDERS[sort]
    sign = "-" if descending else ""
    return ("rank", f"{sign}{column}", f"{sign}pk")


def _seen_by(row: Any, actor: Actor, now: datetime) -> Waiting:
    standing = row.standing()
    voted = None if actor.user_id is None else standing.votes.get(actor.user_id)
    approvals = sum(1 for choice in standing.votes.values() if choice is Choice.APPROVE)
    refused = lifecycle.refusal(standing, actor, now)
    return Waiting(row, approvals, row.needs_me, refused, voted)


@dataclass(frozen=True)
class _Place:
    """Where a request stands in an order: `at` is the time that the order goes by."""

    rank: int
    at: datetime
    pk: UUID

    @classmethod
    def of(cls, row: ApprovalRequest, rank: int, sort: Sort) -> "_Place":
        return cls(rank, getattr(row, _ORDERS[sort][0]), row.pk)


def _written(place: _Place, sort: Sort) -> str:
    """The cursor of what comes after a place."""
    return packed(sort, place.rank, place.at.isoformat(), place.pk)


def _read(cursor: str, sort: Sort) -> _Place:
    """The place in a cursor; InvalidInput for one that `_written` did not make in this order."""
    try:
        name, rank, at, request_id = unpacked(cursor)
        if name != sort:
            raise ValueError("a cursor of another order")
        return _Place(int(rank), moment(at), UUID(request_id))
    except ValueError as error:
        raise InvalidInput("cursor", NOT_OURS) from error


def _after(place: _Place, sort: Sort) -> Q:
    column, descending = _ORDERS[sort]
    way = "lt" if descending else "gt"
    return (
        Q(rank__gt=place.rank)
        | Q(rank=place.rank, **{f"{column}__{way}": place.at})
        | Q(rank=place.rank, **{column: place.at, f"pk__{way}": place.pk})
    )
