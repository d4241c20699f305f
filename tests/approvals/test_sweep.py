"""A sweep wakes whoever is owed something, whatever else of it fails, and says when it is done."""

import json
from typing import Any

import pytest
from celery import current_app
from django.conf import settings
from redis import Redis

from approvals import services, tasks
from approvals.models import Heartbeat
from tests.approvals.scenes import opened, pass_deadline, row

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels")]
QUEUES = ("runs", "channels", "sweeps")


@pytest.fixture
def broker() -> Redis:
    """The broker, with no hint of anybody in it."""
    redis: Redis = Redis.from_url(settings.REDIS_URL)
    redis.delete(*QUEUES)
    return redis


def hinted(broker: Redis) -> set[str]:
    """The channels and tasks that were woken since; they are forgotten."""
    found: list[Any] = [json.loads(text) for name in QUEUES for text in broker.lrange(name, 0, -1)]
    broker.delete(*QUEUES)
    return {
        message["headers"]["argsrepr"].strip("[](),'") or message["headers"]["task"]
        for message in found
    }


def has_beaten() -> bool:
    """Whether a sweep has said that it is done."""
    return Heartbeat.objects.filter(name="sweeps").exists()


WOKEN = {
    *("linear", "github", "workflow", "chat"),
    *("agents.tasks.advance_runs", "agents.tasks.flag_stuck_runs"),
}


def test_a_sweep_wakes_every_worker_and_expires_what_is_overdue(broker: Redis) -> None:
    request_id = opened()
    pass_deadline(request_id)
    hinted(broker)
    tasks.sweep()
    assert hinted(broker) == WOKEN
    assert row(request_id).status == "expired"
    assert has_beaten()


def test_an_error_in_the_expiry_keeps_no_hint_back_and_shows(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> int:
        raise KeyError("a request of another release")

    monkeypatch.setattr(services, "expire_overdue", fails)
    with pytest.raises(KeyError):
        tasks.sweep()
    assert hinted(broker) == WOKEN
    assert not has_beaten()


def test_a_broker_that_is_gone_keeps_no_request_from_expiring_and_shows(
    broker: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = opened()
    pass_deadline(request_id)

    def fails(*_: object, **__: object) -> None:
        raise ConnectionError("the broker is gone")

    monkeypatch.setattr(current_app, "send_task", fails)
    with pytest.raises(ConnectionError):
        tasks.sweep()
    assert row(request_id).status == "expired"
    assert not has_beaten()
