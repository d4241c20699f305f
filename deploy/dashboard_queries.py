"""What the dashboard asks: PromQL that no number of web instances changes, and one SQL statement.

Every web instance exports the same tables, whole. So each expression sums per instance, which is
the total as that one knows it, and takes the greatest, which is that of the freshest.

What grew within an hour is the total now less the total an hour ago. Unlike `increase` it is a
whole number, since nothing is extrapolated to the edges of the window; it counts what began within
the window from 0; and it does not care which instance was asked then and which is asked now. It
may, because these counters come from tables: a restart does not begin them anew.
"""

_BY_AGENT = ("agent", "risk_level")
_BY_ENVIRONMENT = (*_BY_AGENT, "environment")
# Which of the dashboard's variables each metric has a label for.
VARIABLES = {
    "hitl_approvals_pending": _BY_ENVIRONMENT,
    "hitl_approval_backlog_total": ("risk_level",),
    "hitl_approval_oldest_pending_age_seconds": ("risk_level",),
    "hitl_approvals_expiring_within_hour": ("risk_level",),
    "hitl_approval_requests_created_total": _BY_ENVIRONMENT,
    "hitl_approval_requests_resolved_total": _BY_AGENT,
    "hitl_approval_timeouts_total": _BY_AGENT,
    "hitl_approval_latency_seconds_bucket": _BY_AGENT,
}
# There from the first scrape on, whatever the tables hold: it tells a 0 from a gateway not asked.
_ALWAYS_THERE = 'max by (job, instance) (hitl_approval_backlog_total{risk_level="critical"})'
# The window of what grew, and how closely its begin is looked at where it has to be searched for.
LAST_HOUR = ("1h", "15s")
HOUR_BEFORE = ("1h", "$__interval")
TIME_RANGE = ("$__range", "$__interval")

Window = tuple[str, str]


def selector(metric: str, *matchers: str) -> str:
    """The metric with these matchers and those of every variable that it has a label for."""
    chosen = [f'{name}=~"${name}"' for name in VARIABLES[metric]]
    return f"{metric}{{{','.join([*matchers, *chosen])}}}"


def per_instance(metric: str, *matchers: str, by: str, offset: str = "") -> str:
    """The sum as each instance knows it, for each value of the label `by` or as a whole."""
    labels = ", ".join(["job", "instance", *([by] if by else [])])
    return f"sum by ({labels}) ({selector(metric, *matchers)}{offset})"


def total(metric: str, *matchers: str, by: str = "") -> str:
    """The sum now, once."""
    return f"{_any('max', by)} ({per_instance(metric, *matchers, by=by)})"


def grown(metric: str, window: Window, *matchers: str, by: str = "") -> str:
    """By how much the sum has grown within the window, as a whole number.

    Where the gateway was not asked at the window's begin, what it first said within the window
    stands for it; but what an instance did not have at first began at 0.
    """
    span, step = window
    mine = per_instance(metric, *matchers, by=by)
    before = per_instance(metric, *matchers, by=by, offset=f" offset {span}")
    first = f"{_any('min', by)} (min_over_time(({mine})[{span}:{step}]))"
    born = (
        f"{_any('max', by)} (count_over_time(({mine})[{span}:{step}])"
        " < on (job, instance) group_left ()"
        f" count_over_time(({_ALWAYS_THERE})[{span}:{step}]))"
    )
    now = total(metric, *matchers, by=by)
    then = f"{_any('max', by)} ({before}) or ({first} unless {born})"
    return f"clamp_min({now} - ({then}) or {now}, 0)"


def _any(aggregation: str, by: str) -> str:
    return f"{aggregation} by ({by})" if by else aggregation


def or_zero(expression: str, *matchers: str, by: str = "") -> str:
    """The expression, and 0 where it has nothing though the gateway is being asked."""
    return f"{expression} or 0 * {total('hitl_approval_backlog_total', *matchers, by=by)}"


def share(part: str, whole: str) -> str:
    """The part of the whole, from 0 to 1; nothing where there is no whole."""
    return f"{part} / ({whole} > 0)"


def quantile(rank: float, window: Window) -> str:
    """How long so many of an hour's approvals took at most; nothing without approvals."""
    buckets = grown("hitl_approval_latency_seconds_bucket", window, 'status="approved"', by="le")
    return f"histogram_quantile({rank}, {buckets}) >= 0"


_PENDING = "hitl_approvals_pending"
_CREATED = "hitl_approval_requests_created_total"
_RESOLVED = "hitl_approval_requests_resolved_total"
_APPROVED = 'status="approved"'
_DECIDED = 'status=~"approved|rejected|expired"'
_CRITICAL = 'risk_level="critical"'

WAITING = or_zero(total(_PENDING))
EXPIRING = total("hitl_approvals_expiring_within_hour")
OLDEST = f"max ({selector('hitl_approval_oldest_pending_age_seconds')})"
CRITICAL_WAITING = or_zero(total(_PENDING, _CRITICAL), _CRITICAL)
APPROVAL_RATE = share(grown(_RESOLVED, LAST_HOUR, _APPROVED), grown(_RESOLVED, LAST_HOUR, _DECIDED))
BACKLOG = or_zero(total(_PENDING, by="risk_level"), by="risk_level")
OUTCOMES = f"{grown(_RESOLVED, TIME_RANGE, _DECIDED, by='status')} > 0"
BY_AGENT = f"sort_desc({grown(_CREATED, TIME_RANGE, by='agent')} > 0)"
TIMEOUT_RATE = share(
    grown("hitl_approval_timeouts_total", HOUR_BEFORE), grown(_RESOLVED, HOUR_BEFORE)
)
CREATION_RATE = grown(_CREATED, HOUR_BEFORE, by="risk_level")
RESOLUTION_RATE = grown(_RESOLVED, HOUR_BEFORE, by="status")


def _fits(column: str, variable: str) -> str:
    # All is inserted as it is, so that a list of quoted values would be no list; a pattern between
    # dollar signs takes it, and any value, whatever quotes are in it.
    return f"{column} ~ ($value$^(${{{variable}:regex}})$value$ || '$')"


ACTIVE_APPROVALS = f"""\
SELECT risk_level, operation, agent, environment, age_seconds, left_seconds,
       linear, pull_request, linear_url, pull_request_url, page_url
FROM hitl_waiting_requests
WHERE {_fits("agent_label", "agent")}
  AND {_fits("risk_level", "risk_level")}
  AND {_fits("environment_label", "environment")}
ORDER BY severity, left_seconds, request_id
LIMIT 500"""  # noqa: S608 - our own constants
