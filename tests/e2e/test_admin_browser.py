"""The admin's pages in a real browser: nothing breaks the policy, and everything fits a phone."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect
from pytest_django import Settings

from agents.models import Execution, Run
from approvals import outbox, services
from approvals.clock import clock
from approvals.core.lifecycle import Choice
from approvals.models import (
    ApiToken,
    ApprovalRequest,
    ApproverProfile,
    AuditEntry,
    Delivery,
    InboundWebhook,
    Vote,
)
from tests.agents.rows import execution_row, run_row
from tests.approvals.scenes import DELETE, DEPLOY, manager, opened
from tests.e2e.axe import WCAG, barriers
from tests.e2e.desk import PASSWORD, opened_page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_workers")]
LONG = "x" * 180


@pytest.fixture
def no_workers(settings: Settings) -> Iterator[None]:
    """Channels that nobody works on: what is owed to them stays so."""
    settings.HITL_CHANNELS = ["tests.approvals.channels.Linear", "tests.approvals.channels.GitHub"]
    outbox.channels.cache_clear()
    yield
    outbox.channels.cache_clear()


@pytest.fixture
def rows() -> list[str]:
    """Something of everything, with text that is long; the addresses of their pages."""
    services.create_approver(
        "maria", email="maria@example.com", groups=["release-managers"], password=PASSWORD
    )
    User.objects.filter(username="maria").update(is_staff=True, is_superuser=True)
    services.create_approver(
        "ada", email="ada@example.com", groups=["release-managers"], linear_user_id="u-1"
    )
    services.create_token("maria", scope="decide", label="laptop")
    run = run_row(status="needs_attention", attention=f"The action may or may not have {LONG}")
    request_id = opened(
        {**DELETE, "description": LONG, "arguments": {str(n): LONG for n in range(30)}},
        workflow_id=str(run.pk),
        thread_id=run.thread_id,
        interrupt_id="i-1",
        requested_by=LONG,
        action={"executor": "command", "argv": ["delete", LONG]},
        pr_number=231,
        pr_url="https://github.com/acme/shop/pull/231",
        github_repo="acme/shop",
    )
    other = opened(DEPLOY)
    services.cast_vote(request_id, actor=manager("otto"), choice=Choice.APPROVE, comment=LONG)
    services.cast_vote(other, actor=manager("otto"), choice=Choice.REJECT, comment="Not now")
    execution_row(run, 0, request_id, output="line\n" * 3_000, status="unknown", summary=LONG)
    execution_row(run, 1, status="succeeded", output=LONG, summary="exited 0")
    Delivery.objects.filter(channel="linear").update(
        gave_up_at=clock(), attempts=9, last_error=f"No such label: {LONG}"
    )
    InboundWebhook.objects.create(
        source="linear",
        delivery_id=LONG,
        body_digest="1",
        body='{"action": "update"}' * 90,
        outcome="refused",
        reason=LONG,
        request_id=request_id,
    )
    return [
        f"/admin/{model._meta.app_label}/{model._meta.model_name}/{key}/change/"
        for model in (
            *(ApprovalRequest, Delivery, InboundWebhook, AuditEntry, Vote, ApiToken),
            *(ApproverProfile, User, Run, Execution),
        )
        for key in [model.objects.order_by("pk").values_list("pk", flat=True)[0]]
    ]


def wider(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(
        page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    )


def addresses(rows: list[str]) -> list[str]:
    """The first page, every list, the pages of rows, and the forms."""
    lists = sorted({address.rsplit("/", 3)[0] + "/" for address in rows})
    others = [
        "/admin/",
        "/admin/approvals/",
        "/admin/approvals/apitoken/add/",
        "/admin/approvals/approverprofile/add/",
        "/admin/auth/user/add/",
        "/admin/auth/group/",
        "/admin/approvals/heartbeat/",
        "/admin/approvals/channelpause/",
        "/admin/password_change/",
        "/admin/approvals/delivery/?q=CHEF-1&state=given_up",
    ]
    return [*others, *lists, *rows]


def test_every_page_of_the_admin_fits_a_phone_and_a_desk_and_shuts_nobody_out(
    browser: Browser, site: str, rows: list[str]
) -> None:
    context = browser.new_context()
    page, complaints = opened_page(context, site, "maria")
    for address in addresses(rows):
        answer = page.goto(site + address)
        assert answer is not None
        assert answer.status == 200, address
        for width in (390, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert wider(page) == 0, (address, width)
        assert complaints.sentences == [], address
        # The fields of the search are Django's, and named by their titles.
        assert barriers(page, WCAG) == [], address
        # Axe tries inline styles, which the policy of the pages refuses.
        complaints.sentences.clear()
    context.close()


def test_the_chosen_theme_is_the_admins_too(browser: Browser, site: str, rows: list[str]) -> None:
    context = browser.new_context(color_scheme="light")
    page, complaints = opened_page(context, site, "maria")
    context.add_cookies([{"name": "hitl_preferences", "value": "theme=dark", "url": site}])
    page.goto(f"{site}/admin/")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(part) for part in ground.strip("rgb()").split(",")) < 150
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    assert complaints.sentences == []
    context.close()


def test_an_operator_gets_from_the_first_page_to_a_settled_run(
    browser: Browser, site: str, rows: list[str]
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page, complaints = opened_page(context, site, "maria")
    page.goto(f"{site}/admin/")
    page.get_by_role("link", name="1 run that needs attention").click()
    page.locator("#result_list a").first.click()
    page.get_by_role("button", name="Abandon").click()
    expect(page.get_by_text("Its rollback steps do not run")).to_be_visible()
    page.get_by_label("Reason").fill("No longer wanted")
    page.get_by_role("button", name="Abandon: end the run as failed").click()
    expect(page.locator(".messagelist")).to_contain_text("settled as abandon.")
    assert Run.objects.get().status == "failed"
    assert complaints.sentences == []
    context.close()


def test_rows_are_chosen_and_acted_on_together(
    browser: Browser, site: str, rows: list[str]
) -> None:
    del rows
    context = browser.new_context()
    page, complaints = opened_page(context, site, "maria")
    later = clock() - timedelta(hours=1)
    page.goto(f"{site}/admin/approvals/delivery/?state=given_up")
    page.locator("#action-toggle").check()
    page.get_by_label("Action:").select_option("retry")
    page.get_by_role("button", name="Go", exact=True).click()
    page.get_by_label("Reason").fill("The label is there now")
    page.get_by_role("button", name="Try again now").click()
    expect(page.locator(".messagelist")).to_contain_text("tried again now.")
    assert not Delivery.objects.filter(gave_up_at__gt=later).exists()
    assert complaints.sentences == []
    context.close()
