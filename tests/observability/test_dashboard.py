"""Grafana's dashboard as it is committed: what it promises to show, and to whom it leads."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
import yaml
from psycopg.rows import dict_row

from approvals.models import ApprovalRequest, MetricLabel
from deploy.dashboard import rendered
from hitl_project.embedded import Postgres
from tests.approvals.scenes import DELETE, DEPLOY, MIGRATE, cancel, opened, pass_deadline
from tests.observability import prometheus_files as files
from tests.observability.board import (
    FILE,
    VARIABLES,
    active_approvals_sql,
    board,
    documented_labels,
    expressions,
    panels,
)
from tests.observability.dashboard_role import SITE, dashboard_role
from tests.warm import ROOT

TITLES = [
    "Queue overview",
    "Critical backlog",
    "Approval rate (last hour)",
    "p95 latency",
    "Backlog by risk",
    "Latency percentiles p50/p95/p99",
    "Outcomes",
    "Requests by agent",
    "Timeout rate",
    "Creation rate",
    "Resolution rate",
    "Active Approvals",
]
CSS = (ROOT / "static/hitl.css").read_text()
PROVISIONED = ROOT / "config/grafana/provisioning"


def test_the_committed_file_is_what_the_generator_writes() -> None:
    assert FILE.read_text() == rendered(), "Run `make dashboard` and commit what it writes."


def test_it_has_its_address_and_is_read_anew_every_30_seconds_over_three_ranges() -> None:
    found = board()
    assert (found["uid"], found["refresh"]) == ("hitl-approval-workflow", "30s")
    assert found["time"] == {"from": "now-6h", "to": "now"}
    spans = [(span["from"], span["to"]) for span in found["timepicker"]["quick_ranges"]]
    assert spans == [("now-6h", "now"), ("now-24h", "now"), ("now-7d", "now")]
    assert "30s" in found["timepicker"]["refresh_intervals"]


def test_it_has_twelve_panels_each_with_a_number_and_a_place_of_its_own() -> None:
    found = board()["panels"]
    assert {panel["title"] for panel in found} == {*TITLES}
    assert sorted(panel["id"] for panel in found) == [*range(1, 13)]
    taken: set[tuple[int, int]] = set()
    for panel in found:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len(taken) == 24 * (1 + max(y for _, y in taken)), "There is a hole."


def test_each_panel_says_what_it_shows_in_which_unit_and_what_it_means_when_empty() -> None:
    for title, panel in panels().items():
        defaults = panel["fieldConfig"]["defaults"]
        assert len(panel["description"]) > 40, title
        assert len(defaults["noValue"]) > 5, title
        if panel["type"] != "table":
            assert defaults["unit"], title
            assert "decimals" in defaults or defaults["unit"] in {"s", "percentunit"}, title


def test_each_panel_leads_to_the_runbook_of_an_alert() -> None:
    alerts = files.alerts()
    for title, panel in panels().items():
        assert panel["links"], title
        for link in panel["links"]:
            name = link["title"].removeprefix("Runbook: ")
            assert name in alerts
            assert link["url"] == f"${{documentation_url}}/docs/runbooks.md#{name.lower()}"
    (variable,) = [v for v in board()["templating"]["list"] if v["name"] == "documentation_url"]
    assert (variable["type"], variable["hide"], variable["skipUrlSync"]) == ("constant", 2, True)
    assert "https://here.example.org" in rendered("https://here.example.org")


def test_agent_risk_level_and_environment_can_be_chosen_several_at_a_time_or_all() -> None:
    labels = documented_labels()
    found = {v["name"]: v for v in board()["templating"]["list"] if v["type"] == "query"}
    assert tuple(found) == VARIABLES
    for name, variable in found.items():
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (
            *(True, True, ".*"),
        )
        assert variable["current"]["value"] == ["$__all"]
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
        assert asked is not None
        assert asked[2] == name
        assert name in labels[asked[1]]


def test_each_choice_narrows_every_panel_whose_metric_knows_it() -> None:
    labels = documented_labels()
    asked = expressions()
    assert {expression.panel for expression in asked} == {*TITLES} - {"Active Approvals"}
    for expression in asked:
        read = list(expression.selectors())
        assert {*re.findall(r"hitl_\w+", expression.text)} == {metric for metric, _ in read}
        for metric, matchers in read:
            # Which instance was asked when is told by one series; how it is named is no choice.
            if matchers == 'risk_level="critical"':
                assert metric == "hitl_approval_backlog_total"
                continue
            for name in VARIABLES:
                narrowed = f'{name}=~"${name}"' in matchers
                assert narrowed == (name in labels[metric]), (expression.panel, metric, name)
    sql = panels()["Active Approvals"]["targets"][0]["rawSql"]
    assert all(f"${{{name}:regex}}" in sql for name in VARIABLES)


def test_every_metric_is_in_the_table_of_the_readme() -> None:
    read = {metric for expression in expressions() for metric, _ in expression.selectors()}
    assert len(read) >= 7
    assert read - set(documented_labels()) == set()


def test_risks_have_the_colours_of_the_pages() -> None:
    wanted = {
        risk: str(re.search(rf"--{risk}: light-dark\(#\w+, (#\w+)\);", CSS)[1])  # type: ignore[index]
        for risk in ("critical", "high", "medium", "low")
    }
    for title in ("Backlog by risk", "Creation rate"):
        fixed = {
            rule["matcher"]["options"]: change["value"]["fixedColor"]
            for rule in panels()[title]["fieldConfig"]["overrides"]
            for change in rule["properties"]
            if change["id"] == "color"
        }
        assert fixed == wanted, title
    ((mapping,),) = [
        change["value"]
        for rule in panels()["Active Approvals"]["fieldConfig"]["overrides"]
        for change in rule["properties"]
        if change["id"] == "mappings"
    ]
    assert {risk: shown["color"] for risk, shown in mapping["options"].items()} == wanted


def test_the_sources_are_provisioned_under_the_names_that_panels_use_and_hold_no_password() -> None:
    sources = yaml.safe_load((PROVISIONED / "datasources/hitl.yml").read_text())["datasources"]
    known = {(source["type"], source["uid"]) for source in sources}
    used = {
        (each["datasource"]["type"], each["datasource"]["uid"])
        for panel in board()["panels"]
        for each in (panel, *panel["targets"])
    }
    used |= {
        (variable["datasource"]["type"], variable["datasource"]["uid"])
        for variable in board()["templating"]["list"]
        if variable["type"] == "query"
    }
    assert used == known
    (postgres,) = [source for source in sources if "postgres" in source["type"]]
    assert postgres["secureJsonData"] == {"password": "$DASHBOARD_DATABASE_PASSWORD"}
    assert postgres["user"] == "$DASHBOARD_DATABASE_USER"
    (provider,) = yaml.safe_load((PROVISIONED / "dashboards/hitl.yml").read_text())["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)


# Active Approvals, asked of the database as the dashboard's role


@pytest.fixture(scope="module")
def reader_url(django_db_setup: None, postgres_server: Postgres) -> Iterator[str]:
    """Where the dashboard's role connects."""
    with dashboard_role(postgres_server, "grafana_board") as address:
        yield address


