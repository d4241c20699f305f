"""A scrape costs the same however many requests, deliveries and entries there are."""

import time

import pytest
from django.db import connection

from approvals import metrics
from approvals.metrics.exposition import rendered
from approvals.metrics.registry import scrape
from approvals.models import ApprovalRequest
from tests.approvals.history import FINAL, fill
from tests.approvals.plans import rows_read
from tests.approvals.scenes import opened, vote
from tests.metrics_page import Page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels")]
REQUESTS = 20_000
SCRAPE_SECONDS = 0.1
LARGE = ("approval_requests", "approvals_delivery", "approvals_auditentry", "agents_run")


@pytest.fixture
def busy_for_long() -> None:
    """Many final requests, a few that wait, and what each channel was told of them."""
    fill(REQUESTS, statuses=(*FINAL * 40, "pending"))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO approvals_delivery (request_id, channel, wanted, done, priority, attempts,"
            " last_error, told, reference, url, memory)"
            " SELECT id, channel, 1, 1, 0, 0, '', 1, '', '', '{}'"
            " FROM approval_requests, unnest(ARRAY['linear', 'github', 'workflow']) AS channel"
        )
        cursor.execute(
            "INSERT INTO approvals_auditentry"
            " (stream, number, name, actor, actor_key, via, data, at, digest)"
            " SELECT id, 1, 'request.opened', '', '', 'system', '{}', created_at, ''"
            " FROM approval_requests"
        )
    for _ in range(5):
        vote(opened())
    while metrics.roll_up(seconds=10):
        pass


def read_whole() -> dict[str, int]:
    """How often each large table was read from end to end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname = ANY(%s)",
            [list(LARGE)],
        )
        return dict(cursor.fetchall())


@pytest.mark.parametrize("known", [True, False], ids=["analysed", "never analysed"])
def test_a_scrape_and_a_roll_up_read_no_large_table_from_end_to_end(
    busy_for_long: None, known: bool
) -> None:
    if known:
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {', '.join(LARGE)}")
    before = read_whole()
    Page.scrape()
    metrics.roll_up(seconds=1)
    assert read_whole() == before
    assert len(before) == len(LARGE)


def test_a_scrape_reads_of_the_deliveries_what_is_owed(busy_for_long: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"VACUUM ANALYZE {', '.join(LARGE)}")
    before = rows_read("approvals_delivery")
    Page.scrape()
    assert 5 <= rows_read("approvals_delivery") - before < 100


def test_a_scrape_of_many_requests_takes_a_moment(busy_for_long: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(LARGE)}")
    waiting = ApprovalRequest.objects.filter(status="pending").count()
    took: list[float] = []
    # The least of several, since other tests use the machine meanwhile. What the process itself
    # counted grows with every page that other tests have asked it for, and is left out.
    while len(took) < 50 and min(took, default=SCRAPE_SECONDS) >= SCRAPE_SECONDS:
        begun = time.perf_counter()
        page = rendered(scrape(), openmetrics=False)
        took.append(time.perf_counter() - begun)
    pending = Page(page).all("hitl_approvals_pending")
    assert sum(pending.values()) == waiting > 50
    assert min(took) < SCRAPE_SECONDS
