"""Writes Grafana's dashboard; `make dashboard` runs it.

Built with Grafana's own typed builders, so that a misspelt option is a type error here and not
something that Grafana ignores. Grafana reads the file, which is committed; a test compares.
"""

import argparse
import json
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from deploy.dashboard_panels import PANELS
from deploy.dashboard_parts import PROMETHEUS, Built

FILE = Path(__file__).parent.parent / "config/grafana/dashboards/hitl-approval-workflow.json"
# Where people read this repository in a browser: a stand-in, as in prometheus.yml.
DOCUMENTATION = "https://git.example.com/operations/approval-gateway/blob/main"
RANGES = {"6h": "Last 6 hours", "24h": "Last 24 hours", "7d": "Last 7 days"}


def rendered(documentation_url: str = DOCUMENTATION) -> str:
    """The dashboard as the file holds it."""
    built = (
        dashboard.Dashboard("Approval workflow")
        .uid("hitl-approval-workflow")
        .description("What waits for people's decision, for how long, and how it ends.")
        .tags(["approvals"])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .timepicker(_time_picker())
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(_runbooks())
        .with_variable(_choice("agent", "Agent", "hitl_approval_requests_created_total"))
        .with_variable(_choice("risk_level", "Risk level", "hitl_approval_backlog_total"))
        .with_variable(
            _choice("environment", "Environment", "hitl_approval_requests_created_total")
        )
        .with_variable(_hidden("documentation_url", documentation_url))
    )
    for panel in PANELS:
        built.with_panel(panel())
    return json.dumps(built.build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"


def _time_picker() -> dashboard.TimePicker:
    ranges = [
        dashboard.TimeOption().display(words).from_val(f"now-{span}").to("now")
        for span, words in RANGES.items()
    ]
    return dashboard.TimePicker().quick_ranges([*ranges]).refresh_intervals(["30s", "1m", "5m"])


def _runbooks() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Runbooks").type(models.DashboardLinkType.LINK).icon("doc")
    return link.url("${documentation_url}/docs/runbooks.md").target_blank(True)


def _choice(name: str, label: str, metric: str) -> dashboard.QueryVariable:
    """Any of a label's values, or all; also what has no value belongs to all."""
    everything = models.VariableOption(text=["All"], value=["$__all"], selected=True)
    asked = f"label_values({metric}, {name})"
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(PROMETHEUS)
        .query({"query": asked, "refId": f"{name}-values"})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


def _hidden(name: str, value: str) -> Built[models.VariableModel]:
    variable = dashboard.ConstantVariable(name).value(value).build()
    # No address in a link that somebody passes on may replace it.
    variable.skip_url_sync = True
    variable.hide = models.VariableHide.HIDE_VARIABLE
    variable.current = models.VariableOption(text=value, value=value, selected=False)
    return Built(variable)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Write Grafana's dashboard.")
    parser.add_argument(
        "--documentation-url",
        default=DOCUMENTATION,
        help="where people read this repository in a browser; links to runbooks begin with it",
    )
    FILE.write_text(rendered(parser.parse_args().documentation_url.rstrip("/")))


if __name__ == "__main__":
    main()