def listed(reader_url: str, **chosen: str) -> list[dict[str, Any]]:
    """The rows of the panel."""
    with psycopg.connect(reader_url) as connected, connected.cursor(row_factory=dict_row) as cursor:
        cursor.execute(active_approvals_sql(**chosen))
        return cursor.fetchall()


@pytest.fixture
def waiting(transactional_db: None) -> dict[str, UUID]:
    """Three that wait, the most severe last, one past its deadline and one that was withdrawn."""
    for label, values in (
        ("agent", ["cicd", "o'brien (beta) $value$"]),
        ("environment", ["production", "staging"]),
    ):
        MetricLabel.objects.bulk_create([MetricLabel(label=label, value=v) for v in values])
    staging = opened(MIGRATE, agent_name="o'brien (beta) $value$")
    nowhere = opened({"operation": "db_migrate"}, agent_name="unheard-of")
    production = opened(
        DELETE,
        github_repo="acme/shop",
        pr_number=7,
        pr_url="https://github.com/acme/shop/pull/7",
    )
    ApprovalRequest.objects.filter(pk=production).update(
        linear_issue_id="CHEF-271", linear_issue_url="https://linear.app/chef/issue/CHEF-271"
    )
    pass_deadline(opened(DEPLOY))
    cancel(opened(DEPLOY))
    return {"staging": staging, "nowhere": nowhere, "production": production}


