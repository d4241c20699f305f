"""Insights: what the page says, that pictures and tables agree, and what it costs."""

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from xml.etree import ElementTree as ET

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import charts
from approvals.clock import clock
from approvals.core.lifecycle import Choice
from approvals.preferences import COOKIE, ZONE_COOKIE, Theme
from approvals.views.figures import FIGURES
from tests.approvals.history import fill, put, put_vote
from tests.approvals.pages import Page, read, signed_in
from tests.approvals.scenes import manager

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\u202e]]>&\x01\uffff"


@pytest.fixture
def desk() -> Client:
    """The browser of a release manager."""
    return signed_in(manager("maria"))


@pytest.fixture
def busy() -> None:
    """A few requests of the last minutes, decided by two people."""
    now = clock()
    for number, status in enumerate(("approved", "approved", "rejected", "expired")):
        decided_at = now - timedelta(seconds=60)
        risk = ("low", "high", "critical", "high")[number]
        opened_at = decided_at - timedelta(seconds=100 * (number + 1))
        request_id = put(status, opened_at, decided_at, risk=risk, operation=f"operation_{number}")
        if status != "expired":
            choice = Choice.APPROVE if status == "approved" else Choice.REJECT
            voter = manager("grace" if number else "otto")
            put_vote(request_id, voter, decided_at, choice, seconds=number + 1.5)


def picture(client: Client, address: str) -> ET.Element:
    """The image as a parser of XML sees it."""
    answer = client.get(address)
    assert answer.status_code == 200
    assert answer["Content-Type"] == "image/svg+xml; charset=utf-8"
    return ET.fromstring(answer.content)  # noqa: S314 - our own


def words(root: ET.Element) -> list[str]:
    """Every text that is drawn."""
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def images(page: Page) -> Iterator[str]:
    """The addresses of all pictures, for wide and narrow places."""
    yield from (image.attributes["src"] for image in page.find("img"))
    yield from (source.attributes["srcset"] for source in page.find("source"))


def table(client: Client, name: str, query: str = "") -> list[list[str]]:
    """The cells of a figure's table."""
    html = client.get(f"/insights/{query}").content.decode()
    part = html.split(f'aria-labelledby="{name}"')[1].split("</section>")[0]
    body = part.split("<tbody>")[1].split("</tbody>")[0]
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line) for line in body.split("</tr>")[:-1]]


@pytest.mark.parametrize("address", ["/insights/", "/insights/volume.svg?span=24h"])
def test_insights_ask_for_a_login(address: str) -> None:
    assert Client().get(address)["Location"].startswith("/accounts/login/?next=/insights/")


def test_a_page_has_a_picture_and_a_table_for_each_figure(desk: Client, busy: None) -> None:
    page = read(desk.get("/insights/"))
    assert len(page.find("img")) == len(page.find("table")) == len(FIGURES) == 9
    assert len(page.find("caption")) == 9
    assert all(image.attributes["alt"].startswith("Chart: ") for image in page.find("img"))
    for name in FIGURES:
        assert page.find("section", **{"aria-labelledby": name})
        assert page.find("h2", id=name)
    heads = page.find("th")
    assert {head.attributes["scope"] for head in heads} == {"col", "row"}
    assert list(page.faults()) == []
    for address in images(page):
        assert words(picture(desk, address))


def test_the_tables_say_what_was_put_in(desk: Client, busy: None) -> None:
    assert table(desk, "outcomes")[:3] == [
        ["Approved", "2", "50%"],
        ["Rejected", "1", "25%"],
        ["Expired", "1", "25%"],
    ]
    assert table(desk, "risks") == [
        ["Critical", "1", "5 min", "5 min"],
        ["High", "1", "3 min 20 s", "3 min 20 s"],
        ["Low", "1", "1 min 40 s", "1 min 40 s"],
    ]
    assert table(desk, "slowest")[0] == ["Operation 2", "1", "5 min", "5 min"]
    assert table(desk, "rejected") == [["Operation 2", "1", "1", "100%"]]
    assert table(desk, "approvers") == [
        ["grace", "2", "1", "1", "50%"],
        ["otto", "1", "1", "0", "0%"],
    ]
    assert table(desk, "care") == [["otto", "1", "1.5 s", "0"], ["grace", "2", "3.0 s", "0"]]
    days = table(desk, "volume", "?span=30d")
    assert len(days) == 30
    assert sum(int(row[-1]) for row in days) == 4


