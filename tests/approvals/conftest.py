"""Fixtures of the approvals tests."""

from collections.abc import Iterator, Mapping
from typing import cast

import pytest
from pytest_django import Settings

from approvals import outbox
from tests.approvals.channels import Notebook

CHANNELS = [
    "tests.approvals.channels.Linear",
    "tests.approvals.channels.GitHub",
    "tests.approvals.channels.Workflow",
    "tests.approvals.channels.Chat",
]


@pytest.fixture
def channels(settings: Settings) -> Iterator[Mapping[str, Notebook]]:
    """Four channels that write down what they are told, by name."""
    settings.HITL_CHANNELS = CHANNELS
    outbox.channels.cache_clear()
    yield cast("Mapping[str, Notebook]", outbox.channels())
    outbox.channels.cache_clear()
