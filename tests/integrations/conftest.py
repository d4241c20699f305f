"""Fixtures over the sandbox's Linear."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from approvals import outbox
from tests.integrations.linear_world import WEBHOOK_SECRET, LinearWorld
from tests.sandbox_process import LINEAR_API_KEY, Sandbox


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