def test_the_picture_has_the_numbers_of_the_table(desk: Client, busy: None) -> None:
    page = read(desk.get("/insights/?span=24h"))
    (address,) = [one for one in images(page) if "/outcomes.svg" in one and "narrow" not in one]
    put("approved", clock(), clock())
    drawn = words(picture(desk, address))
    assert drawn.count("2 (50%)") == 1
    assert drawn.count("1 (25%)") == 2
    # The moment is in the address; without it, the picture is as of now.
    assert "3 (60%)" in words(picture(desk, "/insights/outcomes.svg"))


def test_votes_that_were_cast_without_opening_the_page_are_counted(
    desk: Client, busy: None
) -> None:
    now = clock()
    for voter in (manager("otto"), manager("batchelor")):
        request_id = put("approved", now - timedelta(minutes=2), now - timedelta(minutes=1))
        put_vote(request_id, voter, now - timedelta(minutes=1), Choice.APPROVE, seconds=None)
    assert table(desk, "care") == [
        ["otto", "1", "1.5 s", "1"],
        ["grace", "2", "3.0 s", "0"],
        ["batchelor", "0", "none", "1"],
    ]
    assert "without opening it: several at once" in read(desk.get("/insights/")).text


def test_where_nobody_opened_a_page_the_votes_are_still_counted(desk: Client) -> None:
    now = clock()
    request_id = put("approved", now - timedelta(minutes=2), now - timedelta(minutes=1))
    put_vote(request_id, manager("otto"), now - timedelta(minutes=1))
    text = read(desk.get("/insights/")).text
    assert "Nobody voted by a request's page in this time." in text
    assert "cast without opening it: 1." in text


def test_the_numbers_say_what_they_mean(desk: Client, busy: None) -> None:
    text = read(desk.get("/insights/")).text
    assert "A median of a few seconds hints at rubber-stamping" in text
    assert "only votes by that page are timed" in text


def test_time_of_day_is_that_of_the_viewer(desk: Client) -> None:
    at = clock().replace(minute=20) - timedelta(days=1)
    put("pending", at)
    desk.cookies[ZONE_COOKIE] = "Asia/Kathmandu"
    shifted = (at + timedelta(hours=5, minutes=45)).hour
    rows = table(desk, "hours")
    assert [row for row in rows if row[1] != "0"] == [[f"{shifted:02}:00", "1", "0"]]
    assert "in Asia/Kathmandu" in read(desk.get("/insights/")).text
    root = picture(desk, "/insights/hours.svg")
    bars = [bar for bar in root.iter(f"{SVG}rect") if "rect" in bar.get("class", "").split()]
    tall = [place for place, bar in enumerate(bars[:24]) if float(bar.attrib["height"]) > 0]
    assert tall == [shifted]


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-14", "Asia/Kathmandu", "UTC"])
def test_every_zone_that_can_be_chosen_can_be_drawn_in(desk: Client, busy: None, zone: str) -> None:
    desk.cookies[ZONE_COOKIE] = zone
    assert desk.get("/insights/?span=24h").status_code == 200
    assert desk.get("/insights/hours.svg?span=24h").status_code in {200, 404}


