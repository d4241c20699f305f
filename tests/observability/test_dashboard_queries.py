"""What the dashboard's expressions give in a real Prometheus, however many instances it asks."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from tests.e2e.prometheus import Prometheus, remember
from tests.observability.board import expressions

STEP, HOUR = 15, 3600
CICD = {"agent": "cicd", "risk_level": "critical"}
NEW = {"agent": "infrastructure", "risk_level": "low", "environment": "staging"}
CREATED, RESOLVED = "hitl_approval_requests_created_total", "hitl_approval_requests_resolved_total"
PENDING, BACKLOG = "hitl_approvals_pending", "hitl_approval_backlog_total"
BUCKETS = {"300.0": 5, "3600.0": 5, "7200.0": 6, "+Inf": 6}

Samples = list[tuple[str, Mapping[str, str], float]]
Numbers = dict[str, float]


@dataclass(frozen=True)
class Site:
    """Whom Prometheus asked, by seconds before the end, and since when; each has a day of its own.

    So many seconds before the end a moment was busy; with `restored` the database is replaced then.
    """

    name: str
    day: int
    asked: Mapping[str, Callable[[int], bool]]
    since: int = 3 * HOUR
    restored: bool = False
    busy: int = 1800

    @property
    def end(self) -> int:
        """The moment at which the dashboard is looked at."""
        return 1_700_006_400 + self.day * 86_400

    def page(self, before: int) -> Samples:
        """What each instance says so many seconds before the end."""
        late = before <= self.busy
        gone = late and self.restored
        old, more = int(not gone), int(late and not gone)
        found: Samples = [
            (CREATED, {**CICD, "environment": "production"}, 5000 * old + 4 * more),
            (RESOLVED, {**CICD, "status": "approved"}, 4000 * old + 6 * more),
            (RESOLVED, {**CICD, "status": "rejected"}, 300 * old + 2 * more),
            (RESOLVED, {**CICD, "status": "expired"}, 200 * old + more),
            (RESOLVED, {**CICD, "status": "cancelled"}, 100 * old + more),
            ("hitl_approval_timeouts_total", CICD, 200 * old + more),
            (PENDING, {**CICD, "environment": "production"}, 2 if late else 398),
            (PENDING, {**CICD, "environment": "staging"}, 1),
            ("hitl_approvals_expiring_within_hour", {"risk_level": "critical"}, 1),
            ("hitl_approval_oldest_pending_age_seconds", {"risk_level": "critical"}, 5400),
        ]
        for bound, grown in BUCKETS.items():
            labels = {**CICD, "status": "approved", "le": bound}
            found.append(
                ("hitl_approval_latency_seconds_bucket", labels, 4000 * old + grown * more)
            )
        for risk in ("critical", "high", "medium", "low"):
            found.append((BACKLOG, {"risk_level": risk}, 3 if risk == "critical" else 0))
        if more:
            # An agent and an environment that nobody had heard of.
            found.append((CREATED, NEW, 3))
        return found

    def lines(self) -> Iterator[str]:
        """Everything that Prometheus was told, as OpenMetrics."""
        for before in range(self.since, -1, -STEP):
            for instance in (name for name, asked in self.asked.items() if asked(before)):
                for name, labels, value in self.page(before):
                    pairs = {**labels, "job": "hitl-gateway", "instance": instance}
                    text = ",".join(f"{key}={json.dumps(each)}" for key, each in pairs.items())
                    yield f"{name}{{{text}}} {float(value)} {self.end - before}"


def always(before: int) -> bool:
    return before >= 0


SITES = [
    Site("one instance", 0, {"a": always}),
    Site("two instances", 1, {"a": always, "b": always}),
    Site("one replaced the other", 2, {"a": lambda t: t > 600, "b": lambda t: t < 1500}),
    Site("at once, and earlier", 3, {"a": lambda t: t > 2400, "b": lambda t: t <= 2400}),
    Site("nobody was asked an hour ago", 4, {"a": lambda t: not 3000 < t < 4200}),
    Site("a new Prometheus", 5, {"a": always, "b": always}, since=2700),
]
RESTORED = Site("a restored database", 6, {"a": always}, restored=True)
EARLIER = Site("earlier", 7, {"a": always, "b": always}, busy=5400)
NOTHING = RESTORED.end + 43_200


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server that was told of all sites, each on a day of its own."""
    folder = tmp_path_factory.mktemp("prometheus")
    told = [line for site in [*SITES, RESTORED, EARLIER] for line in site.lines()]
    remember(folder, told)
    (folder / "prometheus.yml").write_text("global: {}\n")
    server = Prometheus.start(folder, folder / "prometheus.yml")
    try:
        yield server
    finally:
        server.stop()


