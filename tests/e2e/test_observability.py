"""What Prometheus, Alertmanager and Grafana are told is what the tables say, and what they make of
it is right: two web servers, two workers, the shipped files, real servers on the other side."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import httpx
import psycopg
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from hitl_project import children
from hitl_project.embedded import Postgres
from tests.e2e.gateway import Gateway
from tests.e2e.hour import RISKS, STUCK_SECONDS, Hour, lead_hour
from tests.e2e.prometheus import (
    Alertmanager,
    Labels,
    Prometheus,
    hasty,
    hasty_routes,
    labels,
)
from tests.e2e.stack import WORKER, Stack, soon
from tests.e2e.traffic import Traffic
from tests.e2e.watched import Row, Watched, falls_of, watch
from tests.observability import prometheus_files as files
from tests.observability.board import active_approvals_sql, expressions, panels
from tests.waiting import answers

pytestmark = pytest.mark.timeout(300)

LIVES = 500
RUNS = 12
# More than one worker has processes, so that both of them act.
AT_ONCE = int(WORKER[-1]) + 1
SEED = 20261122
FINAL = ("approved", "rejected", "expired", "cancelled", "superseded")
BOUNDS_SECONDS = (30, 60, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
SCRAPE_SECONDS = 0.1
PANELS_SECONDS = 2
# By panel, then the rows of the table, and how many seconds all of it took.
Shown = tuple[dict[str, list[dict[Labels, float]]], list[Row], float]


@dataclass(frozen=True)
class Lived:
    """Five hundred lives that have been led, and every counter that was seen to fall."""

    traffic: Traffic
    ends: Counter[str]
    fallen: list[str]
    scrapes: int
    rolled_up: int


@pytest.fixture(scope="module")
def watched(
    postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A gateway of its own, because every request of it is counted; Linear is off, to be quick."""
    folder = tmp_path_factory.mktemp("watched")
    stack = Stack.start(folder, postgres_server, "watched", without=["LINEAR_API_KEY"])
    try:
        gateway = Gateway(stack)
        port = children.free_port()
        stack.run("web-2", "web", "--port", str(port))
        stack.run("worker-2", *WORKER)
        gateway.create_people()
        stack.wait_until_ready()
        urls = (stack.url, f"http://127.0.0.1:{port}")
        soon(lambda: answers(f"{urls[1]}/healthz"), "the second web server answers")
        yield Watched(gateway, urls)
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def lived(watched: Watched) -> Lived:
    """Requests and runs on both web servers; a worker dies among them.

    Scrapes go on throughout, and so do roll-ups while the requests live.
    """
    gateway, stack = watched.gateway, watched.gateway.stack
    traffic = Traffic(gateway, watched.urls)
    lived, over = Event(), Event()
    with ThreadPoolExecutor(len(watched.urls) + 1) as pool:
        watchers = [pool.submit(watch, url, over) for url in watched.urls]
        try:
            # Before anything is rolled up, and made to look old for that: an approval that is too
            # old is not acted upon.
            _execute_at_once(watched, AT_ONCE)
            runs = [gateway.ask("deploy") for _ in range(RUNS - AT_ONCE)]
            rolling = pool.submit(watched.roll_up_until, lived)
            ends = traffic.live(LIVES, SEED, lambda: stack.kill("worker"))
            lived.set()
            rolling.result()
            for run in runs:
                gateway.approve(run.request())
            for run in runs:
                run.wait("completed")
            soon(
                lambda: watched.standing("expired") == ends["expired"],
                "what nobody decides expires",
            )
        finally:
            lived.set()
            over.set()
    stack.start_part("worker")
    ends["approved"] += RUNS
    return Lived(traffic, ends, *falls_of(watchers), watched.rolled_up())


def _execute_at_once(watched: Watched, number: int) -> None:
    """Have so many runs act at the same time, and wait until they are over."""
    gateway, stack = watched.gateway, watched.gateway.stack
    runs = [gateway.ask("repair") for _ in range(number)]
    gates = [stack.close_gate(run.label) for run in runs]
    for run in runs:
        assert gateway.approve(run.request()).status_code == 200

    def all_act() -> bool:
        # A worker without a free process may hold the hint that the other one waits for.
        stack.send_task("approvals.tasks.deliver", "runs", "workflow")
        return all(run.effects() for run in runs)

    soon(all_act, f"{number} runs act at once")
    for gate in gates:
        gate.open()
    for run in runs:
        run.wait("completed")


@pytest.fixture(scope="module")
def hour(
    watched: Watched, lived: Lived, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hour]:
    """The scripted hour, scraped minute by minute and written into a Prometheus."""
    hour = lead_hour(watched, lived.traffic, tmp_path_factory.mktemp("hour"))
    yield hour
    hour.prometheus.stop()


