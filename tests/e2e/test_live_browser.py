"""What arrives while a person is at work, in a real browser: nothing is lost, moved or pressed."""

import re
from uuid import UUID

import pytest
from playwright.sync_api import Page, Request, Route, expect

from approvals import services
from approvals.core.events import EventName
from approvals.core.lifecycle import Choice
from tests.approvals.scenes import DELETE, DEPLOY, MIGRATE, entries, manager, opened, row
from tests.browser import Complaints
from tests.e2e.desk import marked, request_link, same_page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_channels")]
Desk = tuple[Page, Complaints]
BATCH_WORDS = "Comment, or the reason for a rejection"


def rejected_by_otto(request_id: UUID) -> None:
    """Somebody else is quicker."""
    services.cast_vote(request_id, actor=manager("otto"), choice=Choice.REJECT, comment="No")


def focused(page: Page) -> str:
    """What has the keyboard, as its tag and id."""
    return str(page.evaluate("`${document.activeElement.tagName}#${document.activeElement.id}`"))


def at_request(page: Page, request_id: UUID) -> None:
    """Open a request's page, and leave a mark on it."""
    page.goto(page.url.split("?")[0] + f"approvals/{request_id}/")
    marked(page)


class Held:
    """Requests of the page that wait for their answer until they are let go."""

    def __init__(self, page: Page, pattern: str) -> None:
        self.routes: list[Route] = []
        self._page, self._open = page, False
        page.route(re.compile(pattern), self._hold)

    def _hold(self, route: Route) -> None:
        if self._open:
            route.fallback()
        else:
            self.routes.append(route)

    def wait(self, count: int = 1) -> None:
        """Wait until so many are held."""
        for _ in range(200):
            if len(self.routes) >= count:
                return
            self._page.wait_for_timeout(50)
        raise AssertionError(f"{len(self.routes)} of {count} requests were sent.")

    def let_go(self, body: str | None = None) -> None:
        """Answer them in their order, if given with this, and hold no more."""
        self._open = True
        for route in self.routes:
            if body is None:
                route.fallback()
            else:
                route.fulfill(body=body, content_type="text/html")


def test_a_sentence_goes_on_into_nothing_when_its_form_is_taken_away(desk: Desk) -> None:
    page, complaints = desk
    request_id = opened(DEPLOY)
    opened(MIGRATE)
    at_request(page, request_id)
    page.get_by_label("In your own words").press_sequentially("not o")
    rejected_by_otto(request_id)
    expect(page.locator(".decision")).to_contain_text("by otto")
    page.keyboard.type("n Friday, and g q", delay=30)
    expect(page.locator("#notices")).to_contain_text("not o")
    assert same_page(page)
    assert focused(page) == "P#"
    # Whoever has stopped typing has the keys back.
    page.wait_for_timeout(2100)
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Db migrate")
    assert complaints.sentences == []


def test_a_sentence_about_what_another_decided_approves_nothing_else(desk: Desk) -> None:
    page, complaints = desk
    taken, other = opened(MIGRATE), opened(MIGRATE)
    page.locator(f"#pick-{taken}").check()
    page.get_by_label(BATCH_WORDS).press_sequentially("rejected: n")
    rejected_by_otto(taken)
    expect(page.locator("#notices")).to_contain_text("What you had written: “rejected: n”")
    expect(page.locator("#notices .notice")).to_be_focused()
    page.keyboard.type("ext approval on jxa then", delay=30)
    page.wait_for_timeout(300)
    expect(page.locator(f"#pick-{other}")).not_to_be_checked()
    assert row(other).status == "pending"
    assert "vote.cast" not in entries(other)
    assert complaints.sentences == []


def test_a_button_pressed_elsewhere_keeps_what_is_half_written(desk: Desk) -> None:
    page, _ = desk
    request_id = opened(DELETE, action={"executor": "command", "argv": ["delete", "bucket"]})
    at_request(page, request_id)
    page.get_by_text("The frozen action as JSON").click()
    page.get_by_label("Wrong time").check()
    page.get_by_label("In your own words").fill("Not on")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".verdict-approve .errorlist")).to_contain_text("Type “production”")
    expect(page.get_by_label("In your own words")).to_have_value("Not on")
    expect(page.get_by_label("Wrong time")).to_be_checked()
    expect(page.locator("#action-json pre")).to_be_visible()
    # What the pressed form brings back is the gateway's word, not what stood there before.
    page.get_by_label("type “production”").fill("production")
    page.get_by_label("Comment (optional)").fill("Fine")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#notices")).to_have_text(re.compile("1 of 2"))
    expect(page.get_by_label("Comment (optional)")).to_have_value("")
    expect(page.get_by_label("In your own words")).to_have_value("Not on")