@pytest.mark.parametrize(("span", "words_"), [("24h", "24 hours"), ("7d", "7 days")])
def test_an_empty_system_says_what_to_do_next(desk: Client, span: str, words_: str) -> None:
    page = read(desk.get(f"/insights/?span={span}"))
    assert f"Nothing was asked for, decided or voted on in the last {words_}." in page.text
    assert "/insights/?span=30d" in page.links()
    assert not page.find("img")
    assert "Agents ask through the API" in read(desk.get("/insights/?span=30d")).text


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_of_nothing_is_still_a_picture(desk: Client, name: str) -> None:
    for size in ("wide", "narrow"):
        assert picture(desk, f"/insights/{name}.svg?size={size}").tag == f"{SVG}svg"


def test_a_figure_without_numbers_says_so(desk: Client) -> None:
    now = clock()
    put("approved", now - timedelta(seconds=9), now - timedelta(seconds=5))
    text = read(desk.get("/insights/")).text
    assert "Nothing was rejected in this time." in text
    assert "Nobody voted in this time." in text


@pytest.mark.parametrize("span", ["24h", "7d", "30d"])
def test_the_span_is_in_the_address(desk: Client, busy: None, span: str) -> None:
    page = read(desk.get(f"/insights/?span={span}"))
    assert page.find("a", href=f"/insights/?span={span}", **{"aria-current": "page"})
    assert all(f"?span={span}" in address for address in images(page))


def test_what_cannot_be_chosen_is_refused(desk: Client) -> None:
    answer = desk.get("/insights/?span=1y")
    assert answer.status_code == 422
    assert "Choose one of them above" in read(answer).text
    for address in ("/insights/nothing.svg", "/insights/volume.svg?span=1y"):
        assert desk.get(address).status_code == 404


@pytest.mark.parametrize("until", ["yesterday", "0001-01-01T00:00:00Z", "9999-01-01", "2026-01-01"])
def test_a_moment_that_no_page_gave_out_is_now(desk: Client, busy: None, until: str) -> None:
    assert "2 (50%)" in words(picture(desk, f"/insights/outcomes.svg?until={until}"))


def test_hostile_names_are_drawn_as_text(desk: Client) -> None:
    now = clock() - timedelta(seconds=5)
    for _ in range(2):
        put("rejected", now - timedelta(seconds=9), now, agent=HOSTILE, operation=HOSTILE)
    page = read(desk.get("/insights/"))
    assert list(page.faults()) == []
    assert "\u202e" not in page.text
    for address in images(page):
        answer = desk.get(address)
        root = ET.fromstring(answer.content)  # noqa: S314 - our own
        assert b"<script" not in answer.content
        assert "\u202e" not in "".join(root.itertext())
    assert "<script>alert(1)</scrip…"[:15] in "".join(words(picture(desk, "/insights/agents.svg")))


