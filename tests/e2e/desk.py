"""What tests do at a desk: a person's pages in a real browser."""

from uuid import UUID

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser import PATIENCE_MS, Complaints, log_in

PASSWORD = "a-long-password-of-maria"
expect.set_options(timeout=PATIENCE_MS)


def opened_page(context: BrowserContext, site: str, name: str) -> tuple[Page, Complaints]:
    """The queue as somebody sees it, and what the browser complains about from now on."""
    page, complaints = context.new_page(), Complaints()
    complaints.follow(page)
    log_in(page, site, name, PASSWORD)
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