def test_active_approvals_lists_each_request_that_waits_the_most_severe_first(
    reader_url: str, waiting: dict[str, UUID]
) -> None:
    rows = listed(reader_url)
    pages = [f"{SITE}/approvals/{waiting[name]}/" for name in ("production", "staging", "nowhere")]
    assert rows[0]["page_url"] == pages[0]
    assert {row["page_url"] for row in rows} == {*pages}
    first = rows[0]
    assert (first["risk_level"], first["operation"], first["agent"], first["environment"]) == (
        *("critical", "delete_bucket", "cicd", "production"),
    )
    assert all(0 <= row["age_seconds"] < 60 < row["left_seconds"] for row in rows)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"agent": "cicd"}, {"production"}),
        ({"agent": r"(cicd|o'brien \(beta\) \$value\$)"}, {"production", "staging"}),
        ({"agent": "other"}, {"nowhere"}),
        ({"agent": "c"}, set()),
        ({"environment": "staging"}, {"staging"}),
        ({"environment": "none"}, {"nowhere"}),
        ({"risk_level": "critical"}, {"production"}),
        ({"risk_level": "(critical|low)", "environment": "staging"}, set()),
    ],
)
def test_active_approvals_lists_what_was_chosen(
    reader_url: str, waiting: dict[str, UUID], chosen: dict[str, str], expected: set[str]
) -> None:
    found = {row["page_url"] for row in listed(reader_url, **chosen)}
    assert found == {f"{SITE}/approvals/{waiting[name]}/" for name in expected}


def test_active_approvals_links_to_the_page_linear_and_the_pull_request(
    reader_url: str, waiting: dict[str, UUID]
) -> None:
    overrides = panels()["Active Approvals"]["fieldConfig"]["overrides"]
    links = {
        rule["matcher"]["options"]: change["value"][0]["url"]
        for rule in overrides
        for change in rule["properties"]
        if change["id"] == "links"
    }
    hidden = {
        rule["matcher"]["options"]
        for rule in overrides
        if {change["id"] for change in rule["properties"]} & {"custom.hidden"}
    }
    assert set(links) == {"operation", "linear", "pull_request"}
    first, *rest = listed(reader_url)
    led = {column: _address(first, link) for column, link in links.items()}
    assert led == {
        "operation": f"{SITE}/approvals/{waiting['production']}/",
        "linear": "https://linear.app/chef/issue/CHEF-271",
        "pull_request": "https://github.com/acme/shop/pull/7",
    }
    assert (first["linear"], first["pull_request"]) == ("CHEF-271", "acme/shop#7")
    # What is not there has no text either, so that there is nothing to click on.
    for row in rest:
        assert [row["linear"], _address(row, links["linear"])] == ["", ""]
        assert [row["pull_request"], _address(row, links["pull_request"])] == ["", ""]
    assert hidden == {"page_url", "linear_url", "pull_request_url"}
    assert hidden < set(first)


def _address(row: dict[str, Any], link: str) -> str:
    column = re.fullmatch(r"\$\{__data\.fields\.(\w+)\}", link)
    assert column is not None
    return str(row[column[1]])
