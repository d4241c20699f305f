"""A gateway that only resumes runs, and a requester and an approver."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from agents import checkpoints
from approvals import outbox
from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via
from tests.agents import executors_of_tests as executors
from tests.agents import graphs_of_others as others
from tests.agents.worker import Worker


@pytest.fixture
def workflow_world(settings: Any) -> Iterator[None]:
    """The workflow channel alone, scripted executors, and nothing left of an earlier test."""
    settings.HITL_CHANNELS = ["integrations.workflow.WorkflowChannel"]
    settings.HITL_EXECUTORS = dict.fromkeys(
        ("command", "http", "github_workflow"), "tests.agents.executors_of_tests.scripted"
    )
    outbox.channels.cache_clear()
    others.effects.clear()
    others.asked.clear()
    others.asked["version"] = "v1"
    executors.begun.clear()
    executors.next_outcomes.clear()
    yield
    checkpoints.disconnect()
    outbox.channels.cache_clear()


@pytest.fixture
def requester() -> User:
    """Somebody who asks."""
    return User.objects.create_user("rosa", "rosa@example.com")


@pytest.fixture
def approver() -> User:
    """Somebody whom every shipped policy lets decide."""
    user = User.objects.create_user("ada", "ada@example.com")
    for name in ("release-managers", "platform", "developers"):
        user.groups.add(Group.objects.create(name=name))
    return user


@pytest.fixture
def operator() -> Actor:
    """Somebody who may settle runs."""
    user = User.objects.create_user("olga", "olga@example.com")
    user.groups.add(Group.objects.create(name="operators"))
    return user_actor(user, Via.COMMAND)


@pytest.fixture
def worker(workflow_world: None, requester: User, approver: User) -> Worker:
    """A worker in that world."""
    return Worker(requester, approver)