def test_two_buttons_at_once_leave_a_page_that_is_still_live(desk: Desk) -> None:
    page, _ = desk
    request_id = opened(DELETE)
    at_request(page, request_id)
    held = Held(page, r"/(approve|reject)/$")
    page.get_by_label("type “production”").fill("production")
    page.get_by_role("button", name="Approve").click()
    page.get_by_label("Wrong time").check()
    page.get_by_role("button", name="Reject").click()
    held.wait(2)
    held.let_go()
    expect(page.locator(".outcome")).to_contain_text("Rejected")
    services.record_event(request_id, EventName.RESUME_REFUSED, {"reason": "It came too late"})
    expect(page.locator(".timeline")).to_contain_text("It came too late", timeout=5000)
    assert same_page(page)


def test_a_proxys_error_brings_no_old_words_back(desk: Desk) -> None:
    page, _ = desk
    request_id = opened(DELETE)
    refresh = re.compile(rf"/approvals/{request_id}/\?")
    # A page refreshes itself once it listens; a second news meanwhile would wait for that.
    with page.expect_response(refresh):
        at_request(page, request_id)
    expect(page.locator(".htmx-request")).to_have_count(0)
    page.get_by_label("Comment (optional)").fill("Old words")
    with page.expect_response(lambda response: response.status == 502):
        page.route(
            refresh,
            lambda route: route.fulfill(status=502, body="bad gateway", content_type="text/html"),
            times=1,
        )
        page.evaluate("window.htmx.trigger('#request', 'changed')")
    page.get_by_label("Comment (optional)").fill("New words")
    page.get_by_label("type “production”").fill("staging")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".verdict-approve .errorlist")).to_contain_text("Type “production”")
    expect(page.get_by_label("Comment (optional)")).to_have_value("New words")
    assert same_page(page)


def test_a_filter_holds_though_a_refresh_was_under_way(desk: Desk) -> None:
    page, complaints = desk
    critical, medium = opened(DEPLOY), opened(MIGRATE)
    page.locator(request_link(medium)).wait_for()
    refreshes = Held(page, r"/$")
    page.evaluate("window.htmx.trigger('#queue', 'changed')")
    refreshes.wait()
    filters = Held(page, r"risk_level=critical")
    page.get_by_label("Risk").select_option("critical")
    filters.wait()
    refreshes.let_go()
    page.wait_for_timeout(300)
    filters.let_go()
    expect(page.locator(request_link(medium))).to_have_count(0)
    expect(page.locator(request_link(critical))).to_be_visible()
    # And though a verdict was under way, whose answer knows nothing of the filter.
    page.locator(f"#pick-{critical}").check()
    votes = Held(page, r"/batch/")
    page.get_by_role("button", name="Approve them").click()
    votes.wait()
    page.get_by_label("Risk").select_option("medium")
    page.wait_for_timeout(300)
    votes.let_go()
    expect(page.locator("#notices")).to_contain_text("on its own page")
    expect(page.locator(request_link(medium))).to_be_visible()
    expect(page.locator(request_link(critical))).to_have_count(0)
    # Filters replace one another in the address, so that Back leaves them.
    page.get_by_label("Search").fill("nothing-like-this")
    expect(page.locator("#announcer")).to_contain_text("0 for you to decide")
    expect(page).to_have_url(re.compile("text=nothing-like-this"))
    assert complaints.sentences == []


def test_the_first_click_after_a_search_counts(desk: Desk) -> None:
    page, complaints = desk
    request_id = opened(MIGRATE)
    sent: list[str] = []

    def write_down(request: Request) -> None:
        if request.headers.get("hx-trigger") in {"filters", "id_text"}:
            sent.append(request.url)

    page.on("request", write_down)
    with page.expect_response(re.compile("text=migrate")):
        page.get_by_label("Search").press_sequentially("migrate")
    page.wait_for_timeout(300)
    page.locator(f"#pick-{request_id}").click()
    page.wait_for_timeout(300)
    expect(page.locator(f"#pick-{request_id}")).to_be_checked()
    assert len(sent) == 1
    assert complaints.sentences == []


