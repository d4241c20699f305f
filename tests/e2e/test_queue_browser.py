"""The queue in a real browser: by keyboard alone, several at once, and while others are at work."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from approvals import services
from approvals.core.lifecycle import Choice
from tests.approvals.scenes import DEPLOY, MIGRATE, manager, opened, row
from tests.browser import Complaints
from tests.e2e.desk import marked, opened_page, request_link, same_page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_channels")]
Desk = tuple[Page, Complaints]
ICON = "document.querySelector('link[rel=icon]').href"


def test_several_are_chosen_and_approved_by_keyboard_alone(desk: Desk) -> None:
    page, complaints = desk
    first, second, third = opened(MIGRATE), opened(MIGRATE), opened(MIGRATE)
    page.locator(request_link(third)).wait_for()
    marked(page)
    for key in ("j", "x", "j", "j", "k", "x"):
        page.keyboard.press(key)
    expect(page.locator("#batch-count")).to_have_text("2")
    page.keyboard.press("a")
    expect(page.get_by_role("button", name="Approve them")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("2 done")
    expect(page.locator(".batch-bar")).to_be_hidden()
    assert same_page(page)
    assert [row(one).status for one in (first, second, third)] == [
        *("approved", "approved", "pending")
    ]
    assert complaints.sentences == []


def test_a_click_with_shift_chooses_all_since_the_last(desk: Desk) -> None:
    page, complaints = desk
    ids = [opened(MIGRATE) for _ in range(5)]
    boxes = page.locator("#batch input[name=request]")
    expect(boxes).to_have_count(5)
    boxes.nth(0).click()
    # Beside the box, where a finger or a hurried pointer lands.
    labels = page.locator("#batch label.row-pick")
    labels.nth(3).click(modifiers=["Shift"], position={"x": 4, "y": 4})
    expect(page.locator("#batch-count")).to_have_text("4")
    page.get_by_label("Comment, or the reason for a rejection").fill("Superseded by the plan")
    page.get_by_role("button", name="Reject them").click()
    expect(page.locator("#notices")).to_contain_text("4 done")
    assert sorted(row(one).status for one in ids) == ["pending", *["rejected"] * 4]
    assert complaints.sentences == []


def test_what_is_chosen_and_half_written_survives_what_arrives(desk: Desk) -> None:
    page, complaints = desk
    first, gone = opened(MIGRATE), opened(MIGRATE)
    for request_id in (first, gone):
        page.locator(f"#pick-{request_id}").check()
    words = page.get_by_label("Comment, or the reason for a rejection")
    words.press_sequentially("Because the")
    services.cast_vote(gone, actor=manager("otto"), choice=Choice.APPROVE)
    third = opened(MIGRATE)
    expect(page.locator(request_link(third))).to_be_visible(timeout=3000)
    expect(page.locator(f"#pick-{gone}")).to_have_count(0)
    expect(page.locator(f"#pick-{first}")).to_be_checked()
    expect(page.locator("#batch-count")).to_have_text("1")
    expect(words).to_be_focused()
    words.press_sequentially(" plan changed")
    expect(words).to_have_value("Because the plan changed")
    assert complaints.sentences == []


def test_keys_do_nothing_while_somebody_types_or_has_switched_them_off(desk: Desk) -> None:
    page, complaints = desk
    opened(MIGRATE)
    page.locator("#batch input[name=request]").wait_for()
    page.keyboard.press("/")
    search = page.get_by_label("Search")
    expect(search).to_be_focused()
    search.press_sequentially("xjg?q")
    expect(search).to_have_value("xjg?q")
    # What was typed filters, and the session keeps that: only then is there something to clear.
    expect(page).to_have_url(re.compile("text=xjg"))
    expect(page.locator("#keys")).to_be_hidden()
    page.goto(page.url.split("?")[0] + "?clear")
    page.locator("body").press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="maria").click()
    page.get_by_label("Keyboard shortcuts").uncheck()
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#notices")).to_contain_text("remembers")
    page.get_by_role("link", name="Queue", exact=True).click()
    page.locator("#batch input[name=request]").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.locator("#batch input[name=request]")).not_to_be_checked()
    assert complaints.sentences == []


def test_a_refresh_leaves_the_keyboard_on_the_button_it_was_on(desk: Desk) -> None:
    page, complaints = desk
    request_id = opened(MIGRATE)
    page.locator(f"#pick-{request_id}").check()
    page.keyboard.press("r")
    page.get_by_label("Comment, or the reason for a rejection").fill("Not agreed")
    page.get_by_role("button", name="Reject them").focus()
    other = opened(MIGRATE)
    page.locator(request_link(other)).wait_for()
    expect(page.get_by_role("button", name="Reject them")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("1 done")
    assert row(request_id).status == "rejected"
    assert complaints.sentences == []


@pytest.mark.parametrize("scripts", [True, False])
def test_enter_on_a_box_decides_nothing(
    browser: Browser, site: str, maria: str, scripts: bool
) -> None:
    request_id = opened(MIGRATE)
    context = browser.new_context(java_script_enabled=scripts)
    page, _ = opened_page(context, site, maria)
    box = page.locator(f"#pick-{request_id}")
    box.check()
    box.press("Enter")
    if scripts:
        expect(page).to_have_url(re.compile(str(request_id)))
    else:
        expect(page.locator(".errorlist")).to_have_text("Choose Approve or Reject.")
        expect(box).to_be_checked()
    assert row(request_id).status == "pending"
    context.close()


def test_the_clock_of_the_machine_does_not_matter(browser: Browser, site: str, maria: str) -> None:
    ended = opened(MIGRATE)
    services.cast_vote(ended, actor=manager("otto"), choice=Choice.REJECT, comment="No")
    opened(DEPLOY)
    context = browser.new_context()
    context.add_init_script("const real = Date.now; Date.now = () => real() + 3 * 3600 * 1000;")
    page, _ = opened_page(context, site, maria)
    expect(page.locator("time[data-until] .moment-words").first).to_have_text("in 3 h 59 min")
    page.goto(f"{site}/history/")
    page.wait_for_function("document.querySelector('.row .moment-words').textContent != ''")
    page.wait_for_timeout(1500)
    expect(page.locator(".row .moment-words").first).to_have_text(re.compile(r"^\d+ s ago$"))
    context.close()


def test_a_search_shows_what_it_finds_and_keeps_it_in_the_address(desk: Desk) -> None:
    page, complaints = desk
    found, other = opened({**DEPLOY, "description": "Spring"}), opened(MIGRATE)
    page.locator(request_link(other)).wait_for()
    page.get_by_label("Search").press_sequentially("spri")
    expect(page.locator(request_link(other))).to_have_count(0)
    expect(page.locator(request_link(found))).to_be_visible()
    expect(page).to_have_url(re.compile("text=spri"))
    page.goto(page.url.split("?")[0])
    expect(page).to_have_url(re.compile("text=spri"))
    page.get_by_role("link", name="Clear the filters").click()
    expect(page.locator(request_link(other))).to_be_visible()
    assert complaints.sentences == []


def test_the_tab_tells_how_many_wait_and_deadlines_count_down(desk: Desk) -> None:
    page, complaints = desk
    plain = page.evaluate(ICON)
    request_id = opened(DEPLOY)
    expect(page).to_have_title(re.compile(r"^\(1\) Queue"))
    assert page.evaluate(ICON).startswith("data:image/svg+xml")
    words = page.locator("time[data-until] .moment-words")
    expect(words).to_have_text(re.compile(r"^in 3 h 59 min$"))
    # Set again and again, because a refresh of the page brings the true one back.
    page.wait_for_function(
        """() => {
          const time = document.querySelector("time[data-until]");
          time.dateTime = new Date(Date.now() + 90500).toISOString();
          const told = time.querySelector(".moment-words").textContent;
          return told === "in 1 min" && time.classList.contains("until-soon");
        }"""
    )
    services.cast_vote(request_id, actor=manager("otto"), choice=Choice.REJECT, comment="No")
    expect(page).to_have_title(re.compile(r"^Queue"))
    assert page.evaluate(ICON) == plain
    assert complaints.sentences == []


def test_several_are_decided_without_javascript(browser: Browser, site: str, maria: str) -> None:
    ids = [opened(MIGRATE), opened(MIGRATE)]
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page, complaints = opened_page(context, site, maria)
    expect(page.get_by_role("button", name="Approve them")).to_be_hidden()
    for request_id in ids:
        page.locator(f"#pick-{request_id}").check()
    page.get_by_role("button", name="Approve them").click()
    expect(page.locator("#notices")).to_contain_text("2 done")
    assert [row(one).status for one in ids] == ["approved", "approved"]
    assert complaints.sentences == []
    context.close()
