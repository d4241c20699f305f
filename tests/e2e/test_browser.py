"""Deciding in a real browser, on a real web server, with and without JavaScript."""

import re
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from playwright.sync_api import (
    APIResponse,
    Browser,
    Page,
    Response,
    Route,
    expect,
)

from approvals import services
from approvals.core.events import EventName
from approvals.core.lifecycle import Choice
from tests.approvals.scenes import DELETE, DEPLOY, MIGRATE, entries, manager, opened, row
from tests.browser import Complaints
from tests.e2e.desk import PASSWORD, marked, opened_page, request_link, same_page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_channels")]


def test_a_request_appears_by_itself_and_is_approved_in_place(
    desk: tuple[Page, Complaints],
) -> None:
    page, complaints = desk
    expect(page.locator("#queue")).to_contain_text("Nothing is waiting")
    marked(page)
    request_id = opened({**DEPLOY, "arguments": {"version": "v2.5.0"}}, requested_by="ines")
    link = page.locator(request_link(request_id))
    expect(link).to_have_text("Deploy v2.5.0 to production")
    assert same_page(page)
    link.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Deploy v2.5.0 to production")
    marked(page)
    page.get_by_label("Comment (optional)").fill("Checked with the team")
    page.get_by_label("type “production”").fill("production")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#notices")).to_contain_text("Approved. The operation may run now.")
    expect(page.locator(".decision")).to_contain_text("by maria")
    expect(page.locator(".timeline")).to_contain_text("approved the request")
    assert same_page(page)
    assert row(request_id).approved_by == "maria"
    assert complaints.sentences == []


def test_what_is_half_written_survives_what_others_do_meanwhile(
    desk: tuple[Page, Complaints],
) -> None:
    page, complaints = desk
    request_id = opened(DELETE, action={"executor": "command", "argv": ["delete", "bucket"]})
    page.locator(request_link(request_id)).click()
    page.get_by_text("The frozen action as JSON").click()
    reason = page.get_by_label("In your own words")
    reason.press_sequentially("We still need")
    services.cast_vote(request_id, actor=manager("otto"), choice=Choice.APPROVE, comment="Fine")
    expect(page.locator(".votes")).to_contain_text("otto")
    expect(reason).to_have_value("We still need")
    expect(reason).to_be_focused()
    expect(page.locator("#action-json pre")).to_be_visible()
    reason.press_sequentially(" this bucket")
    page.get_by_role("button", name="Reject").click()
    expect(page.locator(".decision")).to_contain_text("We still need this bucket")
    assert row(request_id).rejection_reason == "We still need this bucket"
    assert complaints.sentences == []


def test_an_answer_that_is_a_whole_page_is_looked_at_too(desk: tuple[Page, Complaints]) -> None:
    page, complaints = desk
    request_id = opened(DEPLOY)
    page.locator(request_link(request_id)).click()
    page.get_by_label("type “production”").fill("production")
    with page.expect_navigation():
        # As a key does that is faster than htmx, which hears no such sending.
        page.locator("form.verdict-approve").evaluate("form => form.submit()")
    notice = page.locator("#notices .notice")
    expect(notice).to_have_text("Approved. The operation may run now.")
    expect(notice).to_be_focused()
    assert row(request_id).status == "approved"
    assert complaints.sentences == []


def test_the_keyboard_keeps_its_place_while_rows_arrive(desk: tuple[Page, Complaints]) -> None:
    page, complaints = desk
    first = opened(DEPLOY)
    page.locator(request_link(first)).focus()
    second = opened(DELETE)
    page.locator(request_link(second)).wait_for()
    expect(page.locator(request_link(first))).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(str(first)))
    assert complaints.sentences == []


def test_a_late_click_is_refused_in_place(desk: tuple[Page, Complaints]) -> None:
    page, complaints = desk
    request_id = opened(DEPLOY)
    # Nothing tells this page: as if the stream were slower than the finger.
    page.route("**/events", lambda route: route.abort())
    page.locator(request_link(request_id)).click()
    page.get_by_label("type “production”").fill("production")
    services.cast_vote(request_id, actor=manager("otto"), choice=Choice.REJECT, comment="No")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#notices")).to_contain_text("already rejected by otto")
    expect(page.locator(".decision")).to_contain_text("No")
    assert row(request_id).status == "rejected"
    # The browser itself writes the refusal's 409 and the missing stream to its console.
    ours = [text for text in complaints.sentences if "Failed to load resource" not in text]
    assert ours == []


def test_what_changed_before_the_page_could_listen_appears_too(
    desk: tuple[Page, Complaints],
) -> None:
    page, complaints = desk
    other = page.context.new_page()
    other.goto(page.url)
    streams: list[Route] = []

    def hold(route: Route) -> None:
        streams.append(route)

    page.route("**/events", hold, times=1)
    with page.expect_request("**/events"):
        page.reload()
    link = request_link(opened(DEPLOY))
    # What one page was told of, the server tells nobody again.
    expect(other.locator(link)).to_be_visible()
    expect(page.locator(link)).to_have_count(0)
    streams[0].continue_()
    expect(page.locator(link)).to_be_visible()
    assert complaints.sentences == []


