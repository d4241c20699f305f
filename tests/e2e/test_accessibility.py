"""No page keeps anybody out: axe-core finds nothing, in light and dark, wide and on a phone."""

from collections.abc import Callable
from uuid import UUID

import pytest
from django.core.management import call_command
from playwright.sync_api import Browser, Page

from approvals import services
from approvals.core.lifecycle import Choice
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    manager,
    opened,
    pass_deadline,
    person,
)
from tests.browser import Complaints, log_in
from tests.e2e.axe import barriers
from tests.e2e.desk import PASSWORD

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_channels"),
    pytest.mark.timeout(300),
]
# A phone's, and a desk's.
WIDTHS = (390, 1400)


def filled() -> dict[str, UUID]:
    """Requests in every state that a page can show."""
    maria = manager("maria")
    made = {
        "critical": opened(
            {**DEPLOY, "arguments": {"version": "v2.5.0"}, "description": "The spring release"},
            pr_number=7,
            pr_url="https://github.com/acme/shop/pull/7",
            github_repo="acme/shop",
            action={"executor": "command", "argv": ["deploy", "--version", "v2.5.0"]},
        ),
        "medium": opened(MIGRATE),
        "own": opened(MIGRATE, requested_by="maria"),
        "voted": opened(DELETE),
        "approved": opened(MIGRATE),
        "rejected": opened(DEPLOY),
        "expired": opened(MIGRATE),
    }
    services.cast_vote(made["voted"], actor=maria, choice=Choice.APPROVE, comment="Fine")
    services.cast_vote(made["approved"], actor=manager("otto"), choice=Choice.APPROVE)
    services.cast_vote(made["rejected"], actor=maria, choice=Choice.REJECT, comment="Not today")
    pass_deadline(made["expired"])
    services.expire_overdue()
    person("nobody")
    return made


def steps(page: Page, site: str, made: dict[str, UUID]) -> dict[str, Callable[[], object]]:
    """How to come to each page, by what it is called in a failure."""

    def at(path: str) -> Callable[[], object]:
        return lambda: page.goto(f"{site}{path}")

    def chosen() -> None:
        page.goto(f"{site}/?clear")
        page.locator(f"#pick-{made['medium']}").check()

    def keys() -> None:
        page.goto(f"{site}/?clear")
        page.locator("body").press("?")

    def refused() -> None:
        page.goto(f"{site}/?clear")
        page.locator(f"#pick-{made['medium']}").check()
        page.get_by_role("button", name="Reject them").click()
        page.locator(".errorlist").first.wait_for()

    def unfolded() -> None:
        page.goto(f"{site}/insights/")
        for summary in page.locator("summary").all():
            summary.click()

    def more_filters() -> None:
        page.goto(f"{site}/history/?risk_level=low")
        if page.get_by_text("More filters, 1 set").is_visible():
            page.get_by_text("More filters, 1 set").click()
        page.get_by_label("Environment").wait_for()

    return {
        "queue": at("/?clear"),
        "nothing found": at("/?text=nothing-like-this"),
        "filters that do not fit": at("/?status=perhaps"),
        "chosen": chosen,
        "keys": keys,
        "batch refused": refused,
        **{f"request {name}": at(f"/approvals/{pk}/") for name, pk in made.items()},
        "history": at("/history/"),
        "history unfolded": more_filters,
        "history without a hit": at("/history/?agent=nobody"),
        "history that does not fit": at("/history/?since=2026-02-01&until=2026-01-01"),
        "insights": unfolded,
        "insights that do not fit": at("/insights/?span=1y"),
        "preferences": at("/preferences/"),
        "no history": at("/history/?text=nothing-like-this"),
        "runs": at("/runs/"),
        "not there": at("/approvals/00000000-0000-4000-8000-000000000000/"),
    }


def everywhere(page: Page) -> dict[int, list[str]]:
    """What axe finds on the page at each width, in light and in dark."""
    found = {}
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        found[width] = barriers(page)
    return {width: said for width, said in found.items() if said}


def test_axe_finds_nothing_on_any_page_in_light_and_dark(
    browser: Browser, site: str, maria: str
) -> None:
    made = filled()
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site}/accounts/login/")
    found = {"login": everywhere(page)}
    for _ in range(5):
        page.get_by_label("Username").fill("nobody-has-this-name")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Too many failed logins").wait_for()
    found["locked out"] = everywhere(page)
    # Everybody in these tests has this machine's address.
    call_command("axes_reset")
    page.close()
    page, complaints = context.new_page(), Complaints()
    complaints.follow(page)
    log_in(page, site, maria, PASSWORD)
    for name, step in steps(page, site, made).items():
        step()
        page.locator("main").wait_for()
        found[name] = everywhere(page)
    context.close()
    assert {name: said for name, said in found.items() if said} == {}
    # The browser itself writes the 404 and the 422s that were asked for to its console.
    assert [text for text in complaints.sentences if "Failed to load resource" not in text] == []
