"""The twelve panels of the dashboard, in the order in which they are read."""

from grafana_foundation_sdk.builders import bargauge, common, dashboard, piechart, table
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import timeseries as series
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.piechart import PieChartLabels, PieChartLegendValues

from deploy import dashboard_queries as ask
from deploy.dashboard_parts import (
    PER_HOUR,
    PLAIN,
    POSTGRES,
    QUIET,
    RISKS,
    SECONDS,
    SHARE,
    STATUSES,
    Box,
    Built,
    Place,
    SqlQuery,
    at_once,
    coloured,
    lines,
    number,
    override,
    placed,
    query,
    steps,
    with_limit,
)

NO_ENVIRONMENT = "By agent and risk level; it is not known by environment."
# Grafana divides the time range by this for `$__interval`, at which a query that counts over the
# range looks where a series began: within six hours at each scrape, which is every 15 seconds.
RANGE_STEPS = 6 * 3600 // 15
NOT_ASKED = "Prometheus has nothing from the gateway"


def queue_overview() -> stats.Panel:
    """How much waits, how much of it not much longer, and since when."""
    panel = number().orientation(kinds.VizOrientation.VERTICAL)
    panel.with_target(at_once(ask.WAITING, "Waiting", "A"))
    panel.with_target(at_once(ask.EXPIRING, "Expire within the hour", "B"))
    panel.with_target(at_once(ask.OLDEST, "Oldest has waited", "C"))
    waiting = steps((None, PLAIN), (11, RISKS["high"])).build()
    expiring = steps((None, PLAIN), (1, RISKS["high"])).build()
    panel.override_by_name("Waiting", override(thresholds=waiting))
    panel.override_by_name("Expire within the hour", override(thresholds=expiring))
    panel.override_by_name("Oldest has waited", override(unit=SECONDS, decimals=1))
    place = Place(
        1,
        "Queue overview",
        Box(x=0, y=0, width=9, height=5),
        "Requests that wait for a decision, those of them that expire within the next hour, and how"
        " long the oldest has waited. The last two are known by risk level only.",
        NOT_ASKED,
        ("HighApprovalBacklog", "NoApprovalsResolved", "GatewayDown"),
    )
    return placed(panel, place)


def critical_backlog() -> stats.Panel:
    """Critical requests that wait."""
    panel = number().with_target(at_once(ask.CRITICAL_WAITING, "Critical"))
    panel.thresholds(steps((None, STATUSES["approved"]), (1, RISKS["critical"])))
    place = Place(
        2,
        "Critical backlog",
        Box(x=9, y=0, width=5, height=5),
        "Critical requests that wait for a decision. Empty where the chosen risk levels leave out"
        " critical.",
        "Critical is not chosen, or nothing from the gateway",
        ("CriticalApprovalStuck",),
    )
    return placed(panel, place)


def approval_rate() -> stats.Panel:
    """The share of approvals."""
    panel = number(SHARE, 1).with_target(at_once(ask.APPROVAL_RATE, "Approved"))
    place = Place(
        3,
        "Approval rate (last hour)",
        Box(x=14, y=0, width=5, height=5),
        "Of the requests that were approved, rejected or expired within the last hour, the share"
        f" that was approved. {NO_ENVIRONMENT}",
        "Nothing was decided within the hour",
        ("ApprovalRejectionRateHigh",),
    )
    return placed(panel.min(0).max(1), place)


def p95_latency() -> stats.Panel:
    """How long all but the slowest approvals took."""
    panel = number(SECONDS, 1).with_target(at_once(ask.quantile(0.95, ask.LAST_HOUR), "p95"))
    panel.thresholds(steps((None, PLAIN), (3600, RISKS["high"])))
    place = Place(
        4,
        "p95 latency",
        Box(x=19, y=0, width=5, height=5),
        "19 of 20 requests approved within the last hour took at most about this long, from the"
        f" opening to the approval; 1 day stands for longer, too. {NO_ENVIRONMENT}",
        "Nothing was approved within the hour",
        ("ApprovalLatencyHigh",),
    )
    return placed(panel, place)