def test_failures_are_said_where_somebody_looks_and_are_true(desk: Desk) -> None:
    page, _ = desk
    page.set_viewport_size({"width": 390, "height": 700})
    request_id = opened(DEPLOY)
    at_request(page, request_id)
    address = re.compile(rf"/approvals/{request_id}/\?")
    # A refresh that the gateway cannot answer says nothing of anybody's login.
    with page.expect_response(lambda response: response.status == 500):
        page.route(
            address,
            lambda route: route.fulfill(
                status=500, body="<!doctype html>", content_type="text/html"
            ),
            times=1,
        )
        page.evaluate("window.htmx.trigger('#request', 'changed')")
    page.wait_for_timeout(100)
    expect(page.locator("#notices")).to_be_empty()
    # The gateway is down.
    page.get_by_label("Wrong time").check()
    page.route("**/reject/", lambda route: route.abort(), times=1)
    page.get_by_role("button", name="Reject").click()
    notice = page.locator("#notices .notice")
    expect(notice).to_contain_text("Open this page in another tab")
    expect(notice).to_be_in_viewport()
    expect(notice).to_be_focused()
    # The session has ended, and begins again elsewhere.
    cookies = page.context.cookies()
    page.context.clear_cookies()
    page.get_by_role("button", name="Reject").click()
    expect(notice).to_contain_text("not logged in any more")
    expect(notice).to_be_in_viewport()
    expect(notice).to_be_focused()
    page.context.add_cookies(
        [
            {"name": one["name"], "value": one["value"], "domain": one["domain"], "path": "/"}
            for one in cookies
        ]
    )
    page.evaluate("window.htmx.trigger('#request', 'changed')")
    expect(notice).to_have_count(0)
    expect(page.get_by_label("Wrong time")).to_be_checked()
    assert row(request_id).status == "pending"


def test_the_keyboard_stays_in_its_section_and_never_falls_to_the_page(desk: Desk) -> None:
    page, complaints = desk
    request_id, other = opened(DEPLOY), opened(MIGRATE)
    at_request(page, request_id)
    refresh = "window.htmx.trigger('#request', 'changed')"
    place = "document.activeElement.closest('header, .crumb, .request-decide')?.className"
    page.locator(".crumb-back").focus()
    with page.expect_response(lambda response: str(request_id) in response.url):
        page.evaluate(refresh)
    page.wait_for_timeout(100)
    assert page.evaluate(place) == "crumb"
    # A link in a list that the notices name, too.
    page.goto(page.url.split("approvals")[0])
    for one in (request_id, other):
        page.locator(f"#pick-{one}").check()
    page.get_by_role("button", name="Approve them").click()
    expect(page.locator("#notices")).to_contain_text("1 refused")
    expect(page.locator("#notices .notice")).to_be_focused()
    link = page.locator(f"#queue {request_link(request_id)}")
    link.focus()
    with page.expect_response(lambda response: response.url.endswith("/")):
        page.evaluate("window.htmx.trigger('#queue', 'changed')")
    page.wait_for_timeout(100)
    expect(link).to_be_focused()
    # The row goes to another page of the queue: the nearest thing that says something has the keys.
    page.goto(page.url.split("?")[0] + "?clear")
    page.get_by_label("Status").select_option("pending")
    link = page.locator(request_link(request_id))
    link.focus()
    rejected_by_otto(request_id)
    expect(link).to_have_count(0)
    assert focused(page) == "MAIN#content"
    assert complaints.sentences == []


def test_news_that_meets_a_refresh_is_not_lost(desk: Desk) -> None:
    page, complaints = desk
    first = opened(DEPLOY)
    page.locator(request_link(first)).wait_for()
    held = Held(page, r"/$")
    late = opened(MIGRATE)
    held.wait()
    # It was read before the next request, and is answered after.
    body = page.request.get(page.url, headers={"HX-Request": "true"}).text()
    services.cast_vote(late, actor=manager("otto"), choice=Choice.APPROVE)
    page.wait_for_timeout(1500)
    held.let_go(body)
    expect(page.locator("#decided")).to_be_visible()
    expect(page.locator(".rows-quiet")).to_contain_text("by otto", timeout=5000)
    assert complaints.sentences == []


