"""What Celery wakes: hints to look at the rows, and the sweep that finds what hints lost."""

import logging
import time

from celery import shared_task

from approvals import metrics, outbox, services
from approvals.core.queues import Queue
from approvals.selectors.health import NOT_ACCEPTED, is_database_accepted

log = logging.getLogger(__name__)

# A worker goes back to its queue now and then, so that no channel keeps it for itself.
SHIFT_SECONDS = 20.0
# The queue of the deadlines, so they wait no longer than this.
PURGE_SECONDS = 2.0
ROLL_UP_SECONDS = 2.0


@shared_task
def deliver(channel: str) -> None:
    """Deliver what a channel is owed until nothing is due."""
    if channel not in outbox.channels():
        return
    ends = time.monotonic() + SHIFT_SECONDS
    while outbox.deliver_next(channel):
        if time.monotonic() > ends:
            outbox.hint(channel)
            return


@shared_task
def expire_overdue() -> None:
    """Expire what nobody decided in time."""
    while services.expire_overdue():
        pass


@shared_task
def sweep() -> None:
    """Find what is due and wake the workers for it; harmless when doubled."""
    if not is_database_accepted():
        log.error(NOT_ACCEPTED)
    # Neither keeps the other back: nobody else finds what hints lost, or what is overdue.
    try:
        for channel in outbox.channels():
            outbox.hint(channel)
        outbox.hint_task("agents.tasks.advance_runs", Queue.RUNS)
        outbox.hint_task("agents.tasks.flag_stuck_runs", Queue.RUNS)
    finally:
        expire_overdue()
    # Last: a sweep that fails has not swept, and must not look as if it had.
    services.beat_heart(Queue.SWEEPS)


@shared_task
def purge_old() -> None:
    """Take what retention no longer keeps; goes back to the queue while something is left."""
    services.clear_sessions()
    if services.purge_old(seconds=PURGE_SECONDS):
        outbox.hint_task("approvals.tasks.purge_old", Queue.SWEEPS)


@shared_task
def roll_up_metrics() -> None:
    """Add up what scrapes need not read again; goes back to the queue while something is left."""
    if metrics.roll_up(seconds=ROLL_UP_SECONDS):
        outbox.hint_task("approvals.tasks.roll_up_metrics", Queue.SWEEPS)
