"""What was asked and decided in a span of time, added up by the database.

Each noun reads a span once, along the index on its time, and returns few rows however many requests
there are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.postgres.fields import ArrayField
from django.db.models import (
    Aggregate,
    Count,
    DateTimeField,
    F,
    FloatField,
    Func,
    IntegerField,
    Q,
    QuerySet,
    Value,
)
from django.db.models.functions import Extract, ExtractHour

from approvals.core.lifecycle import Choice, Status
from approvals.core.risk import Risk
from approvals.models import ApprovalRequest, Vote

TOP = 10
APPROVERS = 25
DECIDED = (Status.APPROVED, Status.REJECTED)
ENDED = tuple(status for status in Status if status is not Status.PENDING)
_MOMENTS: "ArrayField[Any, Any]" = ArrayField(DateTimeField())


class _Bucket(Func):
    """The number, from 1, of the last of sorted moments that is not after the first argument."""

    function = "width_bucket"
    output_field = IntegerField()


class _Percentile(Aggregate):
    """The value below which that fraction of the values lies, interpolated; null without any."""

    function = "percentile_cont"
    template = "%(function)s(%(fraction)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


class Span(StrEnum):
    """How far back to look."""

    DAY = "24h"
    WEEK = "7d"
    MONTH = "30d"


@dataclass(frozen=True)
class Window:
    """A span in somebody's time zone: where its buckets begin, the oldest first, and its end.

    Buckets are whole hours or days of that zone, and the last is the one that still runs.
    """

    span: Span
    zone: ZoneInfo
    starts: Sequence[datetime]
    until: datetime

    @property
    def since(self) -> datetime:
        """The beginning of the first bucket."""
        return self.starts[0]


def window(span: Span, now: datetime, zone: ZoneInfo) -> Window:
    """The 24 hours, or 7 or 30 days, that end with the hour or day it is now in that zone."""
    here = now.astimezone(zone)
    if span is Span.DAY:
        # In UTC, since an hour is an hour also where a clock is put forward or back.
        hour = here.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        starts = [hour - timedelta(hours=back) for back in reversed(range(24))]
    else:
        days = 7 if span is Span.WEEK else 30
        today = here.date()
        dates = [today - timedelta(days=back) for back in reversed(range(days))]
        starts = [datetime(day.year, day.month, day.day, tzinfo=zone) for day in dates]
    return Window(span, zone, starts, now)


@dataclass(frozen=True)
class Opened:
    """Requests that were opened: by bucket and risk, and by the hour of day in the zone."""

    by_bucket: Sequence[Mapping[Risk, int]]
    by_hour: Sequence[int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_hour)


def opened(span: Window) -> Opened:
    """What was asked for in the span."""
    rows = (
        ApprovalRequest.objects.filter(created_at__gte=span.since, created_at__lt=span.until)
        .annotate(bucket=_Bucket(F("created_at"), Value(list(span.starts), _MOMENTS)))
        .values_list("bucket", "risk_level", ExtractHour("created_at", tzinfo=span.zone))
        .annotate(number=Count("pk"))
        .order_by()
    )
    buckets: list[Counter[Risk]] = [Counter() for _ in span.starts]
    hours = [0] * 24
    for bucket, risk_level, hour, number in rows:
        buckets[bucket - 1][Risk(risk_level)] += number
        hours[hour] += number
    return Opened([{risk: bucket[risk] for risk in Risk} for bucket in buckets], hours)


@dataclass(frozen=True)
class Ended:
    """Requests that became final: by status, and those that people decided by the hour of day."""

    by_status: Mapping[Status, int]
    by_hour: Sequence[int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_status.values())

    @property
    def decided(self) -> int:
        """Those that people approved or rejected."""
        return sum(self.by_hour)


def ended(span: Window) -> Ended:
    """How requests ended in the span, whenever they were opened."""
    rows = (
        _ended(span)
        .values_list("status", ExtractHour("decided_at", tzinfo=span.zone))
        .annotate(number=Count("pk"))
        .order_by()
    )
    statuses: Counter[Status] = Counter()
    hours = [0] * 24
    for status, hour, number in rows:
        statuses[Status(status)] += number
        hours[hour] += number if status in DECIDED else 0
    return Ended({status: statuses[status] for status in ENDED}, hours)


@dataclass(frozen=True)
class Latency:
    """How long people took to approve or reject: the median, and what 95 of 100 stay within."""

    name: str
    number: int
    p50_seconds: float
    p95_seconds: float


def latency_by_risk(span: Window) -> Sequence[Latency]:
    """Time to the decision for each risk that was decided, the most severe first."""
    found = {row.name: row for row in _latencies(span, "risk_level")}
    return [found[risk] for risk in reversed(Risk) if risk in found]


def latency_by_agent(span: Window) -> Sequence[Latency]:
    """Time to the decision for the agents with the most decisions."""
    return _latencies(span, "agent_name", "-number", "agent_name")


def slowest_operations(span: Window) -> Sequence[Latency]:
    """The operations with the longest median, the slowest first."""
    return _latencies(span, "operation", "-p50", "-number", "operation")


def _latencies(span: Window, field: str, *order: str) -> list[Latency]:
    took = Extract(F("decided_at") - F("created_at"), "epoch")
    rows = (
        _ended(span)
        .filter(status__in=DECIDED)
        .values_list(field)
        .annotate(
            number=Count("pk"),
            p50=_Percentile(took, fraction=0.5),
            p95=_Percentile(took, fraction=0.95),
        )
        .order_by(*order)
    )
    return [Latency(*row) for row in rows[:TOP]]


@dataclass(frozen=True)
class Rejected:
    """How many of an operation's decisions were rejections."""

    operation: str
    decided: int
    rejected: int


