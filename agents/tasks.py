"""What Celery wakes for runs."""

import time

from celery import shared_task

from agents.standing import hint

SHIFT_SECONDS = 20.0


@shared_task
def advance_runs() -> None:
    """Give every run that is owed a turn its turn, until none is due."""
    # Imported by the first run, not by every worker: langgraph is slow to load.
    from agents import turns  # noqa: PLC0415

    ends = time.monotonic() + SHIFT_SECONDS
    while turns.advance_next():
        if time.monotonic() > ends:
            hint()
            return


@shared_task
def flag_stuck_runs() -> None:
    """Let people know of every run, and every action, that nothing will move any more."""
    # Imported by the first run, as above.
    from agents import turns  # noqa: PLC0415

    turns.flag_given_up_resumes()
    turns.flag_silent_workers()
    turns.flag_left_behind()
