"""What Prometheus, Alertmanager and Grafana are told is what the tables say, and what they make of
it is right: two web servers, two workers, the shipped files, real servers on the other side."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from hitl_project import children
from hitl_project.embedded import SUPERUSER, Postgres
from tests.e2e.gateway import Gateway
from tests.e2e.hour import EXPIRING, STUCK_SECONDS, Hour, lead_hour
from tests.e2e.metrics import Scrape, series
from tests.e2e.prometheus import (
    STEP_SECONDS,
    Alertmanager,
    Labels,
    Prometheus,
    hasty,
    hasty_routes,
)
from tests.e2e.stack import WORKER, Stack, soon
from tests.e2e.traffic import Traffic
from tests.e2e.watched import Watched
from tests.observability import prometheus_files as files
from tests.observability.board import active_approvals_sql, expressions, panels
from tests.waiting import answers

pytestmark = pytest.mark.timeout(300)

LIVES = 500
RUNS = 12
SEED = 20261122
FINAL = ("approved", "rejected", "expired", "cancelled", "superseded")
RISKS = ("low", "medium", "high", "critical")
BOUNDS_SECONDS = (30, 60, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
SCRAPE_SECONDS = 0.1
PANELS_SECONDS = 2
Row = dict[str, Any]
# By panel, then the rows of the table, and how many seconds all of it took.
Shown = tuple[dict[str, list[dict[Labels, float]]], list[Row], float]
_COUNTER = re.compile(r"(?!hitl_approval_backlog_total)\w+(_total|_bucket|_count|_sum)\b")


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

    Scrapes go on throughout, and so do roll-ups until the runs go on.
    """
    gateway, stack = watched.gateway, watched.gateway.stack
    traffic = Traffic(gateway, watched.urls)
    lived, over = Event(), Event()
    with ThreadPoolExecutor(len(watched.urls) + 1) as pool:
        watchers = [pool.submit(_watch, url, over) for url in watched.urls]
        rolling = pool.submit(_roll_up, watched, lived)
        try:
            runs = [gateway.ask("deploy") for _ in range(RUNS)]
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
    return Lived(traffic, ends, *_findings(watchers), watched.rolled_up())


