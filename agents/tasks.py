"""What Celery wakes for runs."""

import time

from celery import shared_task

from agents import services
from approvals.services import beat_heart

SHIFT_SECONDS = 20.0


@shared_task
def advance_runs() -> None:
    """Give every run that is owed a turn its turn, until none is due."""
    beat_heart("runs")
    services.flag_given_up_resumes()
    ends = time.monotonic() + SHIFT_SECONDS
    while services.advance_next():
        if time.monotonic() > ends:
            services.hint()
            return
