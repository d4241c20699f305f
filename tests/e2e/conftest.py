"""One whole gateway for the session; tests tell their work apart by labels of their own."""

from collections.abc import Generator, Iterator

import pytest

from hitl_project import children
from hitl_project.embedded import Postgres
from tests.e2e.crash import Crashed, crash
from tests.e2e.gateway import Gateway
from tests.e2e.stack import PARTS, Stack

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