@pytest.mark.parametrize("name", FIGURES)
def test_a_picture_holds_no_script_and_no_address_elsewhere(
    desk: Client, busy: None, name: str
) -> None:
    answer = desk.get(f"/insights/{name}.svg")
    assert answer["Content-Security-Policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    )
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in answer["Cache-Control"]
    root = ET.fromstring(answer.content)  # noqa: S314 - our own
    for element in root.iter():
        assert element.tag.removeprefix(SVG) not in {"script", "foreignObject", "image", "a"}
        assert not [key for key in element.attrib if key.startswith("on") or key.endswith("href")]
    text = answer.content.decode().replace("http://www.w3.org/2000/svg", "")
    assert "//" not in text
    assert "@import" not in text


@pytest.mark.parametrize(
    ("theme", "grounds", "asks"),
    [
        ("light", {"#ffffff"}, False),
        ("dark", {"#181f1c"}, False),
        ("system", {"#ffffff", "#181f1c"}, True),
    ],
)
def test_a_picture_wears_the_theme_of_the_browser(
    desk: Client, busy: None, theme: str, grounds: set[str], asks: bool
) -> None:
    desk.cookies[COOKIE] = f"theme={theme}"
    text = desk.get("/insights/volume.svg").content.decode()
    assert set(re.findall(r"--surface:(#\w+)", text)) == grounds
    assert ("prefers-color-scheme:dark" in text.replace(" ", "")) is asks


def test_the_colours_of_charts_are_those_of_the_pages() -> None:
    css = (settings.BASE_DIR / "static" / "hitl.css").read_text()
    for name, (light, dark) in charts.PALETTE.items():
        assert f"--{name}: light-dark({light}, {dark});" in css


def test_series_differ_by_more_than_their_colour() -> None:
    series = [charts.Series(str(n), "accent", [n + 1.0]) for n in range(4)]
    text = charts.columns(
        "Four", ["one"], series, theme=Theme.LIGHT, size=charts.WIDE, stacked=True
    )
    patterns = re.findall(r"<pattern id=\"fill-\d\"[^>]*>(.*?)</pattern>", text)
    assert len(set(patterns)) == 4


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [(0, [0, 1]), (3, [0, 1, 2, 3]), (11, [0, 5, 10, 15]), (99, [0, 20, 40, 60, 80, 100])],
)
def test_an_axis_counts_in_whole_numbers(highest: int, ticks: list[int]) -> None:
    series = [charts.Series("Requests", "accent", [float(highest)])]
    drawn = charts.columns("Some", [""], series, theme=Theme.LIGHT, size=charts.WIDE, stacked=False)
    root = ET.fromstring(drawn)  # noqa: S314 - our own
    assert [int(text) for text in words(root) if text.isdecimal()] == ticks


@pytest.mark.parametrize("rows", [1, 30])
def test_insights_cost_the_same_queries_however_much_happened(desk: Client, rows: int) -> None:
    now = clock()
    for number in range(rows):
        names = {"agent": f"agent {number}", "operation": f"operation {number}"}
        request_id = put(
            "rejected", now - timedelta(minutes=2), now - timedelta(minutes=1), **names
        )
        voter = manager(f"voter {number}")
        put_vote(request_id, voter, now - timedelta(minutes=1), Choice.REJECT, seconds=3)
    with CaptureQueriesContext(connection) as queries:
        assert desk.get("/insights/").status_code == 200
    # Session, account, clock; opened, ended, risks, agents, slowest, rejected, approvers, fastest.
    assert len(queries) == 11
    with CaptureQueriesContext(connection) as queries:
        assert desk.get("/insights/agents.svg").status_code == 200
    assert len(queries) == 4


def test_pictures_are_drawn_from_what_the_page_read(desk: Client) -> None:
    now = clock()
    request_id = put("rejected", now - timedelta(minutes=2), now - timedelta(minutes=1))
    put_vote(request_id, manager("otto"), now - timedelta(minutes=1), Choice.REJECT, seconds=3)
    pictures = [image.attributes["src"] for image in read(desk.get("/insights/")).find("img")]
    assert len(pictures) == 9
    for address in pictures:
        with CaptureQueriesContext(connection) as queries:
            assert desk.get(address).status_code == 200
        # Session, account, clock.
        assert len(queries) == 3, address


def test_the_busiest_is_named_and_not_said_to_be_most(desk: Client) -> None:
    now = clock()
    for minutes in (1, 1, 60 * 30, 60 * 60):
        put("approved", now - timedelta(minutes=minutes), now)
    told = " ".join(image.attributes["alt"] for image in read(desk.get("/insights/")).find("img"))
    assert "4 in all; the busiest day is" in told
    assert "with 2." in told
    assert "The busiest hour begins at" in told


def test_insights_into_a_hundred_thousand_requests_take_a_moment(desk: Client) -> None:
    fill(100_000, ago=timedelta(hours=-23))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE approval_requests")
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        answer = desk.get("/insights/?span=30d")
        took.append(time.perf_counter() - begun)
    assert len(answer.content) < 100_000
    # The least of several, since other tests use the machine meanwhile.
    assert min(took) < 1.0