@pytest.fixture(scope="module")
def hour(
    watched: Watched, lived: Lived, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Hour]:
    """The scripted hour, scraped minute by minute and written into a Prometheus."""
    folder = tmp_path_factory.mktemp("hour")
    end = float(int(time.time()) // STEP_SECONDS * STEP_SECONDS)
    stuck = lead_hour(watched, lived.traffic, folder, end)
    file = folder / "prometheus.yml"
    file.write_text("global: {}\n")
    prometheus = Prometheus.start(folder, file)
    waiting = watched.count(
        "SELECT agent_name, risk_level, count(*) FROM approval_requests"
        " WHERE status = 'pending' GROUP BY 1, 2"
    )
    pending_of: Counter[str] = Counter()
    pending_at: Counter[str] = Counter()
    for (agent, risk), number in waiting.items():
        pending_of[agent] += number
        pending_at[risk] += number
    (soon_over,) = watched.gateway.stack.rows(
        "SELECT count(*) AS number FROM approval_requests"
        " WHERE status = 'pending' AND expires_at < clock_timestamp() + interval '1 h'"
    )
    yield Hour(
        prometheus,
        end,
        lived.traffic,
        stuck,
        waiting.total(),
        pending_of,
        pending_at,
        soon_over["number"],
    )
    prometheus.stop()


def labels(**pairs: str) -> Labels:
    """The labels of one series."""
    return frozenset(pairs.items())


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
    told = _counted(watched.scrape(), "hitl_approval_requests_created_total", labels)
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
    assert _counted(found, "hitl_approval_requests_resolved_total", labels) == table
    timeouts = _counted(found, "hitl_approval_timeouts_total", ("agent", "risk_level"))
    assert timeouts == Counter({k[:2]: n for k, n in table.items() if k[2] == "expired"})
    assert _counted(found, "hitl_approval_latency_seconds_count", labels) == table
    for bound in BOUNDS_SECONDS:
        within = watched.count(
            "SELECT agent_name, risk_level, status, count(*) FROM approval_requests"
            " WHERE decided_at - created_at <= interval '1 s' * %s GROUP BY 1, 2, 3",
            bound,
        )
        told = _counted(found, "hitl_approval_latency_seconds_bucket", labels, le=str(float(bound)))
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
    told = {
        name: hour.prometheus.query(rule["expr"], hour.end) for name, rule in files.alerts().items()
    }
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
    alertmanager = Alertmanager.start(tmp_path, hasty_routes)
    file = hasty(tmp_path / "config", watched.urls, alertmanager.url)
    prometheus = Prometheus.start(tmp_path, file)
    try:
        name = "CriticalApprovalStuck"
        states: list[str] = []

        def moved_to(state: str) -> bool:
            states.extend(alert["state"] for alert in prometheus.alerts(name))
            return state in states

        soon(lambda: moved_to("pending"), f"{name} is pending")
        soon(lambda: moved_to("firing"), f"{name} fires")
        assert states[0] == "pending"
        soon(
            lambda: "firing" in alertmanager.states(name), f"the receiver is told that {name} fires"
        )
        (alert,) = alertmanager.active(name)
        assert alert["labels"]["severity"] == "critical"
        assert [receiver["name"] for receiver in alert["receivers"]] == ["on-call"]
        hour.traffic.end(hour.stuck, "rejected")
        soon(lambda: prometheus.alerts(name) == [], f"{name} no longer fires")
        soon(
            lambda: alertmanager.states(name)[-1] == "resolved",
            f"the receiver is told that {name} is over",
        )
    finally:
        prometheus.stop()
        alertmanager.stop()


def test_dashboard(watched: Watched, hour: Hour) -> None:
    """Every panel shows what happened in the hour, all of them soon; the table, what waits."""
    with _as_grafana(watched.gateway.stack) as database:
        # More than once, since other tests use the machine meanwhile.
        tries = [_show(hour, database) for _ in range(3)]
    assert min(seconds for *_, seconds in tries) < PANELS_SECONDS
    shown, rows, _ = tries[0]
    nothing = labels()
    assert shown == {
        "Queue overview": [
            {nothing: hour.pending},
            {nothing: hour.expiring},
            {nothing: pytest.approx(STUCK_SECONDS, abs=120)},
        ],
        "Critical backlog": [{nothing: hour.pending_at["critical"]}],
        "Approval rate (last hour)": [{nothing: 20 / 40}],
        "p95 latency": [{nothing: 5400}],
        "Backlog by risk": [{labels(risk_level=risk): hour.pending_at[risk] for risk in RISKS}],
        "Latency percentiles p50/p95/p99": [
            {nothing: pytest.approx(30 + 30 * 10 / 14)},
            {nothing: 5400},
            {nothing: pytest.approx(6840)},
        ],
        "Outcomes": [
            {
                labels(status="approved"): 20,
                labels(status="rejected"): 14,
                labels(status="expired"): EXPIRING,
            }
        ],
        "Requests by agent": [
            {
                labels(agent="infrastructure"): 20,
                labels(agent="feature_dev"): 14 + EXPIRING,
                labels(agent="cicd"): 2 + 40 + 1 + 1,
            }
        ],
        "Timeout rate": [{nothing: pytest.approx(EXPIRING / 42)}],
        "Creation rate": [
            {
                labels(risk_level="low"): 0,
                labels(risk_level="medium"): 0,
                labels(risk_level="high"): 83,
                labels(risk_level="critical"): 1,
            }
        ],
        "Resolution rate": [
            {
                labels(status="approved"): 20,
                labels(status="rejected"): 14,
                labels(status="expired"): EXPIRING,
                labels(status="cancelled"): 2,
                labels(status="superseded"): 0,
            }
        ],
    }
    assert {*shown, "Active Approvals"} == panels().keys()
    assert len(rows) == watched.standing("pending")
    first = rows[0]
    assert (first["risk_level"], first["operation"], first["agent"]) == (
        "critical",
        "deploy",
        "cicd",
    )
    assert first["page_url"].startswith(f"{watched.urls[0]}/approvals/")


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


@contextmanager
def _as_grafana(stack: Stack) -> Iterator["psycopg.Connection[Row]"]:
    """A connection of the role that may read the table of what waits and nothing else."""
    name, role = "watched_reader", sql.Identifier("watched_reader")
    owner_url = stack.postgres.url(SUPERUSER, stack.database)
    password = stack.manage("create_dashboard_role", name, DATABASE_OWNER_URL=owner_url)
    address = make_conninfo(owner_url, user=name, password=password)
    try:
        with psycopg.connect(address, row_factory=dict_row) as connection:
            yield connection
    finally:
        with stack.connection(SUPERUSER) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))


def _watch(url: str, over: Event) -> tuple[list[str], int]:
    """Scrape until it is over: which counters fell in between, and how many scrapes that were."""
    fallen: list[str] = []
    last: dict[str, float] = {}
    scrapes = 0
    while not over.wait(0.25):
        now = {name: value for name, value in series(url).items() if _COUNTER.match(name)}
        fallen += [
            f"{name}: {last[name]} > {now.get(name)}"
            for name in last
            if now.get(name, -1) < last[name]
        ]
        last = now
        scrapes += 1
    return fallen, scrapes


def _roll_up(watched: Watched, over: Event) -> None:
    """Roll up until it is over."""
    while not over.wait(0.5):
        watched.roll_up()


def _findings(watchers: Sequence["Future[tuple[list[str], int]]"]) -> tuple[list[str], int]:
    results = [watcher.result() for watcher in watchers]
    return [fall for fallen, _ in results for fall in fallen], sum(n for _, n in results)


def _counted(
    found: Scrape, name: str, labels: Sequence[str], **more: str
) -> Counter[tuple[str, ...]]:
    """What a metric counts, by the labels named; what counts nothing is left out."""
    return Counter(
        {
            tuple(sample.labels[label] for label in labels): int(sample.value)
            for sample in found.samples
            if sample.name == name and sample.value and sample.labels.items() >= more.items()
        }
    )
