"""A sandbox with a receiver of its webhooks, both on free ports."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.sandbox.receiver import Receiver
from tests.sandbox_process import GITHUB_TOKEN, LINEAR_API_KEY, PLAIN_HTTP, Sandbox

SECRET = "a-secret-for-tests"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes webhooks and answers 200 unless told otherwise."""
    with Receiver() as started:
        yield started


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One process for a module's tests; each test finds it empty through `sandbox`."""
    started = Sandbox.start(tmp_path_factory.mktemp("sandbox"), webhook_secret=SECRET)
    yield started
    started.stop()


@pytest.fixture
def sandbox(shared_sandbox: Sandbox, receiver: Receiver) -> Iterator[Sandbox]:
    """A sandbox that has forgotten earlier tests and sends its webhooks to the receiver."""
    shared_sandbox.reset()
    shared_sandbox.send_webhooks_to(receiver.url)
    yield shared_sandbox
    shared_sandbox.reset()


@pytest.fixture
def linear(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Calls Linear's API as the gateway."""
    headers = {"Authorization": LINEAR_API_KEY}
    with httpx.Client(base_url=sandbox.url, headers=headers, verify=PLAIN_HTTP) as client:
        yield client


@pytest.fixture
def github(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """Calls GitHub's API as the gateway."""
    headers = {
        "Authorization": f"Bearer {GITHUB_TOKEN}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2026-03-10",
    }
    with httpx.Client(base_url=sandbox.github_url, headers=headers, verify=PLAIN_HTTP) as client:
        yield client


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder that several processes of one test use in turn."""
    return tmp_path / "data"
