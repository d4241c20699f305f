"""Fixtures over the sandbox's Linear, GitHub and internal endpoints."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from approvals import outbox
from integrations.github.client import open_github
from tests.integrations.linear_world import WEBHOOK_SECRET, LinearWorld
from tests.sandbox_process import GITHUB_TOKEN, LINEAR_API_KEY, REPOSITORY, Sandbox


@pytest.fixture(scope="session")
def linear_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all tests of Linear, which each empty it first."""
    folder: Path = tmp_path_factory.mktemp("linear-sandbox")
    sandbox = Sandbox.start(folder, webhook_secret=WEBHOOK_SECRET, empty=True)
    yield sandbox
    sandbox.stop()


@pytest.fixture
def linear(linear_process: Sandbox, settings: Settings) -> Iterator[LinearWorld]:
    """A gateway whose only channel is Linear, over an empty sandbox that sends no webhook."""
    linear_process.clear_faults()
    linear_process.send_webhooks_to(None)
    linear_process.reset()
    settings.LINEAR_API_KEY = LINEAR_API_KEY
    settings.LINEAR_API_URL = linear_process.linear_url
    settings.LINEAR_WEBHOOK_SECRETS = [WEBHOOK_SECRET]
    settings.HITL_CHANNELS = ["integrations.linear.channel.LinearChannel"]
    outbox.channels.cache_clear()
    yield LinearWorld(linear_process)
    outbox.channels.cache_clear()
    linear_process.clear_faults()


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox with its samples, for all other tests, which each undo what was done there."""
    sandbox = Sandbox.start(tmp_path_factory.mktemp("sandbox"))
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(sandbox_process: Sandbox, settings: Settings) -> Sandbox:
    """The sandbox as new, which the gateway takes for GitHub."""
    sandbox_process.clear_faults()
    sandbox_process.reset()
    settings.GITHUB_TOKEN = GITHUB_TOKEN
    settings.GITHUB_API_URL = sandbox_process.github_url
    settings.GITHUB_REPOSITORIES = [REPOSITORY]
    open_github.cache_clear()
    return sandbox_process
