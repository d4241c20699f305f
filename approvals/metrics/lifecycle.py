"""The life of requests as Prometheus metrics, computed from the tables at each scrape.

So they are exact across processes, survive restarts, and count nothing that was rolled back.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from django.db import connection
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from approvals.core.lifecycle import Status
from approvals.core.risk import Risk
from approvals.models import ApprovalRequest

BUCKETS_SECONDS = (30, 60, 300, 600, 1800, 3600, 7200, 14_400, 28_800, 86_400)
_FINAL = tuple(status for status in Status if status is not Status.PENDING)

# One statement is one snapshot: what was created is always what was resolved and what waits.
_GROUPS = f"""
SELECT agent_name, risk_level, environment, status, count(*), coalesce(sum(latency), 0),
       {", ".join(f"count(*) FILTER (WHERE latency <= {bound})" for bound in BUCKETS_SECONDS)}
FROM (
    SELECT agent_name, risk_level, environment, status,
           extract(epoch FROM decided_at - created_at)::float8 AS latency
    FROM {ApprovalRequest._meta.db_table}
) AS request
GROUP BY agent_name, risk_level, environment, status
"""  # noqa: S608 - our own table's name and numbers


@dataclass
class _Latency:
    """Observations of one label set; `buckets` counts those up to each bound."""

    total_seconds: float = 0.0
    count: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * len(BUCKETS_SECONDS))

    def add(self, count: int, total_seconds: float, buckets: tuple[int, ...]) -> None:
        self.count += count
        self.total_seconds += total_seconds
        self.buckets = [mine + more for mine, more in zip(self.buckets, buckets, strict=True)]

    def cumulated(self) -> list[tuple[str, float]]:
        bounds = [str(float(bound)) for bound in BUCKETS_SECONDS]
        return [*zip(bounds, map(float, self.buckets), strict=True), ("+Inf", float(self.count))]


@dataclass
class _Lifecycle:
    """Every count, folded from the groups of the table."""

    created: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    backlog: Counter[str] = field(default_factory=Counter)
    latency: dict[tuple[str, str, str], _Latency] = field(default_factory=dict)

    @classmethod
    def read(cls) -> "_Lifecycle":
        read = cls()
        with connection.cursor() as cursor:
            cursor.execute(_GROUPS)
            for agent, risk, environment, status, count, seconds, *buckets in cursor:
                read.created[agent, risk, environment] += count
                if status == Status.PENDING:
                    read.backlog[risk] += count
                else:
                    latency = read.latency.setdefault((agent, risk, status), _Latency())
                    latency.add(count, seconds, tuple(buckets))
        return read

    def resolved(self) -> Mapping[tuple[str, str, str], int]:
        """How many ended in each way; every way is there for each agent and risk that occurs."""
        seen = {(agent, risk) for agent, risk, _ in self.created}
        return {
            (agent, risk, status): self.latency.get((agent, risk, status), _Latency()).count
            for agent, risk in sorted(seen)
            for status in _FINAL
        }


class LifecycleCollector(Collector):
    """Created, resolved, waiting and timed-out requests, and how long decisions took."""

    def collect(self) -> Iterator[Metric]:
        """The metrics as the tables have them now; reads the database."""
        found = _Lifecycle.read()
        created = CounterMetricFamily(
            "hitl_approval_requests_created",
            "Approval requests opened.",
            labels=["agent", "risk_level", "environment"],
        )
        for labels, count in sorted(found.created.items()):
            created.add_metric(labels, count)
        yield created
        resolved = CounterMetricFamily(
            "hitl_approval_requests_resolved",
            "Approval requests that reached a final status.",
            labels=["agent", "risk_level", "status"],
        )
        timeouts = CounterMetricFamily(
            "hitl_approval_timeouts",
            "Approval requests that nobody decided in time.",
            labels=["agent", "risk_level"],
        )
        for (agent, risk, status), count in found.resolved().items():
            resolved.add_metric([agent, risk, status], count)
            if status == Status.EXPIRED:
                timeouts.add_metric([agent, risk], count)
        yield resolved
        yield timeouts
        latency = HistogramMetricFamily(
            "hitl_approval_latency_seconds",
            "Time from the opening of a request to its final status.",
            labels=["agent", "risk_level", "status"],
        )
        for labels, seen in sorted(found.latency.items()):
            latency.add_metric(labels, seen.cumulated(), seen.total_seconds)
        yield latency
        backlog = GaugeMetricFamily(
            "hitl_approval_backlog_total",
            "Approval requests that wait for a decision.",
            labels=["risk_level"],
        )
        for risk in Risk:
            backlog.add_metric([risk], found.backlog[risk])
        yield backlog
