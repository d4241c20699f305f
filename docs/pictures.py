"""Retakes the README's pictures from a running demo; `make screenshots` runs it.

A whole gateway is started with data of its own, and stopped again. What the demo leaves waiting is
what the queue shows; programs ask for more, and people decide it, so that there is a history.
Needs Chromium.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from hitl_project import children

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).with_name("pictures")
CHROMIUM = "/usr/bin/chromium"
PATIENCE_SECONDS = 120.0
WIDE, PHONE = (1280, 800), (390, 844)

# What else is asked for, and how each ends.
ASKED: Sequence[tuple[str, str, dict[str, str]]] = (
    ("deploy", "staging", {"version": "v2.4.9", "service": "shop"}),
    ("db_migrate", "staging", {"database": "orders", "migration": "0041_receipts"}),
    ("restart_service", "production", {"service": "payments"}),
    ("terraform_apply", "staging", {"module": "checkout"}),
    ("merge_pull_request", "development", {}),
    ("rollback", "production", {"service": "shop"}),
    ("deploy", "production", {"version": "v2.4.8", "service": "search"}),
)
ENDS = ("approve", "approve", "reject", "approve", "approve", "approve", "reject", "approve")
LIVES = 28


@dataclass(frozen=True)
class Gateway:
    """The running demo, and who may act there."""

    url: str
    password: str
    request_token: str
    decide_token: str

    def call(self, token: str, path: str, body: Any = None) -> Any:
        """Call the API; raises where it does not agree."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{self.url}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            return json.load(answer)

    def live(self) -> None:
        """Ask for a good many operations, and let people decide them."""
        ends = cycle(ENDS)
        for number, (operation, environment, arguments) in zip(range(LIVES), cycle(ASKED)):
            task = {"operation": operation, "environment": environment, "arguments": arguments}
            body = {
                "workflow_id": f"nightly-{number}",
                "thread_id": f"nightly-{number}",
                "agent_name": ("cicd", "infrastructure", "feature_dev")[number % 3],
                "task": task,
            }
            opened = self.call(self.request_token, "/approvals", body)
            if opened.get("request_id") is None:
                continue
            how = next(ends)
            said = {"reason": "Not during the sale"} if how == "reject" else {"comment": "Checked"}
            self.call(self.decide_token, f"/approvals/{opened['request_id']}/{how}", said)


@contextmanager
def demo(folder: Path) -> Iterator[Gateway]:
    """A demo of its own until the end of the block."""
    port = children.free_port()
    log = folder / "up.log"
    process = children.spawn(
        [sys.executable, ROOT / "manage.py", "up"],
        log=log,
        cwd=ROOT,
        death=signal.SIGTERM,
        env={"PATH": "/usr/bin:/bin", "HITL_DATA_DIR": str(folder / "data"), "PORT": str(port)},
    )
    try:
        _wait(lambda: "Ctrl-C stops" in log.read_text(), process, log)
        known = json.loads((folder / "data" / "demo.json").read_text())
        yield Gateway(url=f"http://127.0.0.1:{port}", **known)
    finally:
        children.end(process, signal.SIGTERM, signal.SIGKILL, 60)


def _wait(condition: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    if not children.wait_until(condition, process, PATIENCE_SECONDS):
        sys.exit(f"The demo did not start:\n{children.last_lines(log, 20)}")


def pictures(browser: Browser, gateway: Gateway) -> None:
    """Every picture, each in light and dark."""
    for scheme in ("light", "dark"):
        for (width, height), names in (
            (WIDE, ("queue", "request", "insights")),
            (PHONE, ("queue", "request")),
        ):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                timezone_id="Europe/Berlin",
                device_scale_factor=2 if width == PHONE[0] else 1,
            )
            page = context.new_page()
            _log_in(page, gateway)
            for name in names:
                _go(page, gateway, name)
                kind = "phone" if width == PHONE[0] else "wide"
                page.screenshot(path=FOLDER / f"{name}-{kind}-{scheme}.png")
            context.close()


def _log_in(page: Page, gateway: Gateway) -> None:
    page.goto(gateway.url)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(gateway.password)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Queue").wait_for()


def _go(page: Page, gateway: Gateway, name: str) -> None:
    page.goto(f"{gateway.url}/?clear")
    page.get_by_text("Decided lately").wait_for()
    if name == "request":
        page.get_by_role("link", name="Deploy v2.5.0 to production").first.press("Enter")
        page.get_by_role("heading", level=1).wait_for()
    elif name == "insights":
        page.goto(f"{gateway.url}/insights/?span=24h")
    page.wait_for_load_state("networkidle") if name == "insights" else page.wait_for_timeout(300)


def main() -> None:
    """Start the demo, take the pictures, stop it."""
    if not Path(CHROMIUM).exists():
        sys.exit(f"{CHROMIUM} is missing: on Debian and Ubuntu `apt-get install chromium`.")
    FOLDER.mkdir(exist_ok=True)
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="hitl-pictures-") as folder,
        demo(Path(folder)) as gateway,
        sync_playwright() as playwright,
    ):
        gateway.live()
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        pictures(browser, gateway)
        browser.close()
    sys.stdout.write(f"{FOLDER} is new, after {time.monotonic() - began:.0f} s.\n")


if __name__ == "__main__":
    main()
