"""A real Chromium for tests, and what it complained about."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Response, sync_playwright

from tests.tools import require_tool

# Chromium neither calls home nor asks anything.
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PATIENCE_MS = 20_000


@dataclass
class Complaints:
    """What went wrong on pages: console errors, among them every breach of the policy, and 5xx."""

    sentences: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        """Write down what goes wrong on this page from now on."""
        page.on("console", self._console)
        page.on("pageerror", self._error)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.sentences.append(f"console: {message.text}")

    def _error(self, error: Error) -> None:
        self.sentences.append(f"script: {error}")

    def _response(self, response: Response) -> None:
        if response.status >= 500:
            self.sentences.append(f"{response.status} {response.url}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium; the test skips where there is none.

    Debian's chromium-headless-shell is the same engine without a window, and far less work.
    """
    program = shutil.which("chromium-headless-shell") or require_tool(
        "chromium", "apt-get install chromium-headless-shell, or chromium"
    )
    # Playwright parks an event loop in this thread; Django would take our queries for its own.
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def log_in(page: Page, url: str, name: str, password: str) -> None:
    """Log in and arrive in the queue."""
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Queue").wait_for()
