"""Following and settling a run in a real browser, on a real web server."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Browser, Page, expect

from agents import checkpoints
from approvals import outbox, services
from tests.agents import executors_of_tests as executors
from tests.agents import scenes
from tests.agents.worker import Worker
from tests.approvals.scenes import entries
from tests.browser import Complaints, log_in
from tests.e2e.axe import barriers
from tests.e2e.desk import PASSWORD, opened_page

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(settings: Any) -> Iterator[Worker]:
    """A worker that is told what its actions come to, and people who ask and decide."""
    settings.HITL_CHANNELS = ["integrations.workflow.WorkflowChannel"]
    settings.HITL_EXECUTORS = dict.fromkeys(
        ("command", "http", "github_workflow"), "tests.agents.executors_of_tests.scripted"
    )
    outbox.channels.cache_clear()
    executors.begun.clear()
    executors.next_outcomes.clear()
    approver = User.objects.create_user("ada", "ada@example.com")
    for name in ("release-managers", "platform", "developers"):
        approver.groups.add(Group.objects.create(name=name))
    services.create_approver(
        "olga", email="olga@example.com", groups=["operators"], password=PASSWORD
    )
    yield Worker(User.objects.create_user("rosa", "rosa@example.com"), approver)
    checkpoints.disconnect()
    outbox.channels.cache_clear()


@pytest.fixture
def desk(browser: Browser, site: str, worker: Worker) -> Iterator[tuple[Page, Complaints]]:
    """The queue as an operator sees it, and what the browser complains about."""
    context = browser.new_context()
    page, complaints = opened_page(context, site, "olga")
    yield page, complaints
    context.close()


def test_a_run_is_followed_to_its_end_without_reloading(
    desk: tuple[Page, Complaints], site: str, worker: Worker
) -> None:
    page, complaints = desk
    page.goto(f"{site}/runs/")
    expect(page.locator("#runs")).to_contain_text("No workflow has been started yet.")
    page.evaluate("window.notReloaded = true")
    run = scenes.waiting(worker)
    page.locator(f'a.row-link[href="/runs/{run.pk}/"]').wait_for()
    assert page.evaluate("window.notReloaded === true")
    page.locator(f'a.row-link[href="/runs/{run.pk}/"]').click()
    expect(page.locator(".run-standing")).to_contain_text("It waits for a decision")
    page.evaluate("window.notReloaded = true")
    # The action is told in the log of its request, and the end in that of the run.
    worker.decide(worker.pending(run)[0])
    expect(page.locator(".run-standing")).to_contain_text("Every step succeeded.")
    expect(page.locator(".step")).to_contain_text("exited 0")
    assert page.evaluate("window.notReloaded === true")
    page.get_by_text("Output", exact=False).first.click()
    expect(page.locator(".execution pre")).to_have_text("fine")
    assert complaints.sentences == []


def test_a_run_is_settled_in_place_and_half_written_words_survive(
    desk: tuple[Page, Complaints], site: str, worker: Worker
) -> None:
    page, complaints = desk
    run = scenes.stopped(worker)
    page.goto(f"{site}/runs/{run.pk}/")
    page.evaluate("window.notReloaded = true")
    reason = page.locator("#id_retry-words")
    reason.press_sequentially("Nothing had")
    page.evaluate("window.htmx.trigger('#run', 'changed')")
    expect(reason).to_have_value("Nothing had")
    reason.press_sequentially(" been changed")
    page.get_by_role("button", name="Begin it once more").click()
    expect(page.locator("#notices")).to_contain_text("The run goes on where it stopped.")
    expect(page.locator(".timeline")).to_contain_text("Nothing had been changed")
    worker.turn()
    expect(page.locator(".run-standing")).to_contain_text("Every step succeeded.")
    assert page.evaluate("window.notReloaded === true")
    assert len(executors.begun) == 2
    assert complaints.sentences == []


def test_a_run_is_settled_by_keyboard_on_a_phone_without_javascript(
    browser: Browser, site: str, worker: Worker
) -> None:
    run = scenes.stopped(worker)
    context = browser.new_context(java_script_enabled=False, viewport={"width": 390, "height": 844})
    page, complaints = context.new_page(), Complaints()
    complaints.follow(page)
    log_in(page, site, "olga", PASSWORD)
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_label("Status").select_option("needs_attention")
    page.get_by_role("button", name="Filter").press("Enter")
    page.locator(f'a.row-link[href="/runs/{run.pk}/"]').press("Enter")
    page.locator("#id_abandon-words").fill("No longer wanted")
    page.locator("#id_abandon-words").press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#notices")).to_contain_text("Abandoned. The run has ended as failed.")
    assert entries(run.pk)[-2:] == ["run.settled", "run.ended"]
    assert scenes.fresh(run).status == "failed"
    assert complaints.sentences == []
    context.close()


@pytest.mark.parametrize("width", [390, 1400])
def test_everybody_can_use_the_pages_and_nothing_overflows(
    browser: Browser, site: str, worker: Worker, width: int
) -> None:
    long = "x" * 180
    runs = [
        scenes.stopped(worker, "hotfix"),
        scenes.waiting(worker, description=long, operation="y" * 190, **{long: long}),
        scenes.rejected(worker),
    ]
    context = browser.new_context(viewport={"width": width, "height": 900}, bypass_csp=True)
    page, _ = opened_page(context, site, "olga")
    for address in ("/runs/", "/runs/?text=nobody", *(f"/runs/{run.pk}/" for run in runs)):
        page.goto(site + address)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert page.evaluate(wider) == 0, address
        assert barriers(page) == [], address
    context.close()