def test_metrics_endpoint_health(watched: Watched, lived: Lived) -> None:
    """Both web servers tell the same, quickly, in both formats, as Prometheus wants it."""
    page = httpx.get(f"{watched.urls[0]}/metrics", trust_env=False)
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert page.elapsed.total_seconds() < SCRAPE_SECONDS * 5  # two busy cores; alone it is a fifth
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    page = httpx.get(f"{watched.urls[0]}/metrics", headers=accept, trust_env=False)
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    families = openmetrics_families(page.text)  # type: ignore[no-untyped-call]
    assert "hitl_build_info" in {sample.name for family in families for sample in family.samples}
    found = watched.scrape()
    assert found.value("hitl_runs_ended_total", {"status": "completed"}) == RUNS
    assert found.value("hitl_executions_total", {"outcome": "succeeded"}) == RUNS
    assert found.value("hitl_decision_to_resume_seconds_count", {"status": "approved"}) == RUNS
    assert lived.scrapes > 20
    assert lived.rolled_up > LIVES / 4
    assert lived.fallen == []


def test_creation_metrics(watched: Watched, lived: Lived) -> None:
    """Every request that was opened counts once, whoever opened it and wherever."""
    table = watched.count(
        "SELECT agent_name, risk_level, environment, count(*) FROM approval_requests GROUP BY 1,2,3"
    )
    assert table.total() == LIVES + RUNS
    labels = ("agent", "risk_level", "environment")
    told = watched.scrape().counted("hitl_approval_requests_created_total", labels)
    assert told == table


def test_resolution_metrics(watched: Watched, lived: Lived) -> None:
    """Every end, every timeout and every latency is told as the table has it."""
    table = watched.count(
        "SELECT agent_name, risk_level, status, count(*) FROM approval_requests"
        " WHERE status <> 'pending' GROUP BY 1, 2, 3"
    )
    by_status: Counter[str] = Counter()
    for (_, _, status), number in table.items():
        by_status[status] += number
    expected = {how: lived.ends[how] for how in FINAL if lived.ends[how]}
    assert by_status == expected
    found = watched.scrape()
    labels = ("agent", "risk_level", "status")
    assert found.counted("hitl_approval_requests_resolved_total", labels) == table
    timeouts = found.counted("hitl_approval_timeouts_total", ("agent", "risk_level"))
    assert timeouts == Counter({k[:2]: n for k, n in table.items() if k[2] == "expired"})
    assert found.counted("hitl_approval_latency_seconds_count", labels) == table
    for bound in BOUNDS_SECONDS:
        within = watched.count(
            "SELECT agent_name, risk_level, status, count(*) FROM approval_requests"
            " WHERE decided_at - created_at <= interval '1 s' * %s GROUP BY 1, 2, 3",
            bound,
        )
        told = found.counted("hitl_approval_latency_seconds_bucket", labels, le=str(float(bound)))
        assert told == within, bound
    (total,) = watched.gateway.stack.rows(
        "SELECT extract(epoch FROM sum(decided_at - created_at))::float8 AS seconds"
        " FROM approval_requests WHERE status <> 'pending'"
    )
    sums = [s.value for s in found.samples if s.name == "hitl_approval_latency_seconds_sum"]
    assert sum(sums) == pytest.approx(total["seconds"], abs=0.01)


def test_backlog_gauge(watched: Watched, lived: Lived) -> None:
    """It is what waits at each level, goes up with a request and down with its decision."""

    def told() -> dict[str, float]:
        found = watched.scrape()
        name = "hitl_approval_backlog_total"
        return {risk: found.value(name, {"risk_level": risk}) for risk in RISKS}

    table = watched.count(
        "SELECT risk_level, count(*) FROM approval_requests WHERE status = 'pending' GROUP BY 1"
    )
    before = told()
    assert before == {risk: table[(risk,)] for risk in RISKS}
    request_id = lived.traffic.open("cicd", "deploy", "production")
    assert told() == before | {"critical": before["critical"] + 1}
    lived.traffic.end(request_id, "rejected")
    assert told() == before