def test_nothing_is_pulled_from_under_the_hand(desk: Desk) -> None:
    page, complaints = desk
    request_id = opened(MIGRATE, action={"executor": "command", "argv": ["migrate"]})
    at_request(page, request_id)
    page.evaluate("document.querySelector('#request').dataset.old = ''")
    old = page.locator("#request[data-old]")
    refresh = "window.htmx.trigger('#request', 'changed')"
    # A digest that is marked, to be copied.
    page.locator(".digest code").click(click_count=3)
    page.evaluate(refresh)
    page.wait_for_timeout(700)
    expect(old).to_have_count(1)
    page.evaluate("document.getSelection().removeAllRanges()")
    expect(old).to_have_count(0)
    # A word of several keys.
    page.evaluate("document.querySelector('#request').dataset.old = ''")
    page.get_by_label("Comment (optional)").focus()
    compose = (
        "name => document.activeElement.dispatchEvent(new CompositionEvent(name, {bubbles: true}))"
    )
    page.evaluate(compose, "compositionstart")
    page.evaluate(refresh)
    page.wait_for_timeout(700)
    expect(old).to_have_count(1)
    page.evaluate(compose, "compositionend")
    expect(old).to_have_count(0)
    # A button between the press and its end.
    page.get_by_role("button", name="Approve").hover()
    page.mouse.down()
    page.evaluate(refresh)
    page.wait_for_timeout(700)
    page.mouse.up()
    expect(page.locator("#notices")).to_contain_text("Approved.")
    assert complaints.sentences == []


def test_the_stream_is_opened_again_after_an_answer_that_is_none(desk: Desk) -> None:
    page, _ = desk
    page.clock.install()
    page.route("**/events", lambda route: route.fulfill(status=503, body="busy"), times=1)
    streams: list[Request] = []
    page.on("request", lambda one: streams.append(one) if one.url.endswith("/events") else None)
    page.reload()
    for _ in range(40):
        if len(streams) > 1:
            break
        # Not at once, since the answer may take its time to be an error.
        page.clock.run_for(2_000)
        page.wait_for_timeout(100)
    assert len(streams) == 2


def test_keys_leave_other_pages_and_what_is_open_alone(desk: Desk) -> None:
    page, complaints = desk
    opened(MIGRATE)
    page.locator("#batch input[name=request]").wait_for()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.mouse.click(5, 5)
    marked(page)
    page.keyboard.type("nghi")
    page.wait_for_timeout(300)
    assert same_page(page)
    page.keyboard.press("Escape")
    unused = """key => !document.body.dispatchEvent(
        new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}))"""
    assert page.evaluate(unused, "j")
    page.goto(page.url.split("?")[0] + "preferences/")
    assert [page.evaluate(unused, key) for key in "/njxar"] == [False] * 6
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("heading", name="Runs", exact=True).wait_for()
    page.keyboard.press("/")
    expect(page.get_by_label("Id or who asked")).to_be_focused()
    page.keyboard.type("nobody")
    expect(page.locator("#runs")).to_contain_text("No run fits these filters.")
    expect(page).to_have_url(re.compile("text=nobody"))
    assert complaints.sentences == []


def test_a_browser_that_notifies_nobody_says_so_and_works_on(desk: Desk) -> None:
    page, complaints = desk
    page.add_init_script(
        """window.Notification = class {
             static permission = "granted";
             static requestPermission() { return Promise.resolve("denied"); }
             constructor() { throw new TypeError("Illegal constructor"); }
           };
           Object.defineProperty(document, "hidden", {get: () => Boolean(window.away)});"""
    )
    page.goto(page.url.split("?")[0] + "preferences/")
    box = page.get_by_label("Notify me")
    box.click()
    expect(page.locator("#notices")).to_contain_text("does not allow")
    expect(box).not_to_be_checked()
    page.context.add_cookies(
        [{"name": "hitl_preferences", "value": "notify=1", "domain": "127.0.0.1", "path": "/"}]
    )
    page.goto(page.url.split("preferences")[0])
    page.evaluate("window.away = true; document.dispatchEvent(new Event('visibilitychange'))")
    for count in (1, 2):
        opened(MIGRATE)
        expect(page).to_have_title(re.compile(rf"^\({count}\) "))
        expect(page.locator("#batch-count")).to_have_text("0")
    assert complaints.sentences == []
