"""Every count of requests at one moment: those rolled up, and from their table the others."""

from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from django.db import connection

from approvals.clock import clock
from approvals.core.lifecycle import Status
from approvals.metrics.labels import AGENT, ENVIRONMENT, Names, folded
from approvals.metrics.latency import BUCKETS_SECONDS, MICROSECONDS, TOOK, WITHIN
from approvals.metrics.mark import LATE, marked
from approvals.metrics.observed import Observed
from approvals.metrics.registry import much_to_read
from approvals.models import ApprovalRequest, RolledUpRequests, RollUpMark

_REQUESTS = ApprovalRequest._meta.db_table

# One statement is one snapshot: nothing is counted twice or not at all while a roll-up commits.
# The mark is in it twice: as it was a moment before, from which the planner knows how few rows
# are newer, and as it is in the snapshot, which decides.
_READ = f"""
SELECT agent, risk_level, environment, status, count, microseconds, within,
       NULL::timestamptz, 0, 0
FROM {RolledUpRequests._meta.db_table}
UNION ALL
SELECT {folded(AGENT, "agent_name")}, risk_level, {folded(ENVIRONMENT, "environment")}, status,
       count(*), 0, '{{}}', min(created_at),
       extract(epoch FROM greatest(statement_timestamp() - min(created_at), '0'))::float8,
       count(*) FILTER (WHERE expires_at > statement_timestamp()
                          AND expires_at <= statement_timestamp() + interval '1 hour')
FROM {_REQUESTS}
WHERE status = '{Status.PENDING}'
GROUP BY 1, 2, 3, 4
UNION ALL
SELECT agent, risk_level, environment, status, count(*), {MICROSECONDS}, {WITHIN},
       min(created_at), 0, 0
FROM (
    SELECT {folded(AGENT, "agent_name")} AS agent, risk_level,
           {folded(ENVIRONMENT, "environment")} AS environment, status, created_at, {TOOK} AS took
    FROM {_REQUESTS}
    WHERE decided_at > %(marked)s
      AND decided_at > coalesce((SELECT up_to_at FROM {RollUpMark._meta.db_table}), '-infinity')
    OFFSET 0
) AS final
GROUP BY 1, 2, 3, 4
"""  # noqa: S608 - our own tables' names and numbers
# Of a name that somebody else has just kept.
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class _Group(NamedTuple):
    """Requests of one kind; those that wait have an age in seconds, the others took a time."""

    agent: str
    risk_level: str
    environment: str
    status: str
    number: int
    microseconds: int
    within: Sequence[int]
    first_at: datetime | None
    oldest_seconds: float
    expiring: int


@dataclass
class Standing:
    """Every count by its label values, all of the same moment.

    A request counts as the table has it: past its deadline it waits until a sweep or a vote makes
    it expired, so that what was created is always what was resolved and what waits. Only
    `expiring` leaves it out: nobody can decide it any more.
    """

    names: Names
    created: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    pending: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    latency: dict[tuple[str, str, str], Observed] = field(default_factory=dict)
    oldest_seconds: dict[str, float] = field(default_factory=dict)
    expiring: Counter[str] = field(default_factory=Counter)

    def add(self, group: _Group) -> None:
        """Count the requests of a group under the names that are shown."""
        agent, risk = self.names.shown(AGENT, group.agent), group.risk_level
        kind = (agent, risk, self.names.shown(ENVIRONMENT, group.environment))
        self.created[kind] += group.number
        if group.status == Status.PENDING:
            self.pending[kind] += group.number
            self.expiring[risk] += group.expiring
            oldest = max(self.oldest_seconds.get(risk, 0.0), group.oldest_seconds)
            self.oldest_seconds[risk] = oldest
        else:
            end = (agent, risk, group.status)
            latency = self.latency.setdefault(end, Observed(BUCKETS_SECONDS))
            latency.add(group.number, group.microseconds, group.within)


def read_standing() -> Standing:
    """The counts as the tables have them now; keeps the names that nobody has seen before."""
    names = Names.read()
    up_to_at = marked()
    behind = up_to_at is None or clock() - up_to_at > LATE
    with much_to_read() if behind else nullcontext(), connection.cursor() as cursor:
        cursor.execute(_READ, {"marked": up_to_at or "-infinity", **names.folding()})
        groups = [_Group(*row) for row in cursor]
    first = [(group.agent, group.environment, group.first_at or _LONG_AGO) for group in groups]
    standing = Standing(names.admitting(first))
    for group in groups:
        standing.add(group)
    return standing