def test_a_refresh_that_overtakes_the_answer_to_a_vote_takes_nothing_away(
    desk: tuple[Page, Complaints],
) -> None:
    page, complaints = desk
    request_id = opened(DEPLOY)
    page.goto(page.url + f"approvals/{request_id}/")
    answers: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        answers.append((route, route.fetch()))

    page.route("**/approve/", hold, times=1)
    page.get_by_label("Comment (optional)").fill("Checked")
    page.get_by_label("type “production”").fill("Production ")

    def overtakes(response: Response) -> bool:
        return bool(answers) and urlsplit(response.url).path == f"/approvals/{request_id}/"

    with page.expect_response(overtakes):
        page.get_by_role("button", name="Approve").click()
    route, answer = answers[0]
    route.fulfill(response=answer)
    expect(page.locator("#notices")).to_contain_text("Approved. The operation may run now.")
    expect(page.locator(".decision")).to_contain_text("by maria")
    assert complaints.sentences == []


def test_a_request_is_decided_by_the_keyboard_alone(desk: tuple[Page, Complaints]) -> None:
    page, complaints = desk
    first = opened(DEPLOY)
    second = opened(MIGRATE)
    page.locator(request_link(first)).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Deploy to production").wait_for()
    comment = page.get_by_label("Comment (optional)")
    for _ in range(40):
        page.keyboard.press("Tab")
        if comment.evaluate("field => field === document.activeElement"):
            break
    page.keyboard.type("Checked with the team")
    page.keyboard.press("Tab")
    page.keyboard.type("production")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    notice = page.locator("#notices .notice")
    expect(notice).to_contain_text("Approved. The operation may run now.")
    expect(notice).to_be_focused()
    assert row(first).status == "approved"
    # Where to go from here is the first link after what became of it.
    following = page.locator("a[data-key=n]")
    for _ in range(10):
        page.keyboard.press("Tab")
        if following.evaluate("link => link === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Db migrate to staging").wait_for()
    page.get_by_label("Needs a review first").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("Not what was agreed")).to_be_checked()
    page.get_by_role("button", name="Reject").press("Enter")
    expect(page.locator("#notices")).to_contain_text("Rejected.")
    assert row(second).rejection_reason == "Not what was agreed"
    assert complaints.sentences == []


def test_a_second_browser_sees_the_outcome_and_loses_nothing_typed(
    desk: tuple[Page, Complaints], browser: Browser, site: str
) -> None:
    page, complaints = desk
    services.create_approver(
        "otto", email="otto@example.com", groups=["release-managers"], password=PASSWORD
    )
    request_id = opened(DEPLOY)
    page.locator(request_link(request_id)).click()
    context = browser.new_context()
    other, others = opened_page(context, site, "otto")
    other.goto(f"{site}/approvals/{request_id}/")
    late = context.new_page()
    late.route("**/events", lambda route: route.abort())
    late.goto(other.url)
    for screen in (other, late):
        marked(screen)
        screen.get_by_label("Wrong time").check()
        screen.get_by_label("In your own words").fill("Not on a Friday")
        screen.get_by_label("type “production”").fill("produc")
    page.get_by_label("type “production”").fill("production")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#notices")).to_contain_text("Approved.")
    # One sees it without a reload, the other presses before it could.
    expect(other.locator(".decision")).to_contain_text("by maria")
    for word in ("Wrong time", "Not on a Friday", "produc"):
        expect(other.locator("#notices")).to_contain_text(word)
    late.get_by_role("button", name="Reject").click()
    expect(late.locator("#notices")).to_contain_text("already approved by maria")
    for word in ("What you had written", "Wrong time", "Not on a Friday"):
        expect(late.locator("#notices")).to_contain_text(word)
    expect(late.locator(".aftermath")).to_contain_text("reads the decision there")
    assert same_page(other)
    assert same_page(late)
    assert row(request_id).approved_by == "maria"
    assert [*complaints.sentences, *others.sentences] == []
    context.close()


def test_what_happens_next_is_followed_until_the_run_ends(desk: tuple[Page, Complaints]) -> None:
    page, complaints = desk
    run_id = uuid4()
    named = {"workflow_id": str(run_id), "thread_id": str(run_id), "interrupt_id": "i-1"}
    request_id = opened(MIGRATE, action={"executor": "command", "argv": ["migrate"]}, **named)
    page.locator(request_link(request_id)).click()
    page.get_by_role("button", name="Approve").click()
    following = page.locator(".aftermath")
    expect(following).to_contain_text("The operation has not begun yet.")
    marked(page)
    services.record_event(request_id, EventName.EXECUTION_STARTED, {"attempt": 1})
    expect(following).to_contain_text("The operation is being carried out.")
    ended = {"attempt": 1, "status": "succeeded", "summary": "Exited with 0"}
    services.record_event(request_id, EventName.EXECUTION_FINISHED, ended)
    expect(following).to_contain_text("The operation succeeded.")
    # The run's own end is news of its own stream.
    services.record_run_event(run_id, EventName.RUN_ENDED, {"status": "completed"})
    expect(following).to_contain_text("The run has ended: completed.")
    assert same_page(page)
    assert complaints.sentences == []