def shown(
    prometheus: Prometheus, panel: str, moment: int, window: str = "6h", **chosen: str
) -> list[Numbers]:
    """The numbers of each query of a panel at a moment, by the one label that is left, if any."""
    found = []
    for expression in [each for each in expressions() if each.panel == panel]:
        answer = prometheus.query(expression.filled(window, **chosen), moment)
        found.append({"".join(value for _, value in key): n for key, n in answer.items()})
    return found


EXPECTED: dict[str, list[Numbers]] = {
    "Queue overview": [{"": 3}, {"": 1}, {"": 5400}],
    "Critical backlog": [{"": 3}],
    "Approval rate (last hour)": [{"": 6 / 9}],
    "p95 latency": [{"": 3600 + 0.7 * 3600}],
    "Backlog by risk": [{"critical": 3, "high": 0, "medium": 0, "low": 0}],
    "Latency percentiles p50/p95/p99": [{"": 180}, {"": 6120}, {"": 3600 + 0.94 * 3600}],
    "Outcomes": [{"approved": 6, "rejected": 2, "expired": 1}],
    "Requests by agent": [{"cicd": 4, "infrastructure": 3}],
    "Timeout rate": [{"": 1 / 10}],
    "Creation rate": [{"critical": 4, "low": 3}],
    "Resolution rate": [{"approved": 6, "rejected": 2, "expired": 1, "cancelled": 1}],
}


def test_a_number_is_expected_of_every_panel() -> None:
    assert {*EXPECTED} == {expression.panel for expression in expressions()}


@pytest.mark.parametrize("panel", EXPECTED)
@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_a_panel_shows_the_number_whoever_was_asked_when(
    prometheus: Prometheus, site: Site, panel: str
) -> None:
    for numbers, expected in zip(shown(prometheus, panel, site.end), EXPECTED[panel], strict=True):
        assert numbers == pytest.approx(expected), panel


def test_what_is_counted_over_the_time_range_is_counted_over_that_range(
    prometheus: Prometheus,
) -> None:
    for window, expected in (("6h", {"cicd": 4, "infrastructure": 3}), ("15m", {})):
        assert shown(prometheus, "Requests by agent", SITES[1].end, window) == [expected]
    assert shown(prometheus, "Outcomes", SITES[1].end, "604800s")[0]["expired"] == 1


def test_what_happened_counts_for_an_hour_to_the_second(prometheus: Prometheus) -> None:
    happened = EARLIER.end - EARLIER.busy
    counts = {
        second: shown(prometheus, "Creation rate", happened + second)[0]["critical"]
        for second in (-15, 0, 3599, 3600, EARLIER.busy)
    }
    assert counts == {-15: 0, 0: 4, 3599: 4, 3600: 0, EARLIER.busy: 0}


@pytest.mark.parametrize("panel", EXPECTED)
def test_before_anything_was_scraped_a_panel_is_empty_and_not_zero(
    prometheus: Prometheus, panel: str
) -> None:
    assert shown(prometheus, panel, NOTHING) == [{} for _ in EXPECTED[panel]]


def test_a_restored_database_is_no_negative_number(prometheus: Prometheus) -> None:
    counted = [
        number
        for panel in ("Creation rate", "Resolution rate", "Outcomes", "Requests by agent")
        for numbers in shown(prometheus, panel, RESTORED.end)
        for number in numbers.values()
    ]
    assert {*counted} == {0}
    for panel in ("Approval rate (last hour)", "Timeout rate", "p95 latency"):
        assert shown(prometheus, panel, RESTORED.end) == [{}], panel


def test_a_choice_narrows_the_numbers(prometheus: Prometheus) -> None:
    end = SITES[1].end
    assert shown(prometheus, "Requests by agent", end, agent="infrastructure") == [
        {"infrastructure": 3}
    ]
    assert shown(prometheus, "Creation rate", end, environment="production") == [{"critical": 4}]
    assert shown(prometheus, "Backlog by risk", end, risk_level="(critical|low)") == [
        {"critical": 3, "low": 0}
    ]
    assert shown(prometheus, "Queue overview", end, environment="staging")[0] == {"": 1}


def test_where_critical_is_not_chosen_its_backlog_is_empty_and_where_none_waits_zero(
    prometheus: Prometheus,
) -> None:
    end = SITES[1].end
    assert shown(prometheus, "Critical backlog", end, risk_level="high") == [{}]
    assert shown(prometheus, "Critical backlog", end, agent="documentation") == [{"": 0}]