def active_approvals() -> table.Panel:
    """A row for each request that waits, with its links."""
    panel = table.Panel().with_target(Built(SqlQuery(ask.ACTIVE_APPROVALS)))
    panel.filterable(True).cell_height(kinds.TableCellHeight.SM)
    text = {"type": "color-text"}
    # What stands for an empty table must not stand in each empty cell.
    panel.override_by_regexp("/.*/", override(noValue=""))
    results = {
        risk: models.ValueMappingResult(text=risk, color=shade, index=place)
        for place, (risk, shade) in enumerate(RISKS.items())
    }
    mappings = [models.ValueMap(results)]
    panel.override_by_name(
        "risk_level",
        override(displayName="Risk", mappings=mappings, custom__cellOptions=text, custom__width=90),
    )
    soon = steps((None, RISKS["critical"]), (600, RISKS["high"]), (3600, PLAIN)).build()
    waits = override(displayName="Age", unit=SECONDS, decimals=1, custom__width=120)
    panel.override_by_name("age_seconds", waits)
    panel.override_by_name(
        "left_seconds",
        [
            *override(displayName="Time left", unit=SECONDS, decimals=1, custom__width=120),
            *override(thresholds=soon, custom__cellOptions=text),
        ],
    )
    panel.override_by_name("agent", override(displayName="Agent"))
    panel.override_by_name("environment", override(displayName="Environment"))
    for column, name, url, title in (
        ("operation", "Operation", "page_url", "Open the request"),
        ("linear", "Linear", "linear_url", "Open the issue in Linear"),
        ("pull_request", "Pull request", "pull_request_url", "Open the pull request"),
    ):
        link = {"title": title, "url": f"${{__data.fields.{url}}}", "targetBlank": True}
        panel.override_by_name(column, override(displayName=name, links=[link]))
        # Older releases of Grafana know the first, newer ones the second.
        panel.override_by_name(url, override(custom__hidden=True, custom__hideFrom__viz=True))
    place = Place(
        12,
        "Active Approvals",
        Box(x=0, y=5, width=24, height=9),
        "Every request that waits, the most severe first, then the one with the least time left; at"
        " most 500. The operation leads to its page in the gateway. Read from the gateway's"
        " database as it is now, whatever the time range is.",
        "Nothing waits",
        ("CriticalApprovalStuck", "NoApprovalsResolved"),
        POSTGRES,
    )
    return placed(panel, place)


def backlog_by_risk() -> series.Panel:
    """What waited, over time."""
    panel = coloured(lines("none", "requests"), RISKS).decimals(0)
    panel.with_target(query(ask.BACKLOG, "{{risk_level}}"))
    panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL)).fill_opacity(25)
    place = Place(
        5,
        "Backlog by risk",
        Box(x=0, y=14, width=12, height=8),
        "Requests that wait for a decision, by risk level, on top of each other.",
        NOT_ASKED,
        ("HighApprovalBacklog", "NoApprovalsResolved"),
    )
    return placed(panel, place)


