"""One whole gateway for the session; tests tell their work apart by labels of their own."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import Browser, Page
from pytest_django import Settings

from approvals import outbox, services
from hitl_project import children
from hitl_project.embedded import OWNER, Postgres
from tests.browser import Complaints, chromium
from tests.e2e.crash import Crashed, crash
from tests.e2e.desk import PASSWORD, opened_page
from tests.e2e.gateway import Gateway
from tests.e2e.stack import PARTS, Stack
from tests.web_server import WebServer

_STACK = pytest.StashKey[Stack]()
LINES_SHOWN = 60


@pytest.fixture(scope="session")
def whole_gateway(
    request: pytest.FixtureRequest,
    postgres_server: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """Everything, with its people; use `gateway`, which leaves it as it was found."""
    stack = Stack.start(tmp_path_factory.mktemp("e2e"), postgres_server, "e2e")
    request.config.stash[_STACK] = stack
    gateway = Gateway(stack)
    gateway.create_people()
    stack.wait_until_ready()
    yield gateway
    stack.stop()


@pytest.fixture
def gateway(whole_gateway: Gateway) -> Iterator[Gateway]:
    """The running gateway; what a test broke or stopped is whole again after it."""
    yield whole_gateway
    whole_gateway.sandbox.clear_faults()
    if whole_gateway.stack.redis.process.poll() is not None:
        whole_gateway.stack.redis.start()
    for name in PARTS:
        if name not in whole_gateway.stack.processes:
            whole_gateway.stack.start_part(name)


@pytest.fixture(scope="session")
def crashed(whole_gateway: Gateway) -> Crashed:
    """A worker was killed in the middle of three actions, early enough for tests to see the end."""
    return crash(whole_gateway)


@pytest.fixture
def no_channels(settings: Settings) -> Iterator[None]:
    """No outside party to tell."""
    settings.HITL_CHANNELS = []
    outbox.channels.cache_clear()
    yield
    outbox.channels.cache_clear()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests that look at pages; its event loop would be in others' way."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def site(
    browser: Browser,  # first, so that without one no server is started
    django_db_setup: None,
    postgres_server: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of a real web server over the test database."""
    log: Path = tmp_path_factory.mktemp("web") / "web.log"
    settings = {"DJANGO_SETTINGS_MODULE": "tests.approvals.http.server_settings"}
    url = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    server = WebServer.start(url, log, **settings)
    yield server.url
    server.stop()


@pytest.fixture
def maria() -> str:
    """A release manager with a password."""
    services.create_approver(
        "maria", email="maria@example.com", groups=["release-managers"], password=PASSWORD
    )
    return "maria"


@pytest.fixture
def desk(browser: Browser, site: str, maria: str) -> Iterator[tuple[Page, Complaints]]:
    """The queue as Maria sees it, and what the browser complains about."""
    context = browser.new_context()
    page, complaints = opened_page(context, site, maria)
    yield page, complaints
    context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the processes wrote last."""
    report = yield
    stack = item.config.stash.get(_STACK, None)
    if report.failed and stack is not None:
        for log in sorted(stack.folder.glob("*.log")):
            report.sections.append((log.name, children.last_lines(log, LINES_SHOWN)))
    return report
