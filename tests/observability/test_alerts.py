"""The nine alerts: valid, tested each for itself, explained, and told to whom they concern."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.prometheus import Alertmanager
from tests.observability import prometheus_files as files
from tests.observability.board import board
from tests.tools import require_tool
from tests.waiting import eventually

NAMES = {
    "CriticalApprovalStuck",
    "HighApprovalBacklog",
    "ApprovalTimeoutRateHigh",
    "ApprovalLatencyHigh",
    "ApprovalRejectionRateHigh",
    "NoApprovalsResolved",
    "ApprovalBacklogByAgent",
    "IntegrationDeliveryFailing",
    "GatewayDown",
}
SEVERITIES = {"critical", "warning", "info"}
_SERIES = re.compile(r"\bhitl_\w+")
_RECORDED = re.compile(r"\w+:\w+:\w+")
# `max by (these labels) (function(metric{matchers}`, or `min`, without blanks.
_TOLD_APART = re.compile(r"m(?:ax|in)(?:by\(([^)]*)\))?\((?:\w+\()*(hitl_\w+)(\{[^}]*\})?")
# What is only asked whether it is there needs no number.
_ONLY_THERE = re.compile(r"(?:(?:unless|and)on\(\w*\)|absent\()\w+\(hitl_")


def run(tool: str, package: str, *arguments: str | Path) -> str:
    """What a tool prints; it must be content."""
    program = require_tool(tool, f"on Debian and Ubuntu `apt-get install {package}`")
    done = subprocess.run(  # noqa: S603 - an installed program on our own files
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def promtool(*arguments: str | Path) -> str:
    """What promtool prints; it must be content."""
    return run("promtool", "prometheus", *arguments)


def amtool(*arguments: str | Path) -> str:
    """What amtool prints; it must be content."""
    return run("amtool", "prometheus-alertmanager", *arguments)


def test_prometheus_takes_its_configuration_with_all_rules() -> None:
    said = promtool("check", "config", files.PROMETHEUS)
    assert "2 rule files found" in said
    assert "WARNING" not in said


@pytest.mark.parametrize("path", [files.ALERTS, files.RECORDING], ids=lambda path: path.name)
def test_promtool_has_nothing_to_say_against_the_rules(path: Path) -> None:
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", path)


@pytest.mark.parametrize("path", files.UNIT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_when_they_must_and_only_then(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path)


def test_every_alert_has_unit_tests_of_its_own() -> None:
    tested = {
        case["alertname"]
        for path in files.UNIT_TESTS
        for test in files.load(path)["tests"]
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert tested == NAMES


def test_every_recorded_number_has_been_computed_once() -> None:
    computed = {
        name
        for path in files.UNIT_TESTS
        for test in files.load(path)["tests"]
        for case in test.get("promql_expr_test", [])
        if case.get("exp_samples")
        for name in _RECORDED.findall(case["expr"])
    }
    assert computed == {rule["record"] for rule in files.rules(files.RECORDING)}


def test_there_are_exactly_nine_alerts_evaluated_every_minute() -> None:
    (group,) = files.load(files.ALERTS)["groups"]
    assert group["interval"] == "1m"
    assert sorted(rule["alert"] for rule in group["rules"]) == sorted(NAMES)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_an_alert_says_how_bad_it_is_what_is_wrong_and_where_help_is(name: str) -> None:
    alert = files.alerts()[name]
    assert alert["labels"]["severity"] in SEVERITIES
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url", "dashboard_url"}
    assert re.search(r"\$value \| humanize", alert["annotations"]["description"])
    path, anchor = alert["annotations"]["runbook_url"].rsplit("#", 1)
    assert path.endswith("/docs/runbooks.md")
    assert anchor == name.lower()
    assert anchor in files.anchors(files.RUNBOOKS.read_text())
    assert alert["annotations"]["dashboard_url"].endswith(f"/d/{board()['uid']}")


def test_every_metric_that_a_rule_reads_is_one_that_the_gateway_documents() -> None:
    known = files.documented_metrics()
    recorded = {rule["record"] for rule in files.rules(files.RECORDING)}
    assert len(known) >= 18
    for rule in [*files.rules(files.ALERTS), *files.rules(files.RECORDING)]:
        expression = rule["expr"]
        assert set(_RECORDED.findall(expression)) <= recorded
        read = {files.metric(name) for name in _SERIES.findall(_RECORDED.sub("", expression))}
        assert read <= set(known), rule


def test_no_rule_takes_the_copies_of_several_instances_for_more() -> None:
    known = files.documented_metrics()
    for rule in [*files.rules(files.ALERTS), *files.rules(files.RECORDING)]:
        expression = re.sub(r"\s", "", _RECORDED.sub("", rule["expr"]))
        told_apart = list(_TOLD_APART.finditer(expression))
        only_there = _ONLY_THERE.findall(expression)
        assert len(told_apart) + len(only_there) == len(_SERIES.findall(expression)), rule
        for by, series, matchers in (match.groups(default="") for match in told_apart):
            # Without labels it is the greatest of all, which no copy changes.
            if by:
                fixed = set(re.findall(r'(\w+)="', matchers))
                labels = set(by.split(",")) - {"le"} | fixed
                assert labels == known[files.metric(series)].labels, (rule, series)


def test_alertmanager_takes_its_configuration_and_routes_by_severity() -> None:
    assert "SUCCESS" in amtool("check-config", files.ALERTMANAGER)
    receivers = {"critical": "on-call", "warning": "team", "info": "journal"}
    assert {alert["labels"]["severity"] for alert in files.alerts().values()} == set(receivers)
    for severity, receiver in receivers.items():
        config = f"--config.file={files.ALERTMANAGER}"
        arguments = ("config", "routes", "test", config, f"--verify.receivers={receiver}")
        amtool(*arguments, f"severity={severity}", "alertname=Whatever")


def test_the_shipped_receivers_reach_nobody_and_hold_no_secret() -> None:
    for receiver in files.load(files.ALERTMANAGER)["receivers"]:
        assert set(receiver) == {"name", "webhook_configs"}
        for webhook in receiver["webhook_configs"]:
            assert set(webhook) == {"url", "send_resolved"}
            assert webhook["url"].startswith("http://127.0.0.1:")


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    """A running Alertmanager with the shipped configuration, which knows of no alert."""
    server = Alertmanager.start(tmp_path, lambda _: files.load(files.ALERTMANAGER))
    yield server
    server.stop()


def fire(alertmanager: Alertmanager, *names: str, **more: str) -> None:
    """Let these alerts fire, with the labels that their rules give them, and more."""
    alerts = files.alerts()
    alertmanager.post(*({"alertname": name, **alerts[name]["labels"], **more} for name in names))


def test_the_worse_holds_back_the_lesser_of_its_area_and_a_gateway_that_is_down_all_others(
    alertmanager: Alertmanager,
) -> None:
    # What others watch is nothing that the gateway explains, whatever its severity.
    others = {"DiskFull": {"severity": "warning"}, "DatabaseDown": {"severity": "critical"}}
    alertmanager.post(*({"alertname": name, **labels} for name, labels in others.items()))
    fire(alertmanager, *(NAMES - {"GatewayDown", "CriticalApprovalStuck"}))
    told = {
        "HighApprovalBacklog",
        "ApprovalTimeoutRateHigh",
        "ApprovalLatencyHigh",
        "NoApprovalsResolved",
        "ApprovalBacklogByAgent",
        "IntegrationDeliveryFailing",
    }
    eventually(
        lambda: alertmanager.free() - others.keys() == told,
        "a rejection rate waits behind the flood",
    )
    fire(alertmanager, "CriticalApprovalStuck")
    told = {"CriticalApprovalStuck", "ApprovalBacklogByAgent", "IntegrationDeliveryFailing"}
    eventually(
        lambda: alertmanager.free() - others.keys() == told, "what waits waits behind what is stuck"
    )
    fire(alertmanager, "GatewayDown", part="channels")
    told = {"CriticalApprovalStuck", "GatewayDown"}
    eventually(
        lambda: alertmanager.free() - others.keys() == told,
        "people may not be told of what is stuck",
    )
    fire(alertmanager, "GatewayDown", part="web")
    eventually(
        lambda: alertmanager.free() - others.keys() == {"GatewayDown"},
        "all wait behind the gateway",
    )
    assert alertmanager.free() >= others.keys()
