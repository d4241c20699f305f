"""The life of requests as Prometheus metrics."""

from collections.abc import Iterator
from itertools import product

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from approvals.core.lifecycle import Status
from approvals.core.risk import Risk
from approvals.metrics.labels import AGENT, ENVIRONMENT
from approvals.metrics.latency import BUCKETS_SECONDS
from approvals.metrics.observed import Observed
from approvals.metrics.reading import Standing, read_standing

_FINAL = tuple(status for status in Status if status is not Status.PENDING)
_KIND = ["agent", "risk_level", "environment"]
_END = ["agent", "risk_level", "status"]


class LifecycleCollector(Collector):
    """Created, resolved, waiting and timed-out requests, and how long decisions took.

    Prometheus misses a step that a series takes before it is there, so all that is known has its
    0: every agent and environment with a name (those of the roster and of the rules, and those that
    occurred) at every risk.
    """

    def collect(self) -> Iterator[Metric]:
        """The metrics as the tables have them now; reads the database."""
        standing = read_standing()
        yield from _kinds(standing)
        yield from _ends(standing)
        yield from _queue(standing)


def _kinds(standing: Standing) -> Iterator[Metric]:
    created = CounterMetricFamily(
        "hitl_approval_requests_created", "Approval requests opened.", labels=_KIND
    )
    pending = GaugeMetricFamily(
        "hitl_approvals_pending", "Approval requests that wait for a decision.", labels=_KIND
    )
    names = standing.names
    kinds = product(names.values(AGENT), map(str, Risk), names.values(ENVIRONMENT))
    for kind in sorted({*kinds, *standing.created}):
        created.add_metric(kind, standing.created[kind])
        pending.add_metric(kind, standing.pending[kind])
    yield created
    yield pending


def _ends(standing: Standing) -> Iterator[Metric]:
    resolved = CounterMetricFamily(
        "hitl_approval_requests_resolved",
        "Approval requests that reached a final status.",
        labels=_END,
    )
    timeouts = CounterMetricFamily(
        "hitl_approval_timeouts",
        "Approval requests that nobody decided in time.",
        labels=["agent", "risk_level"],
    )
    latency = HistogramMetricFamily(
        "hitl_approval_latency_seconds",
        "Time from the opening of a request to its final status.",
        labels=_END,
    )
    occurred = {kind[:2] for kind in standing.created}
    known = {*product(standing.names.values(AGENT), map(str, Risk)), *occurred}
    nothing = Observed(BUCKETS_SECONDS)
    for (agent, risk), status in product(sorted(known), _FINAL):
        end = (agent, risk, str(status))
        seen = standing.latency.get(end, nothing)
        resolved.add_metric(end, seen.count)
        if status is Status.EXPIRED:
            timeouts.add_metric(end[:2], seen.count)
        latency.add_metric(end, seen.buckets(), seen.seconds)
    yield resolved
    yield timeouts
    yield latency


def _queue(standing: Standing) -> Iterator[Metric]:
    backlog = GaugeMetricFamily(
        "hitl_approval_backlog_total",
        "Approval requests that wait for a decision.",
        labels=["risk_level"],
    )
    oldest = GaugeMetricFamily(
        "hitl_approval_oldest_pending_age_seconds",
        "Age of the request that waits longest, 0 where none waits.",
        labels=["risk_level"],
    )
    expiring = GaugeMetricFamily(
        "hitl_approvals_expiring_within_hour",
        "Approval requests that expire within the next hour unless somebody decides.",
        labels=["risk_level"],
    )
    for level in Risk:
        waiting = sum(n for (_, risk, _), n in standing.pending.items() if risk == level)
        backlog.add_metric([level], waiting)
        oldest.add_metric([level], standing.oldest_seconds.get(level, 0.0))
        expiring.add_metric([level], standing.expiring[level])
    yield backlog
    yield oldest
    yield expiring