def latency_percentiles() -> series.Panel:
    """How long approvals took, over time."""
    panel = with_limit(lines(SECONDS, "from opening to approval"), 3600, RISKS["high"])
    shades = {"p50": QUIET, "p95": RISKS["medium"], "p99": RISKS["critical"]}
    for ref_id, (name, rank) in zip(
        "ABC", {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items(), strict=True
    ):
        panel.with_target(query(ask.quantile(rank, ask.HOUR_BEFORE), name, ref_id))
    place = Place(
        6,
        "Latency percentiles p50/p95/p99",
        Box(x=12, y=14, width=12, height=8),
        "Half, 19 of 20 and 99 of 100 of the requests approved within the hour before took at most"
        " about this long; interrupted where nothing was approved. The dashed line is where an"
        f" alert fires on p95. {NO_ENVIRONMENT}",
        "Nothing was approved",
        ("ApprovalLatencyHigh",),
    )
    return placed(coloured(panel, shades), place)


def outcomes() -> piechart.Panel:
    """How requests ended."""
    panel = coloured(piechart.Panel().unit("none").decimals(0), STATUSES)
    panel.with_target(at_once(ask.OUTCOMES, "{{status}}"))
    values = [PieChartLegendValues.VALUE, PieChartLegendValues.PERCENT]
    legend = piechart.PieChartLegendOptions().show_legend(True).values(values)
    legend.display_mode(kinds.LegendDisplayMode.TABLE).placement(kinds.LegendPlacement.RIGHT)
    panel.legend(legend).display_labels([PieChartLabels.NAME])
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).max_data_points(
        RANGE_STEPS
    )
    place = Place(
        7,
        "Outcomes",
        Box(x=0, y=30, width=8, height=8),
        "How the requests ended that were decided or expired within the time range."
        f" {NO_ENVIRONMENT}",
        "Nothing was decided",
        ("ApprovalRejectionRateHigh", "ApprovalTimeoutRateHigh"),
    )
    return placed(panel, place)


def requests_by_agent() -> bargauge.Panel:
    """Who asks how much."""
    panel = bargauge.Panel().unit("none").decimals(0).min(0)
    panel.with_target(at_once(ask.BY_AGENT, "{{agent}}"))
    panel.display_mode(kinds.BarGaugeDisplayMode.BASIC).show_unfilled(False)
    panel.orientation(kinds.VizOrientation.HORIZONTAL)
    panel.color_scheme(
        dashboard.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(QUIET)
    )
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).max_data_points(
        RANGE_STEPS
    )
    place = Place(
        8,
        "Requests by agent",
        Box(x=8, y=30, width=16, height=8),
        "Requests that each agent opened within the time range, the busiest first.",
        "No agent asked for anything",
        ("ApprovalBacklogByAgent",),
    )
    return placed(panel, place)


def timeout_rate() -> series.Panel:
    """The share that nobody decided in time."""
    panel = with_limit(lines(SHARE, "of all that ended"), 0.1, RISKS["high"])
    panel.with_target(query(ask.TIMEOUT_RATE, "timed out")).axis_soft_max(0.2)
    place = Place(
        9,
        "Timeout rate",
        Box(x=16, y=22, width=8, height=8),
        "Of all requests that ended within the hour before, the share that expired because nobody"
        " decided in time. The dashed line is where an alert fires, once ten have ended."
        f" {NO_ENVIRONMENT}",
        "Nothing ended",
        ("ApprovalTimeoutRateHigh",),
    )
    return placed(coloured(panel, {"timed out": STATUSES["expired"]}), place)


def creation_rate() -> series.Panel:
    """How much was asked for."""
    panel = coloured(lines(PER_HOUR, "requests per hour"), RISKS).decimals(0)
    panel.with_target(query(ask.CREATION_RATE, "{{risk_level}}"))
    place = Place(
        10,
        "Creation rate",
        Box(x=0, y=22, width=8, height=8),
        "Requests opened within the hour before, by risk level.",
        NOT_ASKED,
        ("ApprovalBacklogByAgent",),
    )
    return placed(panel, place)


def resolution_rate() -> series.Panel:
    """How much ended, and how."""
    panel = coloured(lines(PER_HOUR, "requests per hour"), STATUSES).decimals(0)
    panel.with_target(query(ask.RESOLUTION_RATE, "{{status}}"))
    place = Place(
        11,
        "Resolution rate",
        Box(x=8, y=22, width=8, height=8),
        f"Requests that ended within the hour before, by how they ended. {NO_ENVIRONMENT}",
        NOT_ASKED,
        ("NoApprovalsResolved",),
    )
    return placed(panel, place)


PANELS = (
    queue_overview,
    critical_backlog,
    approval_rate,
    p95_latency,
    active_approvals,
    backlog_by_risk,
    latency_percentiles,
    creation_rate,
    resolution_rate,
    timeout_rate,
    outcomes,
    requests_by_agent,
)
