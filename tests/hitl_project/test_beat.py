"""What beat and others ask of the workers, as the workers get it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery.beat import Scheduler
from celery.signals import before_task_publish

from approvals.core.queues import Queue
from approvals.outbox import hint_task
from hitl_project.celery import app


@pytest.fixture
def expiries() -> Any:
    """When each message that is sent here loses its worth, by its task."""
    seen: dict[str, datetime] = {}

    def note(sender: str, headers: dict[str, Any], **_: object) -> None:
        seen[sender] = datetime.fromisoformat(headers["expires"])

    before_task_publish.connect(note)
    yield seen
    before_task_publish.disconnect(note)


def test_a_clock_that_is_minutes_off_has_nothing_thrown_away(expiries: dict[str, datetime]) -> None:
    """The worker judges by its own clock what the sender wrote by another."""
    beat = Scheduler(app=app, lazy=True)
    beat.setup_schedule()
    entries = [entry for entry in beat.schedule.values() if not entry.task.startswith("celery.")]
    for entry in entries:
        beat.apply_async(entry, advance=False)
    hint_task("approvals.tasks.deliver", Queue.RUNS, "workflow")
    assert len(expiries) == len(entries) + 1
    least = datetime.now(UTC) + timedelta(minutes=30)
    assert {task for task, at in expiries.items() if at < least} == set()
