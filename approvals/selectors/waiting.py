"""What waits, as one person sees it: first what needs them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID

from django.db.models import (
    BooleanField,
    Case,
    Count,
    DateTimeField,
    F,
    Func,
    Q,
    QuerySet,
    Subquery,
    UUIDField,
    Value,
    When,
    prefetch_related_objects,
)

from approvals.core import lifecycle
from approvals.core.lifecycle import Actor, Choice, Refused, Status
from approvals.core.risk import Risk
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest, Vote
from approvals.selectors.cursors import NOT_OURS, moment, packed, unpacked
from approvals.selectors.filters import Filters, filtered

PAGE_SIZE = 50
# The id of no account.
_ANYBODY = 0


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

    def counts(self) -> "Counts":
        """What is on it; of all that fits where it is both the first page and the last."""
        mine = sum(item.needs_me for item in self.items)
        return Counts(mine, len(self.items) - mine)


@dataclass(frozen=True)
class Counts:
    """How many requests wait for somebody's decision, and how many for others'."""

    mine: int
    others: int


@dataclass(frozen=True)
class Desk:
    """What waits, as one person sees it at one moment; what is asked twice is looked up once."""

    actor: Actor
    now: datetime

    def page(
        self,
        filters: Filters,
        *,
        sort: Sort = Sort.URGENT,
        cursor: str = "",
        limit: int = PAGE_SIZE,
    ) -> WaitingPage:
        """What waits and fits: first what needs the actor, then what does not, each in that order.

        Raises InvalidInput for an unknown filter, or a cursor of another order.
        """
        place = _read(cursor, sort) if cursor else _TOP
        # The task says what is asked for; what else is large is on the request's own page alone.
        rows = self._waiting(filters).defer("action", "matches")
        parts = [(0, rows.filter(self._needs)), (_LEVELS, rows.filter(~self._is_needed))]
        found: list[tuple[int, ApprovalRequest]] = []
        # Each along its index, which ends where the page is full.
        for first, part in parts:
            left = limit + 1 - len(found)
            if left and place.rank < first + _LEVELS:
                below = _below(part, place.within(first), sort)
                found += [(first, row) for row in _ordered(below, sort)[:left]]
        prefetch_related_objects([row for _, row in found], "votes")
        items = [self._seen(row, needs_me=first == 0) for first, row in found[:limit]]
        if len(found) <= limit:
            return WaitingPage(items, "")
        first, last = found[limit - 1]
        return WaitingPage(items, _written(_Place.of(last, first, sort), sort))

    def next_after(
        self, row: ApprovalRequest, filters: Filters, *, sort: Sort = Sort.URGENT
    ) -> ApprovalRequest | None:
        """The request that needs the actor, other than this one, in the order of their queue.

        From one that is still pending it is the next one below, around the end to the top; from
        one that is decided it is the top.
        """
        mine = self._waiting(filters).filter(self._needs).exclude(pk=row.pk)
        found = None
        if row.status == Status.PENDING:
            found = _ordered(_below(mine, _Place.of(row, 0, sort), sort), sort).first()
        return found or _ordered(mine, sort).first()

    def count(self, filters: Filters) -> Counts:
        """Exactly how many requests that fit wait for the actor, and for others."""
        mine = Count("pk", filter=self._needs)
        found = self._waiting(filters).aggregate(every=Count("pk"), mine=mine)
        return Counts(found["mine"], found["every"] - found["mine"])

    def seen_as(self) -> Actor:
        """As whom the actor sees all that waits: as anybody in their groups, or as themselves.

        As themselves only where they asked for some of it or voted on it; else nothing that they
        are shown may tell them from another in the same groups, so nobody's name is in it.
        """
        actor = self.actor
        if not actor.active or actor.user_id is None:
            return actor
        pending = ApprovalRequest.objects.filter(status=Status.PENDING)
        if self._voted(actor.user_id) or pending.filter(self._asked).exists():
            return actor
        return Actor(name="", via=actor.via, user_id=_ANYBODY, groups=actor.groups)

    def _waiting(self, filters: Filters) -> QuerySet[ApprovalRequest]:
        return filtered({**filters, "status": Status.PENDING}, self.now)

    @cached_property
    def _needs(self) -> Q:
        """Which pending requests need the actor: `lifecycle.refusal` over a table."""
        actor = self.actor
        if not actor.active or actor.user_id is None:
            return Q(pk=None)
        may = Q(policy__groups__has_any_keys=sorted(actor.groups)) & (
            Q(policy__requester_may_decide=True) | ~self._asked
        )
        return may & ~Q(pk__in=self._voted(actor.user_id))

    @property
    def _asked(self) -> Q:
        """What the actor asked for, under whichever of their names."""
        return Q(opened_by_id=self.actor.user_id, opened_by_id__isnull=False) | Q(
            asker__in=[lifecycle.folded(alias) for alias in self.actor.aliases]
        )

    @property
    def _is_needed(self) -> Q:
        """`_needs`, false and not unknown where a policy says nothing."""
        return Q(Case(When(self._needs, then=True), default=False))

    def _voted(self, user_id: int) -> Sequence[UUID]:
        """What waits although this user voted: little, where all their votes are much.

        None of them can be older than the oldest request that waits.
        """
        if user_id == _ANYBODY:
            return []
        pending = ApprovalRequest.objects.filter(status=Status.PENDING)
        oldest = pending.order_by("created_at").values("created_at")[:1]
        votes = Vote.objects.filter(user_id=user_id, cast_at__gte=Subquery(oldest))
        waiting = votes.filter(request__status=Status.PENDING)
        return list(waiting.values_list("request_id", flat=True))

    def _seen(self, row: ApprovalRequest, *, needs_me: bool) -> Waiting:
        standing = row.standing()
        voted = None if self.actor.user_id is None else standing.votes.get(self.actor.user_id)
        approvals = sum(1 for choice in standing.votes.values() if choice is Choice.APPROVE)
        refused = lifecycle.refusal(standing, self.actor, self.now)
        return Waiting(row, approvals, needs_me, refused, voted)


# Which column orders, and whether the latest comes first.
_ORDERS: Mapping[Sort, tuple[str, bool]] = {
    Sort.URGENT: ("expires_at", False),
    Sort.EXPIRING: ("expires_at", False),
    Sort.NEWEST: ("created_at", True),
    Sort.OLDEST: ("created_at", False),
}
_LEVELS = len(Risk)


def _ordered(rows: QuerySet[ApprovalRequest], sort: Sort) -> QuerySet[ApprovalRequest]:
    column, descending = _ORDERS[sort]
    sign = "-" if descending else ""
    level = [ApprovalRequest.by_severity()] if sort is Sort.URGENT else []
    return rows.order_by(*level, f"{sign}{column}", f"{sign}pk")


@dataclass(frozen=True)
class _Place:
    """Where a request stands in an order: `at` is the time that the order goes by.

    The rank of what is mine is 0 to 3, of what is others' 4 to 7; without risk 0 or 4.
    """

    rank: int
    at: datetime
    pk: UUID

    @classmethod
    def of(cls, row: ApprovalRequest, first: int, sort: Sort) -> "_Place":
        level = Risk(row.risk_level).urgency if sort is Sort.URGENT else 0
        return cls(first + level, getattr(row, _ORDERS[sort][0]), row.pk)

    def within(self, first: int) -> "_Place":
        """The place among those whose rank begins there; above all of them where it is higher."""
        return replace(self, rank=self.rank - first)


# Above everything.
_TOP = _Place(-1, datetime.min.replace(tzinfo=UTC), UUID(int=0))


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


def _below(rows: QuerySet[ApprovalRequest], place: _Place, sort: Sort) -> QuerySet[ApprovalRequest]:
    """Those that come after a place, from which on the index of that order is read."""
    if place.rank < 0:
        return rows
    column, descending = _ORDERS[sort]
    level: list[tuple[Any, Any]] = []
    if sort is Sort.URGENT:
        level = [(ApprovalRequest.by_severity(), Value(place.rank))]
    columns, values = zip(
        *level,
        (F(column), Value(place.at, DateTimeField())),
        (F("pk"), Value(place.pk, UUIDField())),
        strict=True,
    )
    # As one comparison: of several conditions only the first would say where to begin, and all that
    # is as urgent, which may be all that waits, would be read and left out.
    return rows.filter(_compared(_row(columns), "<" if descending else ">", _row(values)))


def _row(parts: Sequence[Any]) -> Func:
    return Func(*parts, function="ROW", output_field=BooleanField())


def _compared(left: Func, sign: str, right: Func) -> Func:
    both = {"template": "%(expressions)s", "arg_joiner": f" {sign} "}
    return Func(left, right, **both, output_field=BooleanField())
