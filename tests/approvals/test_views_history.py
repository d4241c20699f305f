"""The history: what it lists, how one finds something in it, and what a page costs."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import search
from approvals.clock import clock
from approvals.preferences import ZONE_COOKIE
from approvals.selectors import history
from approvals.selectors.queue import PAGE_SIZE
from tests.approvals.history import FINAL, fill, put
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import DEPLOY, approve, manager, opened, pass_deadline, reject

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def listed(client: Client, query: str = "") -> list[UUID]:
    """The requests on a page of the history, in their order."""
    answer = client.get(f"/history/{query}")
    assert answer.status_code == 200
    links = read(answer).find("a", **{"class": "row-link"})
    return [UUID(link.attributes["href"].split("/")[2]) for link in links]


@pytest.fixture
def desk() -> Client:
    """The browser of a release manager."""
    return signed_in(manager("maria"))


@pytest.mark.parametrize("address", ["/history/", "/history.csv", "/history/?risk_level=high"])
def test_the_history_asks_for_a_login(address: str) -> None:
    assert Client().get(address)["Location"].startswith("/accounts/login/?next=/history")
    assert Client().post(address).status_code in {302, 405}


def test_what_ended_is_listed_the_latest_first_and_what_waits_is_not(desk: Client) -> None:
    first, second, waiting = opened(DEPLOY), opened(DEPLOY), opened(DEPLOY)
    late = opened(DEPLOY)
    pass_deadline(late)
    reject(second, manager("grace"), "Not on a Friday")
    approve(first, manager("otto"))
    assert listed(desk) == [first, second]
    text = read(desk.get("/history/")).text
    assert "Not on a Friday" in text
    assert "by otto" in text
    assert str(waiting) not in text


@pytest.mark.parametrize(
    "query",
    [
        "status=rejected",
        "risk_level=low",
        "agent=nightly",
        "environment=staging",
        "operation=update_docs",
        "decided_by=otto",
        "since=2026-03-20",
        "status=rejected&agent=nightly&since=2026-03-20&until=2026-03-20",
    ],
)
def test_filters_live_in_the_address(desk: Client, query: str) -> None:
    put("approved", NOON, NOON)
    later = NOON + timedelta(days=10)
    facts = {"operation": "update_docs", "environment": "staging", "agent": "nightly"}
    wanted = put("rejected", later, later, risk="low", decided_by="otto", **facts)
    assert listed(desk, f"?{query}") == [wanted]
    page = read(desk.get(f"/history/?{query}"))
    assert page.find("a", href="/history/")
    assert f"/history.csv?{query}" in page.links()


def test_days_are_those_of_the_viewer(desk: Client) -> None:
    # 00:15 on the 11th in Kathmandu.
    night = put("approved", NOON, datetime(2026, 3, 10, 18, 30, tzinfo=UTC))
    noon = put("approved", NOON, NOON)
    assert listed(desk, "?since=2026-03-10&until=2026-03-10") == [night, noon]
    desk.cookies[ZONE_COOKIE] = "Asia/Kathmandu"
    assert listed(desk, "?until=2026-03-10") == [noon]
    assert listed(desk, "?since=2026-03-11&until=2026-03-11") == [night]


def test_words_find_requests_of_the_last_90_days_unless_asked_for_older_ones(desk: Client) -> None:
    found = opened({**DEPLOY, "description": "The spring release"})
    approve(found, manager("otto"))
    old = put("approved", NOON - timedelta(days=300), NOON)
    for request_id in (found, old):
        search.add_words(request_id, "marzipan")
    assert listed(desk, "?text=spring+rel") == [found]
    assert listed(desk, "?text=nothing+like+this") == []
    assert listed(desk, "?text=marzipan") == [found]
    page = read(desk.get("/history/?text=marzipan&risk_level=critical"))
    assert "of the last 90 days" in page.text
    assert "/history/?text=marzipan&risk_level=critical&older=1" in page.links()
    page = read(desk.get("/history/?text=marzipan&older=1"))
    assert page.find("input", name="older", type="hidden")
    assert "90 days" not in page.text
    assert listed(desk, "?text=marzipan&older=1") == [found, old]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("status=pending", "Outcome"),
        ("risk_level=huge", "Risk"),
        ("since=2026-03-11&until=2026-03-10", "The last day is before the first."),
        ("since=yesterday", "From"),
        ("until=9999-12-31", "Choose a day of this century."),
        ("agent=%00", "Agent"),
        ("cursor=elsewhere", "cursor"),
    ],
)
def test_what_makes_no_sense_is_said_in_place(desk: Client, query: str, words: str) -> None:
    put("approved", NOON, NOON)
    answer = desk.get(f"/history/?{query}")
    page = read(answer)
    assert answer.status_code == 422
    assert words in page.text
    assert "see the whole history" in page.text
    assert not page.find("a", **{"class": "row-link"})
    assert page.undescribed() == []


def test_pages_follow_each_other_without_gap_or_repeat(desk: Client) -> None:
    fill(90)
    at = clock() - timedelta(minutes=1)
    ties = {put("approved", at, at) for _ in range(70)}
    found: list[UUID] = []
    address = "/history/?risk_level=high"
    for _ in range(5):
        page = read(desk.get(address))
        links = page.find("a", **{"class": "row-link"})
        found += [UUID(link.attributes["href"].split("/")[2]) for link in links]
        following = page.find("a", rel="next")
        if not following:
            break
        assert len(links) == PAGE_SIZE
        address = following[0].attributes["href"]
        assert "risk_level=high" in address
    assert len(found) == len(set(found))
    assert set(found[:70]) == ties
    assert len(found) == 70 + len([place for place in range(1, 91) if place // 3 % 4 == 2])
    assert "Nothing older fits." in page.text
    assert page.find("a", href="/history/?risk_level=high")


def test_an_empty_history_says_what_to_do_next(desk: Client) -> None:
    text = read(desk.get("/history/")).text
    assert "Nothing was decided yet." in text
    assert "What waits is in the queue" in text
    put("approved", NOON, NOON)
    text = read(desk.get("/history/?agent=nobody")).text
    assert "Nothing that was decided or ended fits these filters." in text
    assert "Names must match exactly" in text


def test_filters_suggest_what_was_seen_lately(desk: Client) -> None:
    put("approved", NOON, NOON, agent='<img src=x onerror="1">', environment="")
    page = read(desk.get("/history/?operation=de"))
    field = page.find("input", name="agent")[0]
    assert page.find("datalist", id=field.attributes["list"])
    offered = [option.attributes["value"] for option in page.find("option")]
    assert '<img src=x onerror="1">' in offered
    assert not page.find("img")
    assert page.find("input", name="operation", value="de")


def test_the_page_keeps_the_strict_policy_and_labels_its_fields(desk: Client) -> None:
    put("approved", NOON, NOON)
    answer = desk.get("/history/")
    page = read(answer)
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert list(page.faults()) == []
    labelled = {label.attributes["for"] for label in page.find("label")}
    fields = [*page.find("select"), *page.find("input")]
    shown = [field for field in fields if field.attributes.get("type") != "hidden"]
    assert {field.attributes["id"] for field in shown} == labelled
    assert page.find("a", href="/history/", **{"aria-current": "page"})


@pytest.mark.parametrize("rows", [1, 30])
def test_the_history_costs_the_same_queries_however_many_rows(desk: Client, rows: int) -> None:
    fill(rows)
    with CaptureQueriesContext(connection) as queries:
        assert len(listed(desk)) == rows
    # Session, account, clock, the rows within their bound on time (3), what filters suggest.
    assert len(queries) == 8
    assert not [query for query in queries if "COUNT(" in query["sql"]]


def test_a_full_page_stays_small(desk: Client) -> None:
    fill(60)
    assert len(desk.get("/history/").content) < 100_000


@pytest.mark.parametrize("query", [{}, {"status": "rejected"}])
def test_a_page_of_a_long_history_is_read_along_an_index(query: dict[str, str | None]) -> None:
    fill(20_000, statuses=FINAL)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE approval_requests")
    now = clock()
    with CaptureQueriesContext(connection) as queries:
        first = history.list_ended(query, now)
        history.list_ended(query, now, cursor=first.next_cursor)
    for asked in queries:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {asked['sql']}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert "idx_decided_at" in plan
        assert "Sort" not in plan
