"""Fixtures of the approvals tests."""

from collections.abc import Iterator, Mapping
from typing import cast

import pytest
from django.test import Client
from pytest_django import Settings

from approvals import outbox
from tests.approvals.channels import Notebook
from tests.approvals.pages import signed_in
from tests.approvals.scenes import person

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


@pytest.fixture
def operator() -> Client:
    """A browser of an operator who is no superuser."""
    return signed_in(person("olga", "operators"), staff=True)


@pytest.fixture
def superuser() -> Client:
    """A browser of a superuser."""
    return signed_in(person("root"), superuser=True)
