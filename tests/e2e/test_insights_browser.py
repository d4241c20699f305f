"""History and insights in a real browser: what it shows, and what it complains about."""

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from approvals.clock import clock
from approvals.core.lifecycle import Choice
from approvals.models import Vote
from tests.approvals.history import fill, put, put_vote
from tests.approvals.scenes import MIGRATE, manager, opened
from tests.browser import Complaints
from tests.e2e.desk import opened_page, request_link

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_channels")]
LONG = "x" * 180


def busy(name: str = "cicd") -> None:
    """A few requests of the last minutes, two of them voted on."""
    at = clock() - timedelta(minutes=1)
    for status, choice in (("approved", Choice.APPROVE), ("rejected", Choice.REJECT)):
        opened_at = at - timedelta(minutes=5)
        request_id = put(status, opened_at, at, agent=name, operation=name, reason=name)
        put_vote(request_id, manager("otto"), at, choice, seconds=2.0)


def pictures_are_drawn(page: Page) -> bool:
    """Whether every picture arrived and could be drawn."""
    drawn = "() => [...document.images].every(one => one.complete && one.naturalWidth > 100)"
    page.wait_for_load_state("networkidle")
    return bool(page.evaluate(drawn))


@pytest.mark.parametrize(
    ("width", "scheme"), [(360, "light"), (360, "dark"), (768, "light"), (1400, "dark")]
)
def test_pictures_are_drawn_and_nothing_overflows(
    browser: Browser, site: str, maria: str, width: int, scheme: str
) -> None:
    busy(LONG)
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page, complaints = opened_page(context, site, maria)
    for address in ("/history/", "/insights/?span=24h", "/insights/?span=30d"):
        page.goto(site + address)
        assert pictures_are_drawn(page)
        for summary in page.locator("details.numbers > summary").all():
            summary.click()
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wider) == 0, address
        beyond = (
            "() => [...document.querySelectorAll('.numbers')]"
            ".filter(one => one.scrollWidth > one.clientWidth + 1).length"
        )
        assert page.evaluate(beyond) == 0, address
    narrow = page.evaluate("document.images[0].currentSrc").count("size=narrow")
    assert narrow == (1 if width == 360 else 0)
    assert complaints.sentences == []
    context.close()


def test_everything_works_without_javascript(
    browser: Browser, site: str, maria: str, tmp_path: Path
) -> None:
    busy()
    fill(60)
    context = browser.new_context(java_script_enabled=False)
    page, complaints = opened_page(context, site, maria)
    page.get_by_role("link", name="History", exact=True).click()
    page.get_by_label("Outcome").select_option("rejected")
    page.get_by_label("Agent").fill("cicd")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".row").first).to_contain_text("Rejected")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download what fits as CSV").click()
    file = tmp_path / "history.csv"
    download.value.save_as(file)
    assert download.value.suggested_filename.endswith(".csv")
    assert len(file.read_text().splitlines()) == 1 + page.locator(".row").count()
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("link", name="Earlier").click()
    expect(page.get_by_text("Nothing is older.")).to_be_visible()
    page.get_by_role("link", name="Insights").click()
    page.get_by_role("link", name="24 hours").click()
    page.locator("#volume-numbers summary").click()
    expect(page.locator("#volume-numbers table")).to_contain_text("Critical")
    assert complaints.sentences == []
    context.close()


def test_a_vote_in_the_browser_is_timed_from_the_first_showing(
    desk: tuple[Page, Complaints],
) -> None:
    page, complaints = desk
    request_id = opened(MIGRATE)
    page.locator(request_link(request_id)).click()
    page.get_by_role("button", name="Approve", exact=True).wait_for()
    page.wait_for_timeout(1_500)
    # The page refreshes itself, and still counts from when it was opened.
    with page.expect_response(lambda answer: f"/approvals/{request_id}/?shown=" in answer.url):
        page.evaluate("htmx.trigger(document.getElementById('request'), 'changed')")
    page.get_by_role("button", name="Approve", exact=True).click()
    expect(page.locator("#notices")).to_contain_text("Approved.")
    seconds = Vote.objects.get(request_id=request_id).seconds_to_vote
    assert seconds is not None
    assert 1.5 <= seconds < 60
    assert complaints.sentences == []


def test_a_phone_folds_the_filters_of_the_history_and_says_how_many_are_set(
    browser: Browser, site: str, maria: str
) -> None:
    fill(5)
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page, complaints = opened_page(context, site, maria)
    page.goto(f"{site}/history/?status=rejected&agent=cicd")
    more = page.get_by_text("More filters, 2 set")
    expect(page.get_by_label("Search")).to_be_visible()
    expect(page.get_by_label("Outcome")).to_be_hidden()
    expect(page.get_by_role("heading", name="What fits these filters")).to_be_in_viewport()
    more.press("Enter")
    expect(page.get_by_label("Outcome")).to_have_value("rejected")
    page.goto(f"{site}/history/?since=2026-02-01&until=2026-01-01")
    expect(page.get_by_label("To", exact=True)).to_be_visible()
    page.set_viewport_size({"width": 1400, "height": 844})
    page.goto(f"{site}/history/")
    expect(page.get_by_label("Outcome")).to_be_visible()
    expect(page.get_by_text("More filters")).to_be_hidden()
    # The browser itself writes the 422 that was asked for to its console.
    assert [text for text in complaints.sentences if "422" not in text] == []
    context.close()