def test_alert_rules(watched: Watched, hour: Hour, tmp_path: Path) -> None:
    """After the hour each alert says what it has to; one is pending, fires, and is over."""
    rules = {name: rule["expr"] for name, rule in files.alerts().items()}
    told = {name: hour.prometheus.query(rule, hour.end) for name, rule in rules.items()}
    silent: dict[Labels, float] = {}
    assert told == {
        "CriticalApprovalStuck": {
            labels(risk_level="critical"): pytest.approx(STUCK_SECONDS, abs=120)
        },
        "HighApprovalBacklog": {labels(): hour.pending},
        "ApprovalTimeoutRateHigh": {labels(): pytest.approx(6 / 42, abs=0.0001)},
        "ApprovalLatencyHigh": {labels(): 5400},
        "ApprovalRejectionRateHigh": {labels(): pytest.approx(14 / 42, abs=0.0001)},
        "NoApprovalsResolved": silent,
        "ApprovalBacklogByAgent": {labels(agent="cicd", kind="share"): hour.pending_of["cicd"]},
        "IntegrationDeliveryFailing": {labels(channel="github", kind="given_up"): 1},
        "GatewayDown": silent,
    }
    # It is silent because people decide, and not because it looks at what is not there.
    people_decide = rules["NoApprovalsResolved"].replace("> 7200", "< 7200").replace("== 0", "> 0")
    (age,) = hour.prometheus.query(people_decide, hour.end).values()
    assert age == pytest.approx(STUCK_SECONDS, abs=120)
    alertmanager = Alertmanager.start(tmp_path, hasty_routes)
    file = hasty(tmp_path / "config", watched.urls, alertmanager.url)
    prometheus = Prometheus.start(tmp_path, file)
    try:
        _stuck_until_decided(hour, prometheus, alertmanager)
        _down_until_beat_is_back(watched, prometheus)
    finally:
        prometheus.stop()
        alertmanager.stop()


def _stuck_until_decided(hour: Hour, prometheus: Prometheus, alertmanager: Alertmanager) -> None:
    """Follow one alert from pending to resolved, and what the receiver is told of it."""
    name = "CriticalApprovalStuck"
    states: list[str] = []

    def moved_to(state: str) -> bool:
        states.extend(alert["state"] for alert in prometheus.alerts(name))
        return state in states

    soon(lambda: moved_to("pending"), f"{name} is pending")
    soon(lambda: moved_to("firing"), f"{name} fires")
    assert states[0] == "pending"
    soon(lambda: "firing" in alertmanager.states(name), f"the receiver is told that {name} fires")
    (alert,) = alertmanager.active(name)
    assert alert["labels"]["severity"] == "critical"
    assert [receiver["name"] for receiver in alert["receivers"]] == ["on-call"]
    hour.traffic.end(hour.stuck, "rejected")
    soon(lambda: prometheus.alerts(name) == [], f"{name} no longer fires")
    soon(
        lambda: alertmanager.states(name)[-1] == "resolved",
        f"the receiver is told that {name} is over",
    )


def _down_until_beat_is_back(watched: Watched, prometheus: Prometheus) -> None:
    """Stop beat, and follow the alert until it sweeps again."""
    stack = watched.gateway.stack
    stack.kill("beat")

    def down() -> list[tuple[str, str]]:
        alerts = prometheus.alerts("GatewayDown")
        return [(alert["labels"]["part"], alert["state"]) for alert in alerts]

    def fires() -> bool:
        # Each time, because a sweep that beat has asked for may still be on its way.
        watched.age_heartbeat("sweeps", "10 min")
        return down() == [("sweeps", "firing")]

    try:
        soon(fires, "GatewayDown fires about what sweeps")
    finally:
        stack.start_part("beat")
    soon(lambda: down() == [], "GatewayDown no longer fires")


def test_dashboard(watched: Watched, hour: Hour) -> None:
    """Every panel shows what happened in the hour, all of them soon; the table, what waits."""
    with watched.as_grafana() as database:
        for _ in range(3):  # since other tests use the machine meanwhile
            shown, rows, took_seconds = _show(hour, database)
            if took_seconds < PANELS_SECONDS:
                break
    assert took_seconds < PANELS_SECONDS
    assert shown == hour.panels()
    assert {*shown, "Active Approvals"} == panels().keys()
    assert len(rows) == watched.standing("pending")
    first = rows[0]
    assert (first["risk_level"], first["operation"], first["agent"]) == (
        "critical",
        "deploy",
        "cicd",
    )
    assert "deploy" in watched.gateway.browser().read(first["page_url"])


def _show(hour: Hour, database: "psycopg.Connection[Row]") -> Shown:
    """What each panel's expressions and the table's statement give, as Grafana asks for them."""
    began = time.monotonic()
    shown: dict[str, list[dict[Labels, float]]] = {}
    for expression in expressions():
        text = expression.filled("6h")
        if expression.at_once:
            found = hour.prometheus.query(text, hour.end)
        else:
            found = hour.prometheus.last(text, hour.end - 6 * 3600, hour.end, 60)
        shown.setdefault(expression.panel, []).append(found)
    rows = database.execute(active_approvals_sql().encode()).fetchall()
    return shown, rows, time.monotonic() - began
