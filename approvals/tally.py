"""Running counts of what no table can tell, raised in the transaction of what they count.

So nothing that was rolled back is counted, and nothing is lost or counted twice with a process.

Nobody ever waits for a tally, in whatever order a transaction raises several and whatever else it
locks before or after, so tallies take part in no deadlock: a count is spread over shards, and a
transaction takes the first one that is free, which stays its own until it ends.
"""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

from django.db import connection

from approvals.core.events import LINEAR, Hearing
from approvals.core.lifecycle import Reason, Status
from approvals.models import Tally

log = logging.getLogger(__name__)

# The usual number of rows for a label set; more come only while more transactions count at once.
_USUAL_SHARDS = 8
_MAX_SHARDS = 4096
# Advisory locks of two numbers are apart from those of one, such as the locks on threads.
_LOCKS = int.from_bytes(b"hitl")

# The `within` of the row that is there, as `sums`, and of the one to be inserted.
ADDED_WITHIN = """ARRAY(
    SELECT mine + more
    FROM unnest(sums.within, excluded.within) WITH ORDINALITY AS bound (mine, more, place)
    ORDER BY place
)"""
# Looked at one by one, so that no more than one is locked: the first at which a lock succeeds.
_RAISE = f"""
INSERT INTO {Tally._meta.db_table} AS sums
    (metric, "values", shard, count, microseconds, within)
SELECT %s::text, %s::text[], shard, 1, %s::bigint, %s::bigint[]
FROM (SELECT generate_series(pg_backend_pid() %% {_USUAL_SHARDS}, {_MAX_SHARDS}) AS shard) AS any_of
WHERE pg_try_advisory_xact_lock({_LOCKS}, shard)
LIMIT 1
ON CONFLICT (metric, "values", shard) DO UPDATE SET
    count = sums.count + excluded.count,
    microseconds = sums.microseconds + excluded.microseconds,
    within = {ADDED_WITHIN}
"""  # noqa: S608 - our own table's name and numbers

Values = tuple[str, ...]


@dataclass(frozen=True)
class TalliedMetric:
    """A counter or, with `bounds` in seconds, a histogram; `name` is as `/metrics` shows it.

    `known` holds every set of label values that there can be; each starts at 0. The bounds of a
    name never change, since what was observed cannot be sorted anew.
    """

    name: str
    help: str
    labels: tuple[str, ...]
    known: frozenset[Values]
    bounds: tuple[float, ...] = ()


_DECLARED: dict[str, TalliedMetric] = {}


def declare(metric: TalliedMetric) -> TalliedMetric:
    """Let `/metrics` show the metric; a name is declared once."""
    if metric.name in _DECLARED:
        raise ValueError(f"The metric {metric.name} is declared twice.")
    _DECLARED[metric.name] = metric
    return metric


def declared() -> Mapping[str, TalliedMetric]:
    """Every metric that was declared, by name."""
    return MappingProxyType(_DECLARED)


def each(*choices: Collection[str]) -> frozenset[Values]:
    """Every set of label values with one of the choices for each label."""
    return frozenset(product(*[[str(choice) for choice in label] for label in choices]))


VOTES_REFUSED = declare(
    TalliedMetric(
        "hitl_votes_refused_total",
        "Votes that did not count, identical repeats too, by reason.",
        ("reason",),
        each(list(Reason)),
    )
)
INBOUND_WEBHOOKS = declare(
    TalliedMetric(
        "hitl_inbound_webhooks_total",
        "Signed webhooks that were answered, by source and outcome.",
        ("source", "outcome"),
        each([LINEAR], list(Hearing)),
    )
)
PREVIOUS_SECRET = declare(
    TalliedMetric(
        "hitl_inbound_webhooks_previous_secret_total",
        "Signed webhooks whose signature was made with the previous secret, by source.",
        ("source",),
        each([LINEAR]),
    )
)
DECISION_TO_RESUME = declare(
    TalliedMetric(
        "hitl_decision_to_resume_seconds",
        "Time from a decision to the moment its run is entered with the verdict.",
        ("status",),
        each([Status.APPROVED, Status.REJECTED, Status.EXPIRED]),
        (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0),
    )
)


def count(metric: TalliedMetric, *values: str) -> None:
    """Raise a counter, in the caller's transaction or, where there is none, in one of its own."""
    _raise(metric, values, 0, [])


def observe(metric: TalliedMetric, *values: str, seconds: float) -> None:
    """Add an observation to a histogram, in the same transaction as `count` would."""
    # A clock may be set back; a sum must not.
    microseconds = max(0, round(seconds * 1_000_000))
    within = [int(microseconds <= round(bound * 1_000_000)) for bound in metric.bounds]
    _raise(metric, values, microseconds, within)


def _raise(metric: TalliedMetric, values: Values, microseconds: int, within: list[int]) -> None:
    texts = tuple(str(value) for value in values)
    if texts not in metric.known:
        raise ValueError(f"{metric.name} is not declared to have the labels {texts}.")
    with connection.cursor() as cursor:
        cursor.execute(_RAISE, [metric.name, list(texts), microseconds, within])
        if cursor.rowcount != 1:
            # So many do not count at once: somebody holds the locks. What is counted goes on.
            log.error("No shard of %s was free: %s was not counted", metric.name, texts)