def test_a_critical_request_without_its_name_is_refused_in_place(
    desk: tuple[Page, Complaints],
) -> None:
    page, complaints = desk
    request_id = opened(DELETE)
    page.locator(request_link(request_id)).click()
    marked(page)
    page.get_by_label("Comment (optional)").fill("Checked")
    page.get_by_label("Wrong time").check()
    typed = page.get_by_label("type “production”")
    typed.fill("staging")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".verdict-approve .errorlist")).to_contain_text("Type “production”")
    expect(typed).to_be_focused()
    expect(typed).to_have_value("staging")
    # What came back with the refusal survives what others do meanwhile.
    page.get_by_label("Too risky as it is").check()
    services.cast_vote(request_id, actor=manager("otto"), choice=Choice.APPROVE, comment="Fine")
    expect(page.locator(".votes")).to_contain_text("otto")
    expect(page.get_by_label("Comment (optional)")).to_have_value("Checked")
    expect(typed).to_have_value("staging")
    expect(page.get_by_label("Too risky as it is")).to_be_checked()
    typed.fill("production")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#notices")).to_contain_text("Approved.")
    assert same_page(page)
    ours = [text for text in complaints.sentences if "Failed to load resource" not in text]
    assert ours == []


def test_on_a_phone_the_decision_is_one_press_away_and_hides_nothing(
    browser: Browser, site: str, maria: str
) -> None:
    request_id = opened(DEPLOY, action={"executor": "command", "argv": ["deploy"] * 300})
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page, complaints = opened_page(context, site, maria)
    page.goto(f"{site}/approvals/{request_id}/")
    bar = page.get_by_role("navigation", name="Decide")
    expect(bar).to_be_in_viewport(ratio=1)
    bar.get_by_role("link", name="Reject…").click()
    expect(page.get_by_role("button", name="Reject")).to_be_in_viewport(ratio=1)
    expect(bar).not_to_be_in_viewport()
    page.get_by_label("Wrong time").check()
    page.get_by_role("button", name="Reject").click()
    expect(page.locator("#notices")).to_contain_text("Rejected.")
    expect(page.locator(".decision")).to_be_in_viewport()
    assert row(request_id).rejection_reason == "Wrong time"
    assert complaints.sentences == []
    context.close()


def test_a_session_that_ended_keeps_what_was_typed(desk: tuple[Page, Complaints]) -> None:
    page, _ = desk
    request_id = opened(DEPLOY)
    page.locator(request_link(request_id)).click()
    reason = page.get_by_label("In your own words")
    reason.fill("Not on a Friday")
    page.get_by_label("Wrong time").check()
    page.context.clear_cookies()
    page.get_by_role("button", name="Reject").click()
    expect(page.locator("#notices")).to_contain_text("What you typed is still here")
    expect(reason).to_have_value("Not on a Friday")
    expect(page.get_by_label("Wrong time")).to_be_checked()
    assert row(request_id).status == "pending"


def test_everything_works_without_javascript(browser: Browser, site: str, maria: str) -> None:
    request_id = opened(DEPLOY)
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page, complaints = opened_page(context, site, maria)
    page.get_by_label("Risk").select_option("critical")
    page.get_by_role("button", name="Filter").click()
    page.locator(request_link(request_id)).click()
    page.get_by_label("In your own words").fill("Not yet")
    page.get_by_role("button", name="Reject").click()
    expect(page.locator("#notices")).to_contain_text("Rejected. The operation will not run.")
    expect(page.locator(".decision")).to_contain_text("Not yet")
    assert entries(request_id)[-1] == "request.rejected"
    assert complaints.sentences == []
    context.close()


@pytest.mark.parametrize("width", [360, 1400])
def test_nothing_overflows_a_narrow_or_a_wide_window(
    browser: Browser, site: str, maria: str, width: int
) -> None:
    long = "x" * 180
    request_id = opened(
        {**DEPLOY, "description": long, "arguments": {long: long}},
        agent_name=long,
        requested_by=long,
        workflow_id=long,
        action={"executor": "command", "argv": ["deploy", long], "cwd": long, "pass_env": []},
    )
    context = browser.new_context(viewport={"width": width, "height": 900})
    page, complaints = opened_page(context, site, maria)
    for address in ("/", f"/approvals/{request_id}/"):
        page.goto(site + address)
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wider) == 0, address
    assert complaints.sentences == []
    context.close()
