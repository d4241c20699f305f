"""What the panels of the dashboard are made of: colours, units, words, links and places."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    piechart,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models

PROMETHEUS = kinds.DataSourceRef("prometheus", "hitl-prometheus")
POSTGRES = kinds.DataSourceRef("grafana-postgresql-datasource", "hitl-postgres")

# Those of static/hitl.css on a dark ground, which is Grafana's.
RISKS = {"critical": "#ff9db4", "high": "#fbb37c", "medium": "#e5cd68", "low": "#aed694"}
QUIET = "#a3b1ac"
STATUSES = {
    "approved": "#86dba5",
    "rejected": RISKS["critical"],
    "expired": RISKS["high"],
    "cancelled": QUIET,
    "superseded": "#6d7b76",
}
PLAIN = "text"
SECONDS, SHARE, PER_HOUR = "s", "percentunit", "suffix: / h"

T = TypeVar("T")
P = TypeVar("P", stat.Panel, timeseries.Panel, piechart.Panel, bargauge.Panel, table.Panel)


@dataclass(frozen=True)
class Built(Builder[T], Generic[T]):
    """A part that is built already, where a builder is asked for."""

    part: T

    def build(self) -> T:
        """Return the part."""
        return self.part


@dataclass(frozen=True)
class SqlQuery(Dataquery):
    """A query of PostgreSQL, for which the library has no type."""

    sql: str

    def to_json(self) -> dict[str, object]:
        """Return what Grafana reads."""
        facts = {"format": "table", "rawQuery": True, "rawSql": self.sql, "editorMode": "code"}
        return {"refId": "A", "datasource": POSTGRES, **facts}


@dataclass(frozen=True)
class Box:
    """Where a panel is; x and y count from the upper left, and the dashboard is 24 wide."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Place:
    """Where a panel is and what it is about; links know it by its number."""

    number: int
    title: str
    box: Box
    description: str
    empty: str
    runbooks: Sequence[str]
    source: kinds.DataSourceRef = PROMETHEUS


def placed(panel: P, place: Place) -> P:
    """Give a panel its place, its words and its links."""
    panel.id(place.number).title(place.title).description(place.description)
    box = place.box
    panel.grid_pos(models.GridPos(h=box.height, w=box.width, x=box.x, y=box.y))
    panel.datasource(place.source).no_value(place.empty)
    panel.links([runbook(name) for name in place.runbooks])
    return panel


def runbook(name: str) -> dashboard.DashboardLink:
    """A link to the section of the runbooks for an alert."""
    address = f"${{documentation_url}}/docs/runbooks.md#{name.lower()}"
    return dashboard.DashboardLink(f"Runbook: {name}").url(address).target_blank(True)


def query(expression: str, legend: str, ref_id: str = "A") -> prometheus.Dataquery:
    """A series over the dashboard's range."""
    asked = prometheus.Dataquery().datasource(PROMETHEUS).ref_id(ref_id).range()
    return asked.expr(expression).legend_format(legend)


def at_once(expression: str, legend: str, ref_id: str = "A") -> prometheus.Dataquery:
    """A value at the end of the dashboard's range."""
    return query(expression, legend, ref_id).instant()


def steps(*bounds: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Colours from these values up; the first has no lower bound."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value, colour) for value, colour in bounds])
    )


def colour(fixed: str) -> dict[str, str]:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": fixed}


def override(**properties: object) -> list[models.DynamicConfigValue]:
    """Settings of one field; `__` stands for a dot."""
    return [
        models.DynamicConfigValue(name.replace("__", "."), value)
        for name, value in properties.items()
    ]


def coloured(panel: P, colours: dict[str, str]) -> P:
    """Give each series of that name its colour."""
    for name, fixed in colours.items():
        panel.override_by_name(name, override(color=colour(fixed)))
    return panel


def number(unit: str = "none", decimals: float = 0) -> stat.Panel:
    """A number that stands for itself."""
    return (
        stat.Panel()
        .unit(unit)
        .decimals(decimals)
        .graph_mode(kinds.BigValueGraphMode.NONE)
        .color_mode(kinds.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(steps((None, PLAIN)))
    )


def lines(unit: str, label: str) -> timeseries.Panel:
    """Lines over time that begin at 0, with a table of the latest and the highest below."""
    legend = common.VizLegendOptions().show_legend(True).placement(kinds.LegendPlacement.BOTTOM)
    return (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .axis_label(label)
        .interval("1m")
        .line_width(2)
        .fill_opacity(8)
        .show_points(kinds.VisibilityMode.NEVER)
        .thresholds(steps((None, PLAIN)))
        .legend(legend.display_mode(kinds.LegendDisplayMode.TABLE).calcs(["lastNotNull", "max"]))
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
    )


def with_limit(panel: timeseries.Panel, bound: float, above: str) -> timeseries.Panel:
    """Draw the bound from which an alert fires."""
    style = common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(steps((None, PLAIN), (bound, above))).thresholds_style(style)
