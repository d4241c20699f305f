"""What tests do at a desk: a person's pages in a real browser."""

from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import PATIENCE_MS, Complaints

PASSWORD = "a-long-password-of-maria"
expect.set_options(timeout=PATIENCE_MS)


def opened_page(context: BrowserContext, site: str, name: str) -> tuple[Page, Complaints]:
    """The queue as somebody sees it, and what the browser complains about from now on.

    They have logged in before: few tests are about the form for that, and it costs two pages.
    """
    logged_in = Client()
    logged_in.force_login(User.objects.get(username=name))
    session = logged_in.cookies[settings.SESSION_COOKIE_NAME].value
    context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": site}])
    page, complaints = context.new_page(), Complaints()
    complaints.follow(page)
    page.set_default_timeout(PATIENCE_MS)
    page.goto(site)
    page.get_by_role("heading", name="Queue").wait_for()
    return page, complaints


def marked(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.notReloaded = true")


def same_page(page: Page) -> bool:
    """Whether the page was not reloaded since it was marked."""
    return bool(page.evaluate("window.notReloaded === true"))


def request_link(request_id: UUID) -> str:
    """Selects the row of a request."""
    return f'a.row-link[href="/approvals/{request_id}/"]'
