"""What Prometheus, Alertmanager and Grafana are told is what the tables say, and what they make of
it is right: two web servers, two workers, the shipped files, real servers on the other side."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from hitl_project.embedded import Postgres
from tests.e2e.gateway import Gateway
from tests.e2e.metrics import Scrape, scrape
from tests.e2e.stack import WORKER, Stack, free_port, soon
from tests.e2e.traffic import Traffic

LIVES = 500
RUNS = 12
SEED = 20261122
FINAL = ("approved", "rejected", "expired", "cancelled", "superseded")
RISKS = ("low", "medium", "high", "critical")
BOUNDS_SECONDS = (30, 60, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400)
SCRAPE_SECONDS = 0.1


@dataclass(frozen=True)
class Watched:
    """A gateway of two web servers and two workers; `urls` are the web servers'."""

    gateway: Gateway
    urls: tuple[str, ...]

    def count(self, query: str, *values: object) -> Counter[tuple[str, ...]]:
        """A count for each kind: the query's last column, by all the others."""
        rows = [list(row.values()) for row in self.gateway.stack.rows(query, *values)]
        return Counter({tuple(map(str, kind)): int(number) for *kind, number in rows})

    def scrape(self) -> Scrape:
        """What both web servers say, which has to be the same."""
        pages = [scrape(url) for url in self.urls]
        told = [{_key(s): s.value for s in page.samples if _from_tables(s.name)} for page in pages]
        assert told[0] == told[1]
        return pages[0]


@dataclass(frozen=True)
class Lived:
    """Five hundred lives that have been led, and every counter that was seen to fall."""

    traffic: Traffic
    ends: Counter[str]
    fallen: list[str]
    scrapes: int


@pytest.fixture(scope="module")
def watched(
    postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """A gateway of its own, because every request of it is counted."""
    stack = Stack.start(tmp_path_factory.mktemp("watched"), postgres_server, "watched")
    try:
        gateway = Gateway(stack)
        port = free_port()
        stack.run("web-2", "web", "--port", str(port))
        stack.run("worker-2", *WORKER)
        gateway.create_people()
        stack.wait_until_ready()
        urls = (stack.url, f"http://127.0.0.1:{port}")
        soon(lambda: _alive(urls[1]), "the second web server answers")
        yield Watched(gateway, urls)
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def lived(watched: Watched) -> Lived:
    """Requests and runs on both web servers; a worker dies among them, scrapes go on throughout."""
    gateway, stack = watched.gateway, watched.gateway.stack
    traffic = Traffic(gateway, watched.urls)
    over = Event()
    with ThreadPoolExecutor(len(watched.urls)) as pool:
        watchers = [pool.submit(_watch, url, over) for url in watched.urls]
        try:
            runs = [gateway.ask("deploy") for _ in range(RUNS)]
            ends = traffic.live(LIVES, SEED, lambda: stack.kill("worker"))
            for run in runs:
                gateway.approve(run.request())
            for run in runs:
                run.wait("completed")
            soon(lambda: _expired(stack) == ends["expired"], "what nobody decides expires")
        finally:
            over.set()
    stack.start_part("worker")
    ends["approved"] += RUNS
    return Lived(traffic, ends, *_findings(watchers))


def test_metrics_endpoint_health(watched: Watched, lived: Lived) -> None:
    """Both web servers tell the same, quickly, in both formats, as Prometheus wants it."""
    page = httpx.get(f"{watched.urls[0]}/metrics", trust_env=False)
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/plain")
    assert page.elapsed.total_seconds() < SCRAPE_SECONDS * 5  # two busy cores; alone it is a fifth
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    page = httpx.get(f"{watched.urls[0]}/metrics", headers=accept, trust_env=False)
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    assert "hitl_build_info" in {
        sample.name for family in openmetrics_families(page.text) for sample in family.samples
    }
    found = watched.scrape()
    assert found.value("hitl_runs_ended_total", {"status": "completed"}) == RUNS
    assert found.value("hitl_executions_total", {"outcome": "succeeded"}) == RUNS
    assert found.value("hitl_decision_to_resume_seconds_count", {"status": "approved"}) == RUNS
    assert lived.scrapes > 20
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


def _alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _expired(stack: Stack) -> int:
    query = "SELECT count(*) AS number FROM approval_requests WHERE status = 'expired'"
    return int(stack.rows(query)[0]["number"])


def _watch(url: str, over: Event) -> tuple[list[str], int]:
    """Scrape until it is over: which counters fell in between, and how many scrapes that were."""
    fallen: list[str] = []
    last: dict[Any, float] = {}
    scrapes = 0
    while not over.wait(0.25):
        samples = [s for s in scrape(url).samples if _counts(s.name)]
        now = {_key(sample): sample.value for sample in samples}
        fallen += [
            f"{key}: {last[key]} > {now.get(key)}" for key in last if now.get(key, -1) < last[key]
        ]
        last = now
        scrapes += 1
    return fallen, scrapes


def _findings(watchers: Sequence["Future[tuple[list[str], int]]"]) -> tuple[list[str], int]:
    results = [watcher.result() for watcher in watchers]
    return [fall for fallen, _ in results for fall in fallen], sum(n for _, n in results)


def _counts(name: str) -> bool:
    counter = name.startswith("hitl_") and name.endswith(("_total", "_bucket", "_count", "_sum"))
    return counter and name != "hitl_approval_backlog_total"


def _from_tables(name: str) -> bool:
    """Whether two scrapes one after the other have to say the same while nothing happens."""
    return name.startswith("hitl_approval_") and "age_seconds" not in name


def _key(sample: Any) -> tuple[str, frozenset[tuple[str, str]]]:
    return sample.name, frozenset(sample.labels.items())


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
