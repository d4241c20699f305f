"""The turns of runs: what a worker does for one, and what follows in the tables."""

import logging
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from django.db import transaction

from agents import checkpoints, payloads, runtime
from agents.executions import mark
from agents.models import ENDED, Execution, ExecutionStatus, Run, RunStatus
from agents.progress import outcome_of, shown_steps
from agents.registry import BUILT_IN
from agents.standing import cancel_pending, end, locked, need_attention
from approvals import outbox, services, trail, unexpected
from approvals.clock import clock
from approvals.core.events import WORKFLOW, ChannelBusy, ChannelError, EventName, Snapshot
from approvals.core.lifecycle import Actor, Status, Via
from approvals.errors import AlreadyDecided, Refusal
from approvals.selectors.request import snapshots_of_thread
from approvals.services import SYSTEM

log = logging.getLogger(__name__)

# A dead worker lets go of its thread, and its action is taken over when the lease ends. What still
# stands so long after that is held by a worker that is silent and alive, and keeps all others out.
SILENT_SECONDS = 60.0


def advance_next() -> bool:
    """Give the most urgent owed run its turn; False when none is due."""
    run = outbox.claim(Run, lease_seconds=outbox.RUN_LEASE_SECONDS)
    if run is None:
        return False
    with trail.step("take_turn", workflow_id=run.pk, channel=WORKFLOW):
        try:
            _advance(run)
        except Exception as error:
            # Wide on purpose, as for deliveries: what this run raises it raises at every turn, and
            # were the task left to end, the run would stay the first to be claimed.
            if unexpected.is_outage(error):
                raise
            unexpected.log_traceback(log, run, error, "The turn of run %s failed", run.pk)
            _put_off(run, ChannelError(unexpected.sentence(run, error)))
    return True


def _put_off(run: Run, error: ChannelError) -> None:
    """Let the run have another turn later, which may find what it needs, up to the bound."""
    if run.attempts + 1 < outbox.MAX_ATTEMPTS:
        outbox.settle(run, **outbox.backed_off(run, error, clock()))
        return
    need_attention(run.pk, str(error))
    outbox.settle(run, done=run.wanted)


def _advance(run: Run) -> None:
    if run.status == RunStatus.NEEDS_ATTENTION:
        outbox.settle(run, done=run.wanted, attempts=0, last_error="")
        return
    if run.attempts >= outbox.MAX_ATTEMPTS:
        need_attention(
            run.pk,
            "Whoever gave this run its turn died every time: find out from the workers' log what"
            " ends them, mostly a lack of memory, then settle the run.",
        )
        outbox.settle(run, done=run.wanted)
        return
    try:
        # What stopped the run is told on the run already.
        with suppress(runtime.Stopped, Refusal):
            runtime.take_turn(run.thread_id, _capture)
    except ChannelBusy:
        wait = timedelta(seconds=outbox.BUSY_SECONDS)
        outbox.settle(run, attempts=0, not_before=clock() + wait)
        return
    outbox.settle(run, done=run.wanted, attempts=0, last_error="")
    outbox.wake_thread(run.thread_id)


def resume_run(request: Snapshot) -> None:
    """Let the run of a decided request go on with the verdict; already done is success.

    Raises ChannelBusy while somebody else moves the thread.
    """
    if request.status in {Status.PENDING, Status.SUPERSEDED}:
        return
    try:
        with trail.step(
            "resume_run",
            request_id=request.id,
            workflow_id=request.workflow_id,
            channel=WORKFLOW,
        ):
            refusal = runtime.resume(request, _capture)
    except (runtime.Stopped, Refusal):
        return
    if refusal:
        services.record_event(request.id, EventName.RESUME_REFUSED, {"reason": refusal})
    outbox.wake_thread(request.thread_id)


def flag_given_up_resumes() -> None:
    """A run whose verdict could not be delivered within the bound needs a person."""
    threads = outbox.given_up_threads()
    going = [RunStatus.WAITING, RunStatus.RUNNING]
    for run in Run.objects.filter(thread_id__in=threads, status__in=going):
        need_attention(run.pk, "The decision could not be handed to the run; see the delivery.")


