"""What insights add up, against tables that were worked out by hand."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.clock import clock
from approvals.core.lifecycle import Choice
from approvals.selectors import insights
from approvals.selectors.insights import Approver, Latency, Rejected, Span, Timed, Window, window
from tests.approvals.history import fill, put, put_vote
from tests.approvals.scenes import manager, person, unguarded

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

NOW = datetime(2026, 3, 10, 12, 34, 56, tzinfo=UTC)
KATHMANDU = ZoneInfo("Asia/Kathmandu")
NOUNS = (
    insights.opened,
    insights.ended,
    insights.latency_by_risk,
    insights.latency_by_agent,
    insights.slowest_operations,
    insights.most_rejected_operations,
    insights.approvers,
    insights.fastest_approvers,
)


def span(kind: Span = Span.WEEK, zone: str = "UTC", now: datetime = NOW) -> Window:
    """A window that ends at noon of a day in March."""
    return window(kind, now, ZoneInfo(zone))


def at(hour: int, minute: int = 0, *, day: int = 10) -> datetime:
    """A moment of March 2026 in UTC."""
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "zone", "first", "buckets"),
    [
        (Span.DAY, "UTC", datetime(2026, 3, 9, 13, tzinfo=UTC), 24),
        # It is 18:19 in Kathmandu, where hours begin at 15 minutes past those of UTC.
        (Span.DAY, "Asia/Kathmandu", datetime(2026, 3, 9, 13, 15, tzinfo=UTC), 24),
        (Span.WEEK, "UTC", datetime(2026, 3, 4, tzinfo=UTC), 7),
        (Span.WEEK, "Asia/Kathmandu", datetime(2026, 3, 3, 18, 15, tzinfo=UTC), 7),
        (Span.MONTH, "America/New_York", datetime(2026, 2, 9, 5, tzinfo=UTC), 30),
    ],
)
def test_a_window_is_whole_hours_or_days_of_the_zone(
    kind: Span, zone: str, first: datetime, buckets: int
) -> None:
    found = span(kind, zone)
    assert (found.since, found.until, len(found.starts)) == (first, NOW, buckets)
    assert list(found.starts) == sorted(set(found.starts))


def test_a_day_on_which_the_clock_was_put_forward_is_one_bucket_and_has_its_hours() -> None:
    # In New York 8 March 2026 had 23 hours: it began at 5:00 UTC, the 9th at 4:00.
    found = span(Span.WEEK, "America/New_York")
    starts = [start.astimezone(UTC) for start in found.starts]
    assert starts[4:6] == [at(5, day=8), at(4, day=9)]
    hours = window(Span.DAY, at(12, 30, day=8), ZoneInfo("America/New_York"))
    steps = {b - a for a, b in zip(hours.starts, hours.starts[1:], strict=False)}
    assert steps == {timedelta(hours=1)}


def test_what_was_opened_is_counted_by_bucket_risk_and_hour() -> None:
    for opened_at, risk in (
        (at(0, day=4), "low"),
        (at(23, 59, day=9), "critical"),
        (at(0), "critical"),
        (at(12, 34), "high"),
        (at(23, 59, day=3), "high"),  # before the window
        (NOW, "high"),  # after it
    ):
        put("pending", opened_at, risk=risk)
    found = insights.opened(span())
    assert found.total == 4
    assert [sum(bucket.values()) for bucket in found.by_bucket] == [1, 0, 0, 0, 0, 1, 2]
    assert found.by_bucket[6] == {"low": 0, "medium": 0, "high": 1, "critical": 1}
    assert {hour: number for hour, number in enumerate(found.by_hour) if number} == {
        0: 2,
        12: 1,
        23: 1,
    }


def test_hours_and_days_are_those_of_the_viewer() -> None:
    put("approved", at(18, 20, day=9), at(18, 45, day=9))  # 00:05 and 00:30 of the 10th
    found = insights.opened(span(zone="Asia/Kathmandu"))
    assert [sum(bucket.values()) for bucket in found.by_bucket] == [0, 0, 0, 0, 0, 0, 1]
    assert found.by_hour.index(1) == 0
    assert insights.ended(span(zone="Asia/Kathmandu")).by_hour.index(1) == 0
    assert insights.opened(span()).by_hour.index(1) == 18
    assert [sum(bucket.values()) for bucket in insights.opened(span()).by_bucket][5] == 1


def test_outcomes_are_those_that_came_in_the_span_whenever_it_was_opened() -> None:
    long_ago = at(0, day=1)
    for status, decided_at in (
        ("approved", at(9)),
        ("approved", at(9, 30)),
        ("rejected", at(10)),
        ("expired", at(11)),
        ("cancelled", at(11)),
        ("superseded", at(11)),
        ("approved", at(23, day=3)),
    ):
        put(status, long_ago, decided_at)
    put("pending", at(9))
    found = insights.ended(span())
    assert found.by_status == {
        "approved": 2,
        "rejected": 1,
        "expired": 1,
        "cancelled": 1,
        "superseded": 1,
    }
    assert (found.total, found.decided) == (6, 3)
    assert {hour: number for hour, number in enumerate(found.by_hour) if number} == {9: 2, 10: 1}


def test_latencies_are_percentiles_of_what_people_decided() -> None:
    for seconds in (10, 20, 30, 40):
        put("approved", at(9), at(9) + timedelta(seconds=seconds), risk="low", agent="cicd")
    put("rejected", at(9), at(9) + timedelta(seconds=600), risk="critical", agent="nightly")
    # Neither a deadline nor a withdrawal is anybody's decision.
    put("expired", at(9), at(10), risk="low", agent="cicd")
    put("cancelled", at(9), at(10), risk="medium", agent="cicd")
    assert insights.latency_by_risk(span()) == [
        Latency("critical", 1, 600.0, 600.0),
        Latency("low", 4, 25.0, 38.5),
    ]
    assert insights.latency_by_agent(span()) == [
        Latency("cicd", 4, 25.0, 38.5),
        Latency("nightly", 1, 600.0, 600.0),
    ]


def test_operations_are_ranked_by_their_median_and_by_their_rejections() -> None:
    def decided(operation: str, status: str, seconds: int) -> None:
        put(status, at(9), at(9) + timedelta(seconds=seconds), operation=operation)

    for seconds in (10, 20, 5000):
        decided("deploy", "approved", seconds)
    decided("db_migrate", "rejected", 100)
    decided("db_migrate", "rejected", 300)
    decided("delete_bucket", "rejected", 30)
    decided("delete_bucket", "approved", 30)
    decided("update_docs", "expired", 9000)
    slowest = insights.slowest_operations(span())
    assert [(row.name, row.number, row.p50_seconds) for row in slowest] == [
        ("db_migrate", 2, 200.0),
        ("delete_bucket", 2, 30.0),
        ("deploy", 3, 20.0),
    ]
    rejected = insights.most_rejected_operations(span())
    assert rejected == [Rejected("db_migrate", 2, 2), Rejected("delete_bucket", 2, 1)]


def test_approvers_are_counted_by_their_votes_and_timed_by_those_on_the_web() -> None:
    grace, otto = manager("grace"), manager("otto")
    for seconds in (2.0, 4.0, 90.0, None):
        put_vote(put("approved", at(8), at(9)), grace, at(9), seconds=seconds)
    put_vote(put("rejected", at(8), at(9)), grace, at(9), Choice.REJECT)
    put_vote(put("rejected", at(8), at(9)), otto, at(9), Choice.REJECT)
    put_vote(put("approved", at(8, day=1), at(9, day=1)), otto, at(9, day=1), seconds=1.0)
    found = insights.approvers(span())
    assert found == [Approver("grace", 5, 3, 1), Approver("otto", 1, 0, 1)]
    assert [row.approved for row in found] == [4, 0]
    assert insights.fastest_approvers(span()) == [Timed("grace", 5, 3, 4.0)]


def test_what_is_listed_is_bounded_however_many_names_there_are() -> None:
    for number in range(insights.TOP + 2):
        names = {"agent": f"agent {number}", "operation": f"operation {number}"}
        put("rejected", at(8), at(9) + timedelta(seconds=number), **names)
    for noun in NOUNS[3:6]:
        assert len(noun(span())) == insights.TOP
    assert insights.slowest_operations(span())[0].name == f"operation {insights.TOP + 1}"
    for number in range(insights.APPROVERS + 1):
        put_vote(put("approved", at(8), at(9)), person(f"voter {number}"), at(9))
    assert len(insights.approvers(span())) == insights.APPROVERS


def test_the_fastest_is_found_however_many_vote_more() -> None:
    for number in range(insights.APPROVERS):
        for _ in range(2):
            voter = person(f"voter {number}")
            put_vote(put("approved", at(8), at(9)), voter, at(9), seconds=60.0 + number)
    put_vote(put("approved", at(8), at(9)), person("hasty"), at(9), seconds=2.0)
    assert "hasty" not in [row.name for row in insights.approvers(span())]
    found = insights.fastest_approvers(span())
    assert (found[0], len(found)) == (Timed("hasty", 1, 1, 2.0), insights.APPROVERS)


def test_an_empty_system_has_nothing_to_tell() -> None:
    assert insights.opened(span()).total == 0
    assert insights.ended(span()).total == 0
    assert [list(noun(span())) for noun in NOUNS[2:]] == [[]] * 6


def test_every_noun_reads_its_span_along_an_index() -> None:
    fill(60_000)
    manager("grace")
    unguarded(
        "INSERT INTO approvals_vote (request_id, user_id, choice, comment, via, cast_at)"
        " SELECT id, (SELECT min(id) FROM auth_user), 'approve', '', 'web', decided_at"
        " FROM approval_requests WHERE status = 'approved'",
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE approval_requests, approvals_vote")
    recent = window(Span.DAY, clock() - timedelta(days=1), KATHMANDU)
    for noun in NOUNS:
        with CaptureQueriesContext(connection) as queries:
            noun(recent)
        assert len(queries) == 1
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {queries[0]['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        # Whichever index serves: one that begins with another column may be the smaller one.
        assert re.search(r"Index Cond: \(\(\w*?\.?(created|decided|cast)_at >=", plan), plan
        assert "Seq Scan on approval" not in plan, noun.__name__
