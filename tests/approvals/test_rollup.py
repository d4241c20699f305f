"""What is rolled up is counted for good: nothing missed, nothing twice, nothing ever less."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from itertools import pairwise

import psycopg
import pytest
from django.db import connection

from approvals import metrics, services
from approvals.clock import clock
from approvals.core.lifecycle import Choice
from approvals.metrics import rollup
from approvals.models import ApprovalRequest, RolledUpRequests, RollUpMark
from approvals.tasks import roll_up_metrics
from hitl_project.embedded import OWNER, SUPERUSER, Postgres
from tests.application_role import as_application
from tests.approvals.history import fill
from tests.approvals.http.conftest import launch_web_server  # noqa: F401 - a fixture
from tests.approvals.scenes import DEPLOY, DOCS, at_once, cancel, manager, opened, unguarded, vote
from tests.metrics_page import Page, Samples
from tests.web_server import WebServer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels")]
LIVES = ("hitl_approval_requests_", "hitl_approval_timeouts", "hitl_approval_latency")


@pytest.fixture
def no_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Roll up at once what is certain, as if no clock were ever set back."""
    monkeypatch.setattr(rollup, "MARGIN", timedelta(0))


@contextmanager
def session(postgres: Postgres, role: str = OWNER) -> Iterator["psycopg.Connection[object]"]:
    """A connection of somebody else to the same database; it commits only when it is told to."""
    with psycopg.connect(postgres.url(role, str(connection.settings_dict["NAME"]))) as other:
        yield other


def counters(page: Page) -> Samples:
    """All that may only grow."""
    return page.starting_with(*LIVES)


def rolled() -> int:
    """How many requests are rolled up."""
    return sum(RolledUpRequests.objects.values_list("count", flat=True))


def assert_page_says_what_the_table_says(page: Page) -> None:
    rows = ApprovalRequest.objects.values_list("agent_name", "risk_level", "environment", "status")
    created = Counter((agent, env or "none", risk) for agent, risk, env, _ in rows)
    resolved = Counter((agent, risk, end) for agent, risk, _, end in rows if end != "pending")
    assert page.all("hitl_approval_requests_created_total") == created
    assert page.all("hitl_approval_requests_resolved_total") == resolved
    assert page.all("hitl_approval_latency_seconds_count") == resolved


def test_a_roll_up_changes_nothing_on_the_page() -> None:
    fill(700)
    for ending in (vote, cancel):
        ending(opened(DOCS, risk_level="high"))
        ending(opened())
    opened()
    before = Page.scrape()
    assert_page_says_what_the_table_says(before)
    for _ in range(2):
        roll_up_metrics()
        assert rolled() == 700
        assert counters(Page.scrape()) == counters(before)


def test_what_was_decided_since_comes_on_top() -> None:
    fill(50, ago=timedelta(hours=3))
    roll_up_metrics()
    RollUpMark.objects.update(up_to_at=clock() - timedelta(hours=26))
    fill(50)
    before = counters(Page.scrape())
    roll_up_metrics()
    assert rolled() == 100
    assert counters(Page.scrape()) == before
    assert_page_says_what_the_table_says(Page.scrape())


def test_what_is_younger_than_ten_minutes_is_left() -> None:
    fill(10, ago=timedelta(minutes=11))
    vote(opened())
    roll_up_metrics()
    mark = RollUpMark.objects.get().up_to_at
    assert mark is not None
    assert rolled() == 10
    assert timedelta(minutes=10) <= clock() - mark < timedelta(minutes=11)


def test_a_decision_that_is_not_committed_yet_is_never_missed(
    no_margin: None, postgres_server: Postgres
) -> None:
    slow, quick = opened(), opened()
    with session(postgres_server) as other:
        other.execute("SELECT 1")
        other.execute(
            "UPDATE approval_requests SET status = 'approved', decided_at = clock_timestamp()"
            " WHERE id = %s",
            [slow],
        )
        vote(quick)
        metrics.roll_up(seconds=1)
        assert rolled() == 0
        before = Page.scrape()
        other.commit()
    metrics.roll_up(seconds=1)
    assert rolled() == 2
    assert_page_says_what_the_table_says(Page.scrape())
    ended = "hitl_approval_requests_resolved_total"
    assert (sum(before.all(ended).values()), sum(Page.scrape().all(ended).values())) == (1, 2)


def test_a_transaction_that_may_still_decide_holds_the_roll_up_back(
    no_margin: None, postgres_server: Postgres
) -> None:
    with session(postgres_server) as other:
        # It has read the clock and nothing else; what it decides will be as old as that.
        other.execute("SELECT clock_timestamp()")
        vote(opened())
        metrics.roll_up(seconds=1)
        assert rolled() == 0
    metrics.roll_up(seconds=1)
    assert rolled() == 1