def most_rejected_operations(span: Window) -> Sequence[Rejected]:
    """The operations that people rejected most often."""
    rows = (
        _ended(span)
        .filter(status__in=DECIDED)
        .values_list("operation")
        .annotate(number=Count("pk"), rejected=Count("pk", filter=Q(status=Status.REJECTED)))
        .filter(rejected__gt=0)
        .order_by("-rejected", "number", "operation")
    )
    return [Rejected(*row) for row in rows[:TOP]]


@dataclass(frozen=True)
class Approver:
    """What one person voted; `timed` counts the votes that came by a request's page."""

    name: str
    votes: int
    timed: int
    rejected: int

    @property
    def approved(self) -> int:
        """Votes to approve."""
        return self.votes - self.rejected


def approvers(span: Window) -> Sequence[Approver]:
    """Who voted in the span, the busiest first; of a changed vote only the last word counts."""
    rows = (
        _voted(span)
        .values_list("user__username")
        .annotate(
            votes=Count("pk"),
            timed=Count("seconds_to_vote"),
            rejected=Count("pk", filter=Q(choice=Choice.REJECT)),
        )
        .order_by("-votes", "user__username")
    )
    return [Approver(*row) for row in rows[:APPROVERS]]


@dataclass(frozen=True)
class Timed:
    """How long one person looked before half of the `timed` votes, which came by the page."""

    name: str
    votes: int
    timed: int
    median_seconds: float


def fastest_approvers(span: Window) -> Sequence[Timed]:
    """Who voted by a request's page in the span, the shortest median first, of all who did."""
    rows = (
        _voted(span)
        .values_list("user__username")
        .annotate(
            votes=Count("pk"),
            timed=Count("seconds_to_vote"),
            median=_Percentile("seconds_to_vote", fraction=0.5),
        )
        .filter(timed__gt=0)
        .order_by("median", "user__username")
    )
    return [Timed(*row) for row in rows[:APPROVERS]]


def _voted(span: Window) -> QuerySet[Vote]:
    return Vote.objects.filter(cast_at__gte=span.since, cast_at__lt=span.until)


def _ended(span: Window) -> QuerySet[ApprovalRequest]:
    return ApprovalRequest.objects.filter(decided_at__gte=span.since, decided_at__lt=span.until)
