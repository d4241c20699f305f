"""Adds up, once and for all, the final requests that a scrape need not look at any more.

Final requests never change. What has to be certain is that none with a `decided_at` up to the mark
can still appear: a verb reads the clock inside its transaction, so a decision that is not committed
yet is no older than the transaction it is made in.
"""

import logging
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from django.db import connection, transaction

from approvals.core.lifecycle import Status
from approvals.metrics import mark
from approvals.metrics.labels import AGENT, ENVIRONMENT, MOST, Names, folded
from approvals.metrics.latency import MICROSECONDS, TOOK, WITHIN
from approvals.models import ApprovalRequest, RolledUpRequests
from approvals.tally import ADDED_WITHIN

log = logging.getLogger(__name__)

# A step is one short transaction, however much there is to add up at first.
STEP_ROWS = 20_000
# How far a clock may be set back without a decision being missed.
MARGIN = timedelta(minutes=10)

_REQUESTS = ApprovalRequest._meta.db_table
_ROLLED = RolledUpRequests._meta.db_table

# Sessions of other roles hide when their transaction began, but not that they have one.
_OLDEST = """
SELECT clock_timestamp(), least(clock_timestamp(), min(xact_start)), coalesce(bool_or(
    usesysid IS NOT NULL AND (state IS NULL OR state = 'disabled') AND EXISTS (
        SELECT FROM pg_locks
        WHERE pg_locks.pid = pg_stat_activity.pid AND locktype = 'virtualxid'
    )
), false)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_SEEN = f"""
SELECT agent_name, environment, min(created_at) FROM {_REQUESTS}
WHERE status = '{Status.PENDING}' GROUP BY 1, 2
UNION ALL
SELECT agent_name, environment, min(created_at) FROM {_REQUESTS}
WHERE decided_at > %(after)s AND decided_at <= %(up_to)s GROUP BY 1, 2
"""  # noqa: S608 - our own table's name

_NTH = f"""
SELECT decided_at FROM {_REQUESTS} WHERE decided_at > %(after)s AND decided_at <= %(up_to)s
ORDER BY decided_at OFFSET %(rows)s - 1 LIMIT 1
"""  # noqa: S608 - our own table's name

_ADD = f"""
INSERT INTO {_ROLLED} AS sums
    (agent, risk_level, environment, status, count, microseconds, within)
SELECT agent, risk_level, environment, status, count(*), {MICROSECONDS}, {WITHIN}
FROM (
    SELECT {folded(AGENT, "agent_name")} AS agent, risk_level,
           {folded(ENVIRONMENT, "environment")} AS environment, status, {TOOK} AS took
    FROM {_REQUESTS} WHERE decided_at > %(after)s AND decided_at <= %(up_to)s
    OFFSET 0
) AS final
GROUP BY 1, 2, 3, 4
ON CONFLICT (agent, risk_level, environment, status) DO UPDATE SET
    count = sums.count + excluded.count,
    microseconds = sums.microseconds + excluded.microseconds,
    within = {ADDED_WITHIN}
"""  # noqa: S608 - our own tables' names


def roll_up(*, seconds: float, rows: int = STEP_ROWS) -> bool:
    """Roll up what is certain, in steps of about `rows` requests, for about so many seconds.

    Returns whether something may be left. Harmless when two processes do it at once.
    """
    up_to = _certain()
    if up_to is None:
        return False
    ends = time.monotonic() + seconds
    while _step(up_to, rows):
        if time.monotonic() > ends:
            return True
    return False


def _certain() -> datetime | None:
    """Up to when every decision that there will ever be is committed; None where nobody can tell.

    Asked in a statement of its own, before requests are read: what is not open any more by now is
    seen by then.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        now, oldest, hidden = cast("tuple[datetime, datetime, bool]", cursor.fetchone())
    certain = None if hidden else oldest - MARGIN
    rolled_up_to = mark.marked()
    if rolled_up_to is not None and rolled_up_to > now:
        log.error(
            "Metrics are rolled up to %s, which is to come: the clock of PostgreSQL was ahead, and"
            " what is decided until then is not counted",
            rolled_up_to,
        )
    reached = certain or rolled_up_to
    if reached is None or now - reached > mark.LATE:
        log.warning(
            "Metrics can be rolled up to %s only: %s. They stay exact, but scrapes take longer.",
            reached or "their beginning",
            "a session of another role has a transaction open and hides since when, unless the"
            " gateway's role is granted pg_read_all_stats"
            if hidden
            else "a transaction is open since about then",
        )
    return certain


def _step(up_to: datetime, rows: int) -> bool:
    """Move the mark by at most about `rows` requests; returns whether more are left before it."""
    with transaction.atomic(), connection.cursor() as cursor:
        row = mark.locked()
        if row.up_to_at is not None and row.up_to_at >= up_to:
            return False
        window: dict[str, Any] = {"after": row.up_to_at or "-infinity", "up_to": up_to}
        cursor.execute(_NTH, {**window, "rows": rows})
        last = cursor.fetchone()
        end = last[0] if last else up_to
        # The first time, the whole table says who came first.
        names = _names({**window, "up_to": end if row.up_to_at else "infinity"})
        cursor.execute(_ADD, {**window, "up_to": end, **names.folding(closed=True)})
        row.up_to_at = end
        row.save(update_fields=["up_to_at"])
    return last is not None


def _names(window: Mapping[str, Any]) -> Names:
    """The names that hold for good once those in the window have got what room there is."""
    names = Names.read()
    if not any(names.room(label) for label in MOST):
        return names
    with connection.cursor() as cursor:
        cursor.execute(_SEEN, window)
        return names.admitting(cursor.fetchall())