def flag_silent_workers(after_seconds: float = SILENT_SECONDS) -> None:
    """A run whose worker hangs in the middle of an action needs a person: nobody can take over."""
    overdue = Execution.objects.filter(
        status=ExecutionStatus.STARTED,
        lease_until__lte=clock() - timedelta(seconds=after_seconds),
        run__status=RunStatus.RUNNING,
    )
    for pk, run_id, token in list(overdue.values_list("pk", "run_id", "claim_token")):
        with transaction.atomic():
            # Whoever hangs with the run's row locked must not make this worker hang as well.
            run = Run.objects.select_for_update(skip_locked=True).filter(pk=run_id).first()
            row = overdue.filter(pk=pk, claim_token=token).first()
            if run is None or row is None:
                continue
            # Asked last: what was taken over or ended meanwhile has gone from the rows above.
            holder = checkpoints.silent_holder(run.thread_id, after_seconds)
            if holder is not None:
                _flag_silent(row, holder)


def _flag_silent(row: Execution, holder: str) -> None:
    told = (
        f"Step {row.position + 1} ({row.action.get('operation')}) was begun at"
        f" {row.started_at:%Y-%m-%d %H:%M:%S} UTC and had to end by"
        f" {row.lease_until:%Y-%m-%d %H:%M:%S} UTC, but the worker that began it neither ends nor"
        f" dies: {holder}. End that process (kill -9), or that session (pg_terminate_backend) where"
        " the process cannot be reached; look whether the action happened; then settle the run."
    )
    mark(row, ExecutionStatus.UNKNOWN, told)
    need_attention(row.run_id, told)


def flag_left_behind() -> None:
    """An action whose worker died after its run had ended is at work no more; nobody begins it."""
    left = Execution.objects.filter(
        status=ExecutionStatus.STARTED, lease_until__lte=clock(), run__status__in=ENDED
    )
    told = (
        "The worker died while the action was at work, after its run had been cancelled, so it may"
        " or may not have happened. Look."
    )
    for pk, run_id in list(left.values_list("pk", "run_id")):
        with transaction.atomic():
            # Whoever records the end just now holds the run, and has the last word.
            run = Run.objects.select_for_update(skip_locked=True).filter(pk=run_id).first()
            row = left.filter(pk=pk).first()
            if run is not None and row is not None:
                mark(row, ExecutionStatus.UNKNOWN, told)


def _capture(run: Run, position: runtime.Position) -> None:
    """Bring the tables up to where the thread stands: requests for its interrupts, its status."""
    known = {
        (request.interrupt_id, request.digest): request
        for request in snapshots_of_thread(run.thread_id)
        if request.status is not Status.SUPERSEDED
    }
    asked: dict[str, UUID | None] = {}
    for interrupt_id, ask in position.asks:
        request = known.pop((interrupt_id, ask.digest), None)
        if request is None:
            asked[interrupt_id] = _open(run, position, interrupt_id, ask)
        elif request.status is not Status.PENDING and not position.was_used(request.id):
            # The graph asks again for what was decided before: it is owed that verdict.
            outbox.nudge(request.id, WORKFLOW)
    for request in known.values():
        if request.status is Status.PENDING:
            # A vote may come in between; its verdict then finds that the digest differs.
            with suppress(AlreadyDecided):
                services.supersede_request(
                    request.id,
                    reason="The workflow no longer asks for this, or asks for something else.",
                    successor_id=asked.get(request.interrupt_id),
                )
    _record(run, position)


def _open(
    run: Run, position: runtime.Position, interrupt_id: str, ask: payloads.Ask
) -> UUID | None:
    opened = services.open_request(
        workflow_id=str(run.pk),
        thread_id=run.thread_id,
        checkpoint_id=position.checkpoint_id,
        interrupt_id=interrupt_id,
        task=ask.task,
        action=ask.action,
        agent_name=ask.agent,
        requested_by=run.requested_by,
        pr_number=run.pr_number,
        pr_url=run.pr_url,
        github_repo=run.github_repo,
        actor=Actor(run.requested_by, Via.SYSTEM, user_id=run.opened_by_id, key="run"),
    )
    return opened.request_id


def _record(run: Run, position: runtime.Position) -> None:
    with transaction.atomic():
        row = locked(run.pk)
        if row.status in ENDED:
            cancel_pending(row, SYSTEM, f"The run was {row.status}.")
            return
        if row.graph == BUILT_IN:
            row.steps = shown_steps(position.values, waiting=bool(position.asks))
        if not position.finished:
            row.status = RunStatus.WAITING
            row.save(update_fields=["status", "steps"])
            return
        status, result = outcome_of(row, position.values)
        end(row, status, result)
