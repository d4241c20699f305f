"""Running counts are exact, whoever counts at the same time and whatever is rolled back."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psycopg
import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals import services, tally
from approvals.core.lifecycle import Choice, Reason
from approvals.errors import NotAllowed, Refusal
from approvals.models import Tally
from hitl_project.embedded import OWNER, Postgres
from tests.application_role import as_application
from tests.approvals.scenes import at_once, manager, opened, pass_deadline, person
from tests.metrics_page import Page

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
REFUSED = "hitl_votes_refused_total"
RESUMED = "hitl_decision_to_resume_seconds"
COUNT_SECONDS = 0.005
COUNT_IN_A_PROCESS = """
import django; django.setup()
from django.db import transaction
from approvals import tally
for number in range(60):
    with transaction.atomic():
        tally.count(tally.VOTES_REFUSED, "inactive")
        tally.observe(tally.DECISION_TO_RESUME, "approved", seconds=0.2)
        if number % 3 == 0:
            transaction.set_rollback(True)
"""


def refuse(*reasons: str) -> None:
    """Count refusals with these reasons, in this order."""
    for reason in reasons:
        tally.count(tally.VOTES_REFUSED, reason)


def refused() -> dict[str, float]:
    """How often each reason was counted, as `/metrics` says."""
    return {reason: number for (reason,), number in Page.scrape().all(REFUSED).items()}


def test_everything_known_starts_at_zero() -> None:
    page = Page.scrape()
    assert {labels["reason"] for labels in page.names(REFUSED)} == set(Reason)
    for metric in tally.declared().values():
        for values in metric.known:
            labels = dict(zip(metric.labels, values, strict=True))
            shown = f"{metric.name}_count" if metric.bounds else metric.name
            assert page.value(shown, **labels) == 0
    assert not Tally.objects.exists()


def test_a_count_is_one_statement_and_nothing_is_counted_that_was_rolled_back() -> None:
    with CaptureQueriesContext(connection) as queries:
        refuse("inactive")
    assert len(queries) == 1
    with transaction.atomic():
        refuse("inactive")
        with transaction.atomic():
            refuse("inactive", "requester")
            transaction.set_rollback(True)
        refuse("inactive")
    with transaction.atomic():
        refuse("inactive", "expired")
        transaction.set_rollback(True)
    assert refused() == {"inactive": 3}


def test_what_is_counted_goes_on_where_somebody_holds_every_lock(
    postgres_server: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    with psycopg.connect(url) as other:
        other.execute(
            "SELECT pg_advisory_lock(%s, shard) FROM generate_series(0, 4096) AS shard",
            [int.from_bytes(b"hitl")],
        )
        request_id = opened()
        with pytest.raises(NotAllowed):
            services.cast_vote(request_id, actor=person("eve"), choice=Choice.APPROVE)
    assert refused() == {}
    assert "was not counted" in caplog.text


def test_many_at_once_are_counted_exactly_in_whatever_order_they_come() -> None:
    reasons = [str(reason) for reason in Reason]

    def work(number: int) -> None:
        for turn in range(20):
            with transaction.atomic():
                refuse(*(reasons if (number + turn) % 2 else reversed(reasons)))
                transaction.set_rollback(turn % 5 == 0)

    outcomes = at_once(*[lambda number=number: work(number) for number in range(8)])
    assert outcomes == [None] * 8
    assert refused() == dict.fromkeys(reasons, 8 * 16)


def test_nobody_waits_for_a_count_that_is_not_committed_yet() -> None:
    counted, counts_elsewhere = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            refuse("inactive", "requester")
            counted.set()
            assert counts_elsewhere.wait(30)

    def count() -> None:
        assert counted.wait(30)
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        # More than there usually are shards for, so that one of them comes upon the other's.
        with transaction.atomic():
            refuse(*["requester", "inactive"] * 3)

    def everywhere() -> None:
        try:
            assert at_once(*[count] * 10) == [None] * 10
        finally:
            counts_elsewhere.set()

    assert at_once(hold, everywhere) == [None, None]
    assert refused() == {"inactive": 31, "requester": 31}


def test_processes_that_count_at_once_lose_nothing(postgres_server: Postgres) -> None:
    address = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    command = [sys.executable, "-c", COUNT_IN_A_PROCESS]
    env = {**os.environ, "DATABASE_URL": address}
    processes = [subprocess.Popen(command, cwd=ROOT, env=env) for _ in range(3)]  # noqa: S603
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert refused() == {"inactive": 120}
    page = Page.scrape()
    assert page.value(f"{RESUMED}_count", status="approved") == 120
    assert page.value(f"{RESUMED}_sum", status="approved") == pytest.approx(24)


def test_observations_fall_into_their_buckets_bounds_included() -> None:
    for seconds in (0.0, 0.1, 0.100001, 0.25, 7199.5, 90_000.0):
        tally.observe(tally.DECISION_TO_RESUME, "rejected", seconds=seconds)
    page = Page.scrape()
    found = {
        bound: page.value(f"{RESUMED}_bucket", status="rejected", le=bound)
        for bound in ("0.1", "0.25", "0.5", "1800.0", "7200.0", "+Inf")
    }
    assert found == {"0.1": 2, "0.25": 4, "0.5": 4, "1800.0": 4, "7200.0": 5, "+Inf": 6}
    assert page.value(f"{RESUMED}_count", status="rejected") == 6
    assert page.value(f"{RESUMED}_sum", status="rejected") == 97_199.950001


def test_a_clock_that_was_set_back_takes_nothing_from_a_sum() -> None:
    tally.observe(tally.DECISION_TO_RESUME, "approved", seconds=0.25)
    tally.observe(tally.DECISION_TO_RESUME, "approved", seconds=-60.0)
    page = Page.scrape()
    assert page.value(f"{RESUMED}_sum", status="approved") == 0.25
    assert page.value(f"{RESUMED}_count", status="approved") == 2


def test_the_application_s_own_role_may_count(postgres_server: Postgres) -> None:
    with as_application(postgres_server):
        refuse("inactive", "inactive")
    assert refused() == {"inactive": 2}


def test_labels_that_were_not_declared_are_refused() -> None:
    with pytest.raises(ValueError, match="not declared to have the labels"):
        refuse("a reason that an outsider made up")
    with pytest.raises(ValueError, match="declared twice"):
        tally.declare(tally.VOTES_REFUSED)


def test_every_refused_vote_counts_by_its_reason_and_a_repeat_too() -> None:
    request_id, overdue, decided = opened(), opened(), opened()
    stranger = person("stranger")
    services.cast_vote(decided, actor=manager("grace"), choice=Choice.REJECT)
    for choice in (Choice.APPROVE, Choice.APPROVE, Choice.REJECT):
        with pytest.raises(NotAllowed):
            services.cast_vote(request_id, actor=stranger, choice=choice)
    pass_deadline(overdue)
    for late in (overdue, overdue, decided):
        with pytest.raises(Refusal):
            services.cast_vote(late, actor=manager("grace"), choice=Choice.APPROVE)
    with transaction.atomic():
        with pytest.raises(NotAllowed):
            services.cast_vote(request_id, actor=stranger, choice=Choice.APPROVE)
        transaction.set_rollback(True)
    assert refused() == {"not_in_group": 3, "expired": 1, "already_decided": 2}


def test_refusals_at_once_all_count() -> None:
    request_id, stranger = opened(), person("stranger")

    def vote() -> None:
        services.cast_vote(request_id, actor=stranger, choice=Choice.APPROVE)

    assert all(isinstance(outcome, NotAllowed) for outcome in at_once(*[vote] * 6))
    assert refused() == {"not_in_group": 6}


def test_a_decision_spends_no_statement_on_counts() -> None:
    request_id, grace = opened(), manager("grace")
    with CaptureQueriesContext(connection) as queries:
        ballot = services.cast_vote(request_id, actor=grace, choice=Choice.APPROVE)
    assert ballot.status == "approved"
    assert not [query for query in queries if Tally._meta.db_table in query["sql"]]


@pytest.mark.parametrize(
    "count",
    [
        lambda: tally.count(tally.VOTES_REFUSED, "inactive"),
        lambda: tally.observe(tally.DECISION_TO_RESUME, "approved", seconds=0.2),
    ],
    ids=["count", "observe"],
)
def test_a_count_takes_a_moment(count: Callable[[], None]) -> None:
    took = []
    for _ in range(50):
        begun = time.perf_counter()
        count()
        took.append(time.perf_counter() - begun)
    # Not the greatest, since other tests use the machine meanwhile.
    assert median(took) < COUNT_SECONDS
