"""Everything can be reached and seen: where the keyboard is, in low and narrow windows too."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from approvals import services
from approvals.core.lifecycle import Choice
from tests.approvals.scenes import DEPLOY, MIGRATE, manager, opened
from tests.e2e.desk import opened_page, request_link
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_channels")]
BAR = ".batch-bar"
COVERED = """bar => document.activeElement.closest(".row").getBoundingClientRect().bottom
    - document.querySelector(bar).getBoundingClientRect().top"""
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@contextmanager
def window(browser: Browser, site: str, width: int, height: int) -> Iterator[Page]:
    """The queue in a window of that size."""
    context = browser.new_context(viewport={"width": width, "height": height})
    yield opened_page(context, site, "maria")[0]
    context.close()


def height(place: Locator) -> float:
    """How high an element is, once it is there to be seen.

    In one look, since the window may scroll between two; and again where a refresh has just put
    another one in its place.
    """
    seen: list[float] = []

    def look() -> bool:
        seen.append(float(place.evaluate("one => one.getBoundingClientRect().height")))
        return seen[-1] > 0

    eventually(look, "the element is to be seen")
    return seen[-1]


@pytest.mark.parametrize("width", [390, 1400])
def test_the_bar_of_what_is_chosen_hides_no_row_that_has_the_keyboard(
    browser: Browser, site: str, maria: str, width: int
) -> None:
    ids = [opened(MIGRATE) for _ in range(12)]
    with window(browser, site, width, 700) as page:
        page.locator(f"#pick-{ids[0]}").check()
        for _ in range(12):
            page.keyboard.press("j")
            # At one moment, since a refresh may come between two.
            assert page.evaluate(COVERED, BAR) <= 1


def test_in_a_low_window_no_bar_covers_the_page(browser: Browser, site: str, maria: str) -> None:
    ids = [opened(MIGRATE) for _ in range(6)]
    with window(browser, site, 320, 256) as page:
        page.locator(f"#pick-{ids[-1]}").check()
        assert page.evaluate(WIDER) == 0
        expect(page.locator(BAR)).to_have_css("position", "static")
        for word in ("Queue", "History", "Insights"):
            link = page.get_by_role("navigation").get_by_role("link", name=word, exact=True)
            # One line, so no word is broken.
            assert link.evaluate("one => one.getClientRects().length") == 1
            assert height(link) < 44
        page.goto(f"{site}/approvals/{ids[0]}/")
        expect(page.locator(".decision-bar")).to_have_css("position", "static")
        page.goto(f"{site}/insights/")
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        assert page.evaluate(WIDER) == 0


def test_where_one_is_shows_by_more_than_a_colour(browser: Browser, site: str, maria: str) -> None:
    shop = "https://github.com/acme/shop/pull/7"
    request_id = opened(DEPLOY, pr_number=7, pr_url=shop, github_repo="acme/shop")
    with window(browser, site, 1400, 900) as page:
        here = page.get_by_role("navigation").locator("[aria-current]")
        expect(here).to_have_css("text-decoration-line", "underline")
        # As drawn, so is the order of the keyboard.
        search = page.get_by_label("Search")
        search.focus()
        page.keyboard.press("Tab")
        expect(page.get_by_label("Status")).to_be_focused()
        outside = page.locator(".row .outside")
        assert height(outside) >= 24
        page.goto(f"{site}/insights/")
        span = page.locator(".spans [aria-current]")
        expect(span).to_have_css("text-decoration-line", "underline")
        span.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        inside, ring = span.evaluate(
            "one => [getComputedStyle(one).backgroundColor, getComputedStyle(one).outlineColor]"
        )
        assert (inside, ring) == ("rgb(14, 92, 86)", "rgb(255, 255, 255)")
        page.goto(f"{site}/")
        page.locator(request_link(request_id)).click()
        services.cast_vote(request_id, actor=manager("otto"), choice=Choice.REJECT, comment="No")
        # A mark and its words stand on one line, not in the columns of a run's steps.
        words = page.locator(".aftermath li > div").first
        words.wait_for()
        mark = page.locator(".aftermath li > svg").first
        gap = words.evaluate("one => one.getBoundingClientRect().left") - mark.evaluate(
            "one => one.getBoundingClientRect().right"
        )
        assert gap < 20
