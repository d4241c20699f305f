"""How a run stands, changed under the lock on its row."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import transaction

from agents.metrics import RUNS_ENDED
from agents.models import ENDED, Run, RunStatus
from approvals import outbox, services, tally, trail
from approvals.clock import clock
from approvals.core import intake
from approvals.core.events import WORKFLOW, EventName
from approvals.core.lifecycle import Actor, Status
from approvals.core.queues import Queue
from approvals.errors import AlreadyDecided, RequestNotFound
from approvals.masking import quiet
from approvals.selectors.request import snapshots_of_thread

log = logging.getLogger(__name__)


def locked(run_id: UUID) -> Run:
    """The run with its row locked; RequestNotFound."""
    run = Run.objects.select_for_update().filter(pk=run_id).first()
    if run is None:
        raise RequestNotFound(f"There is no workflow {run_id}.")
    return run


def end(run: Run, status: RunStatus, result: Mapping[str, Any]) -> None:
    """Give a locked run, which has not ended yet, its last status, its steps and its result."""
    run.status, run.result, run.ended_at = status, dict(result), clock()
    run.attention = ""
    run.save(update_fields=["status", "steps", "result", "ended_at", "attention"])
    tally.count(RUNS_ENDED, status)
    services.record_run_event(run.pk, EventName.RUN_ENDED, {"status": status})
    trail.tell(log, "Run ended", status=status)


def cancel_pending(run: Run, actor: Actor, reason: str) -> None:
    """Cancel whatever a run that has ended still waits for."""
    for request in snapshots_of_thread(run.thread_id):
        if request.status is Status.PENDING:
            # A vote may come in between; a run that has ended executes nothing any more.
            with suppress(AlreadyDecided):
                services.withdraw_request(request.id, actor=actor, reason=reason)


def need_attention(run_id: UUID, sentence: str) -> None:
    """Stop a run until a person settles it."""
    with trail.step("stop_run", workflow_id=run_id, channel=WORKFLOW), transaction.atomic():
        run = locked(run_id)
        if run.status in ENDED:
            # What stopped may have asked people something before it learned of the end.
            cancel_pending(run, services.SYSTEM, f"The run was {run.status}.")
            return
        run.status, run.attention = RunStatus.NEEDS_ATTENTION, as_told(run, sentence)
        run.save(update_fields=["status", "attention"])
        reason = run.attention
        services.record_run_event(run.pk, EventName.RUN_NEEDS_ATTENTION, {"reason": reason})
        trail.tell(log, "Run needs attention", error=reason)


def as_told(run: Run, sentence: str) -> str:
    """What people and the log, which keeps it for ever, are told of what stopped a run.

    Its secrets go before its end does, or the beginning of one could be left there.
    """
    return str(intake.harmless(quiet(run, sentence)))[: intake.MAX_WORDS]


def go_on(run: Run, *, may_continue: bool) -> None:
    """Let a locked run that needed attention go on, and owe it a turn."""
    run.status, run.attention, run.may_continue = RunStatus.RUNNING, "", may_continue
    Run.objects.filter(pk=run.pk).update(
        status=run.status,
        attention=run.attention,
        may_continue=run.may_continue,
        **Run.raised(),
    )
    transaction.on_commit(hint, robust=True)


def hint() -> None:
    """Wake a worker for the runs that are owed a turn."""
    outbox.hint_task("agents.tasks.advance_runs", Queue.RUNS)
