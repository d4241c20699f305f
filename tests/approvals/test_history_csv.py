"""The history as CSV: what a line holds, what a spreadsheet makes of it, and that it streams."""

import codecs
import csv
import io
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from django.test import AsyncClient

from approvals import spreadsheet
from approvals.preferences import ZONE_COOKIE
from approvals.selectors import history
from approvals.views.history import CSV_BATCH
from tests.approvals.history import fill, put
from tests.approvals.pages import signed_in
from tests.approvals.scenes import manager

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def answered(
    use: Callable[[StreamingHttpResponse], Awaitable[Any]], query: str = "", zone: str = "UTC"
) -> Any:
    """What `use` makes of the response, as an ASGI server is given it."""
    user = User.objects.get(username=manager("maria").name)

    async def ask() -> Any:
        client = AsyncClient()
        await client.aforce_login(user)
        client.cookies[ZONE_COOKIE] = zone
        response = await client.get(f"/history.csv{query}")
        assert response.status_code == 200
        return await use(cast("StreamingHttpResponse", response))

    return async_to_sync(ask)()


def chunks(response: StreamingHttpResponse) -> AsyncIterator[bytes]:
    """The parts of the file, as they come."""
    return cast("AsyncIterator[bytes]", response.streaming_content)


def exported(query: str = "", zone: str = "UTC") -> list[dict[str, str]]:
    """The whole file, read as a spreadsheet reads it."""

    async def whole(response: StreamingHttpResponse) -> str:
        return b"".join([part async for part in chunks(response)]).decode("utf-8-sig")

    return list(csv.DictReader(io.StringIO(answered(whole, query, zone), newline="")))


def test_a_line_says_what_was_asked_who_decided_and_when_in_utc() -> None:
    request_id = put(
        "rejected",
        NOON,
        NOON + timedelta(seconds=90.5),
        agent="nightly",
        reason='No, "not" today\nnor tomorrow',
        arguments={"version": "v2", "api_token": "hush-hush"},
    )
    (line,) = exported(zone="Asia/Kathmandu")
    assert line == {
        "request_id": str(request_id),
        "status": "rejected",
        "risk_level": "high",
        "operation": "deploy",
        "environment": "production",
        "arguments": line["arguments"],
        "agent": "nightly",
        "requested_by": "ines",
        "opened_at": "2026-03-10T12:00:00.000+00:00",
        "decided_at": "2026-03-10T12:01:30.500+00:00",
        "seconds_to_decision": "90.500",
        "decided_by": "grace",
        "reason": 'No, "not" today\nnor tomorrow',
        "workflow_id": "w-1",
        "linear_issue": "",
        "pull_request": "",
        "page": f"http://127.0.0.1:8000/approvals/{request_id}/",
    }
    assert "version v2" in line["arguments"]
    assert "hush" not in line["arguments"]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1+1"]
)
def test_a_spreadsheet_finds_nothing_to_run(text: str) -> None:
    put("rejected", NOON, NOON, agent=text, operation=text, reason=text, decided_by=text)
    (line,) = exported()
    for column in ("agent", "operation", "reason", "decided_by"):
        assert line[column] == f"'{text}"


def test_a_text_without_a_formula_stands_as_it_is() -> None:
    assert spreadsheet.inert("a=b") == "a=b"
    assert spreadsheet.inert("") == ""


def test_a_very_long_argument_is_cut() -> None:
    put("approved", NOON, NOON, arguments={"text": "x" * 60_000})
    (line,) = exported()
    assert len(line["arguments"]) == 1000
    assert line["arguments"].endswith("…")


def test_the_filters_of_the_page_hold_for_the_file() -> None:
    wanted = put("rejected", NOON, NOON, agent="nightly")
    put("approved", NOON, NOON, agent="nightly")
    put("rejected", NOON, NOON + timedelta(days=1), agent="nightly")
    lines = exported("?status=rejected&agent=nightly&until=2026-03-10&cursor=ignored")
    assert [line["request_id"] for line in lines] == [str(wanted)]


def test_a_filter_that_makes_no_sense_is_refused_before_anything_is_sent() -> None:
    answer = signed_in(manager("maria")).get("/history.csv?since=2026-03-11&until=2026-03-10")
    assert answer.status_code == 422
    assert answer.content.decode() == "The last day is before the first."


def test_an_empty_file_names_its_columns_behind_the_mark_of_utf_8() -> None:
    async def whole(response: StreamingHttpResponse) -> bytes:
        return b"".join([part async for part in chunks(response)])

    columns = ",".join(spreadsheet.HEADER) + "\r\n"
    assert answered(whole) == codecs.BOM_UTF8 + columns.encode()


def test_the_mark_of_utf_8_stands_once_before_names_of_any_script() -> None:
    for _ in range(2):
        put("approved", NOON, NOON, agent="Zoë 漢字")

    async def whole(response: StreamingHttpResponse) -> bytes:
        return b"".join([part async for part in chunks(response)])

    assert answered(whole).count(codecs.BOM_UTF8) == 1
    assert {line["agent"] for line in exported()} == {"Zoë 漢字"}


def test_the_file_is_named_for_the_day_and_kept_by_nobody() -> None:
    async def headers(response: StreamingHttpResponse) -> dict[str, str]:
        return dict(response.headers)

    found = answered(headers)
    assert found["Content-Type"] == "text/csv; charset=utf-8"
    assert found["Content-Disposition"].startswith('attachment; filename="history-20')
    assert "no-store" in found["Cache-Control"]
    assert "Content-Length" not in found


def test_the_first_lines_arrive_before_the_last_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(3 * CSV_BATCH + 1)
    read: list[int] = []
    list_ended = history.list_ended

    def counted(*args: Any, **facts: Any) -> Any:
        page = list_ended(*args, **facts)
        read.append(len(page.rows))
        return page

    monkeypatch.setattr(history, "list_ended", counted)

    async def follow(response: StreamingHttpResponse) -> list[tuple[int, int]]:
        return [(part.count(b"\r\n"), len(read)) async for part in chunks(response)]

    assert answered(follow) == [(1, 0), (200, 1), (200, 2), (200, 3), (1, 4)]
    assert read == [200, 200, 200, 1]


def test_a_client_that_leaves_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    fill(3 * CSV_BATCH)
    read: list[str] = []
    list_ended = history.list_ended

    def counted(*args: Any, **facts: Any) -> Any:
        read.append(facts["cursor"])
        return list_ended(*args, **facts)

    monkeypatch.setattr(history, "list_ended", counted)

    async def leave(response: StreamingHttpResponse) -> None:
        parts = chunks(response)
        await anext(parts)
        await anext(parts)
        await parts.aclose()  # type: ignore[attr-defined]

    answered(leave)
    assert len(read) == 1


def test_memory_does_not_grow_with_the_number_of_lines() -> None:
    """Twenty times the lines take no more: so a million would not sit in memory either."""

    async def drained(response: StreamingHttpResponse) -> int:
        lines = 0
        async for part in chunks(response):
            lines += part.count(b"\r\n")
        return lines

    def peak(number: int) -> int:
        tracemalloc.start()
        try:
            assert answered(drained) == number + 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    answered(drained)
    fill(500)
    few = peak(500)
    fill(9_500, ago=timedelta(days=10))
    many = peak(10_000)
    assert many < 1.5 * few
    assert many < 10_000_000
