"""What retention takes of runs that have ended: their checkpoints, and what their actions said."""

import logging
from contextlib import suppress
from datetime import datetime
from uuid import UUID

from django.db import transaction

from agents.models import ENDED, Execution, Run, RunStatus
from approvals import services
from approvals.core.events import ChannelBusy
from approvals.models import ClockTimestamp

log = logging.getLogger(__name__)

_GOING = frozenset(RunStatus) - ENDED


def purge_runs(before: datetime, limit: int) -> int:
    """Delete the checkpoints of at most `limit` runs that ended before that time.

    The output of their actions is emptied; summary, data and status stay. A thread that somebody
    holds is left for another time. Returns how many runs were purged.
    """
    with transaction.atomic():
        # Locked and marked, so that two processes share the work and no run is looked at twice.
        rows = Run.objects.select_for_update(no_key=True, skip_locked=True)
        rows = rows.filter(ended_at__lt=before, purged_at=None, status__in=ENDED)
        threads = dict(rows.order_by("ended_at").values_list("pk", "thread_id")[:limit])
        purged = _delete_checkpoints(threads) if threads else []
        said = Execution.objects.filter(run__in=purged).exclude(output="")
        emptied = said.update(output="") if purged else 0
        Run.objects.filter(pk__in=purged).update(purged_at=ClockTimestamp())
    if purged:
        log.info(
            "Retention: deleted the checkpoints of %d runs ended before %s, emptied the output of"
            " %d actions.",
            *(len(purged), before.date(), emptied),
        )
    return len(purged)


def purge_deliveries(before: datetime, limit: int) -> int:
    """Delete the deliveries of old requests whose runs, where they have one, have ended."""
    # A run that began later has asked for nothing that is old.
    going = Run.objects.filter(status__in=_GOING, created_at__lt=before)
    threads = set(going.values_list("thread_id", flat=True))
    return services.purge_deliveries(before, limit, threads)


def _delete_checkpoints(threads: dict[UUID, str]) -> list[UUID]:
    """The runs among these whose threads nobody held, and which have no checkpoints any more."""
    # Loaded by the first run that is to be purged: langgraph is slow, and mostly there is none.
    from agents import checkpoints  # noqa: PLC0415

    free = []
    for run_id, thread_id in threads.items():
        with suppress(ChannelBusy), checkpoints.locked(thread_id) as saver:
            saver.delete_thread(thread_id)
            free.append(run_id)
    # The next batch may be months away.
    checkpoints.disconnect()
    return free
