"""What the dashboard asks: PromQL that no number of web instances changes, and one SQL statement.

Every web instance exports the same tables, so each expression takes `max by` the labels of the
metric first, which leaves one of the copies, and sums only what is left.

What grew within an hour is the value now less the value an hour ago. Unlike `increase` it is a
whole number, since nothing is extrapolated to the edges of the window; it counts a series that
began within the window from 0; and it does not care which instance was asked then and which is
asked now. It may, because these counters come from tables: a restart does not begin them anew.
"""

VARIABLES = ("agent", "risk_level", "environment")
_COUNTED = ("agent", "risk_level")
LABELS = {
    "hitl_approvals_pending": ("agent", "risk_level", "environment"),
    "hitl_approval_backlog_total": ("risk_level",),
    "hitl_approval_oldest_pending_age_seconds": ("risk_level",),
    "hitl_approvals_expiring_within_hour": ("risk_level",),
    "hitl_approval_requests_created_total": ("agent", "risk_level", "environment"),
    "hitl_approval_requests_resolved_total": (*_COUNTED, "status"),
    "hitl_approval_timeouts_total": _COUNTED,
    "hitl_approval_latency_seconds_bucket": (*_COUNTED, "status", "le"),
}
# There from the first scrape on, whatever the tables hold: it tells a 0 from a gateway not asked.
_ALWAYS_THERE = 'hitl_approval_backlog_total{risk_level="critical"}'
HOUR = "1h"
RANGE = "$__range"


def selector(metric: str, *matchers: str) -> str:
    """The metric with these matchers and those of every variable that it has a label for."""
    chosen = [f'{name}=~"${name}"' for name in VARIABLES if name in LABELS[metric]]
    return f"{metric}{{{','.join([*matchers, *chosen])}}}"


def now(metric: str, *matchers: str) -> str:
    """The value now, once for each set of the metric's own labels."""
    return f"max by ({', '.join(LABELS[metric])}) ({selector(metric, *matchers)})"


def grown(metric: str, window: str, *matchers: str) -> str:
    """By how much a counter has grown within the window, for each set of its own labels.

    Where the gateway was not asked at the window's begin, what it first said within the window
    stands for it; but a series that an instance did not have at first began at 0.
    """
    labels = ", ".join(LABELS[metric])
    chosen = selector(metric, *matchers)
    return (
        f"clamp_min(max by ({labels}) ({chosen}) - ("
        f"max by ({labels}) ({chosen} offset {window})"
        f" or (min by ({labels}) (min_over_time({chosen}[{window}]))"
        f" unless max by ({labels}) (count_over_time({chosen}[{window}])"
        f" < on (job, instance) group_left ()"
        f" max by (job, instance) (count_over_time({_ALWAYS_THERE}[{window}]))))"
        f" or 0 * max by ({labels}) ({chosen})), 0)"
    )


def or_zero(expression: str, *matchers: str, by: str = "") -> str:
    """The expression, and 0 where it has nothing though the gateway is being asked."""
    always = selector("hitl_approval_backlog_total", *matchers)
    return f"{expression} or 0 * max{f' by ({by})' if by else ''} ({always})"


def share(part: str, whole: str) -> str:
    """The part of the whole, from 0 to 1; nothing where there is no whole."""
    return f"sum ({part}) / (sum ({whole}) > 0)"


def quantile(rank: float) -> str:
    """How long so many of the last hour's approvals took at most; nothing without approvals."""
    buckets = grown("hitl_approval_latency_seconds_bucket", HOUR, 'status="approved"')
    return f"histogram_quantile({rank}, sum by (le) ({buckets})) >= 0"


_RESOLVED = "hitl_approval_requests_resolved_total"
_PENDING = "hitl_approvals_pending"
DECIDED = 'status=~"approved|rejected|expired"'
CRITICAL = 'risk_level="critical"'

WAITING = or_zero(f"sum ({now(_PENDING)})")
EXPIRING = f"sum ({now('hitl_approvals_expiring_within_hour')})"
OLDEST = f"max ({now('hitl_approval_oldest_pending_age_seconds')})"
CRITICAL_WAITING = or_zero(f"sum ({now(_PENDING, CRITICAL)})", CRITICAL)
APPROVAL_RATE = share(grown(_RESOLVED, HOUR, 'status="approved"'), grown(_RESOLVED, HOUR, DECIDED))
BACKLOG = or_zero(f"sum by (risk_level) ({now(_PENDING)})", by="risk_level")
OUTCOMES = f"sum by (status) ({grown(_RESOLVED, RANGE, DECIDED)}) > 0"
CREATED = "hitl_approval_requests_created_total"
BY_AGENT = f"sort_desc(sum by (agent) ({grown(CREATED, RANGE)}) > 0)"
TIMEOUT_RATE = share(grown("hitl_approval_timeouts_total", HOUR), grown(_RESOLVED, HOUR))
CREATION_RATE = f"sum by (risk_level) ({grown(CREATED, HOUR)})"
RESOLUTION_RATE = f"sum by (status) ({grown(_RESOLVED, HOUR)})"


def _fits(column: str, variable: str) -> str:
    # All is inserted as it is, so that a list of quoted values would be no list; a pattern between
    # dollar signs takes it, and any value, whatever quotes are in it.
    return f"{column} ~ ('^(' || $value$${{{variable}:regex}}$value$ || ')$')"


ACTIVE_APPROVALS = f"""\
SELECT risk_level, operation, agent, environment, age_seconds, left_seconds,
       linear, pull_request, linear_url, pull_request_url, page_url
FROM hitl_waiting_requests
WHERE {_fits("agent_label", "agent")}
  AND {_fits("risk_level", "risk_level")}
  AND {_fits("environment_label", "environment")}
ORDER BY severity, left_seconds, request_id
LIMIT 500"""  # noqa: S608 - our own constants