def test_a_session_that_hides_since_when_it_is_at_work_holds_the_roll_up_back(
    no_margin: None, postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    vote(opened())
    with session(postgres_server, SUPERUSER) as other:
        other.execute("SELECT clock_timestamp()")
        metrics.roll_up(seconds=1)
        assert (rolled(), "pg_read_all_stats" in caplog.text) == (0, True)
        other.commit()
        # At rest it decides nothing.
        metrics.roll_up(seconds=1)
        assert rolled() == 1


def test_a_huge_first_roll_up_goes_in_steps_and_stops_when_its_time_is_up() -> None:
    fill(95)
    before = counters(Page.scrape())
    seen = []
    while metrics.roll_up(seconds=0, rows=10):
        seen.append(rolled())
        assert counters(Page.scrape()) == before
    assert seen == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert rolled() == 95
    assert metrics.roll_up(seconds=0, rows=10) is False


def test_what_was_decided_at_the_same_moment_stays_together() -> None:
    fill(20)
    ids = list(ApprovalRequest.objects.values_list("pk", flat=True))
    unguarded("UPDATE approval_requests SET decided_at = '2020-01-01'")
    assert metrics.roll_up(seconds=0, rows=3) is True
    assert rolled() == len(ids)


def test_roll_ups_at_the_same_time_add_up_once() -> None:
    fill(400)
    before = counters(Page.scrape())
    outcomes = at_once(*[lambda: metrics.roll_up(seconds=10, rows=7)] * 4)
    assert outcomes == [False] * 4
    assert rolled() == 400
    assert counters(Page.scrape()) == before


def test_sums_are_exact_to_the_microsecond_however_they_are_split() -> None:
    fill(300)
    exact = sum(
        (
            decided - created
            for created, decided in ApprovalRequest.objects.values_list("created_at", "decided_at")
            if decided is not None
        ),
        timedelta(0),
    )
    metrics.roll_up(seconds=1, rows=11)
    microseconds = sum(RolledUpRequests.objects.values_list("microseconds", flat=True))
    assert timedelta(microseconds=microseconds) == exact


def test_the_application_s_own_role_can_roll_up_and_scrape(postgres_server: Postgres) -> None:
    fill(30, agents=("cicd", "newcomer"))
    with as_application(postgres_server):
        roll_up_metrics()
        assert rolled() == 30
        assert_page_says_what_the_table_says(Page.scrape())


def live(number: int) -> None:
    """Open requests and end them in every way, as fast as it goes."""
    grace = manager(f"grace-{number}")
    for turn in range(12):
        facts = {"agent_name": f"agent-{number}", "risk_level": "high"}
        ids = [opened(task, **facts) for task in (DEPLOY, DOCS, DEPLOY)]
        services.cast_vote(ids[0], actor=grace, choice=Choice.APPROVE)
        if turn % 2:
            services.cast_vote(ids[1], actor=grace, choice=Choice.REJECT, comment="no")
            cancel(ids[2])


def shrunk(before: Samples, after: Samples) -> list[object]:
    """The counters that went back or away."""
    return [key for key, number in before.items() if after.get(key, -1) < number]


def test_no_counter_ever_goes_back_while_others_write_and_roll_up(
    no_margin: None,
    launch_web_server: Callable[..., WebServer],  # noqa: F811 - the fixture
) -> None:
    servers = [launch_web_server() for _ in range(2)]
    done = threading.Event()
    pages: list[Page] = []

    def scrape() -> None:
        while not done.is_set():
            pages.extend(Page(server.client.get("/metrics").text) for server in servers)
            done.wait(0.1)

    def add_up() -> None:
        while not done.is_set():
            metrics.roll_up(seconds=1, rows=3)
            done.wait(0.02)

    def write() -> None:
        try:
            written = at_once(*[partial(live, number) for number in range(3)])
        finally:
            done.set()
        assert written == [None] * 3

    for outcome in at_once(scrape, add_up, write):
        assert outcome is None, outcome
    assert len(pages) >= 10
    seen = [counters(page) for page in pages]
    assert [key for pair in pairwise(seen) for key in shrunk(*pair)] == []
    assert rolled() > 10
    metrics.roll_up(seconds=5)
    assert rolled() == ApprovalRequest.objects.exclude(status="pending").count()
    assert shrunk(seen[-1], counters(Page.scrape())) == []
    assert_page_says_what_the_table_says(Page.scrape())
