"""Begin an action at most once for what it may be begun for, and record how it ended."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import InterfaceError, OperationalError, connection, transaction

from agents.actions import NotBegun, OutcomeUnknown, load_executor, misfit
from agents.metrics import EXECUTIONS
from agents.models import ENDED, Execution, ExecutionStatus, Run, RunStatus
from agents.payloads import Ask
from agents.standing import as_told, go_on
from approvals import services, tally, trail
from approvals.audit import SYSTEM
from approvals.clock import clock
from approvals.core.canonical import digest
from approvals.core.events import WORKFLOW, EventName, Snapshot
from approvals.core.lifecycle import Actor, Status
from approvals.masking import quiet
from approvals.models import DatabaseIdentity
from approvals.selectors.health import NOT_ACCEPTED
from approvals.selectors.request import get_snapshot

log = logging.getLogger(__name__)

# The executor itself ends at its timeout, a command at most 13 s later; what is silent for this
# much longer has crashed.
GRACE_SECONDS = 20
_STOOD_STILL = (
    "The action was not begun: right before it, its worker stood still or lost the database."
)
_IN_DOUBT = (
    "But an earlier attempt has no known end, and may have taken effect. Look, then settle the run."
)
# Between two attempts to record an end while the database is away.
_AGAIN_SECONDS = 1.0


class NeedsAttention(Exception):
    """Only a person can say how this goes on; the sentence says why."""


class StillRunning(Exception):
    """The action is in other hands: another worker's until its lease is over, or a person's."""


@dataclass(frozen=True)
class Ended:
    """How a step ended: succeeded, failed or cancelled."""

    status: str
    summary: str


@dataclass(frozen=True)
class _Begin:
    """What an action would be begun for: a request, or what the rules let through unasked."""

    run_id: UUID
    position: int
    key: str
    action: Mapping[str, Any]
    request: Snapshot | None = None
    unasked: Ask | None = None


@dataclass(frozen=True)
class _Claim:
    """An action that is this worker's to begin.

    `doubt` says that it may have happened before; `granted`, that a person lets it begin again.
    """

    row: Execution
    doubt: str
    granted: bool


def run_approved(run_id: UUID, position: int, request_id: UUID) -> Ended:
    """Run the frozen action of an approved request, once.

    Raises NeedsAttention where the approval does not hold for it, is too old, or where the action
    could not be begun or may already have happened; StillRunning while another worker is at it.
    """
    request = get_snapshot(request_id)
    if request.status is not Status.APPROVED or request.workflow_id != str(run_id):
        raise NeedsAttention(f"Request {request_id} does not approve an action of this run.")
    if request.action is None:
        raise NeedsAttention(f"Request {request_id} froze no action that could run.")
    with trail.step("execute", request_id=request_id, workflow_id=run_id, channel=WORKFLOW):
        return _run(
            _Begin(run_id, position, f"request:{request_id}", request.action, request=request)
        )


def run_unattended(run_id: UUID, position: int, ask: Ask) -> Ended:
    """Run the action of a step that the rules let through without a human, once.

    Raises NeedsAttention and StillRunning like `run_approved`.
    """
    if ask.action is None:
        raise NeedsAttention("The step froze no action that could run.")
    with trail.step("execute", workflow_id=run_id, channel=WORKFLOW):
        return _run(_Begin(run_id, position, f"{run_id}:{position}", ask.action, unasked=ask))


def _run(begin: _Begin) -> Ended:
    claimed = _claim(begin)
    if isinstance(claimed, Ended):
        return claimed
    if isinstance(claimed, NeedsAttention):
        raise claimed
    execute = load_executor(str(begin.action["executor"]))
    try:
        _must_still_hold(begin, claimed.row)
        result = execute(begin.action, idempotency_key=begin.key)
    except NotBegun as error:
        open_status, told = _not_begun(str(error), claimed.doubt)
        _finish(begin, claimed.row, open_status, summary=told)
        raise NeedsAttention(told) from error
    except OutcomeUnknown as error:
        _finish(begin, claimed.row, ExecutionStatus.UNKNOWN, summary=str(error))
        raise NeedsAttention(str(error)) from error
    facts = {"output": result.output, "data": dict(result.data)}
    if claimed.doubt and not claimed.granted and not result.succeeded:
        # It may have been refused for being done already. Who granted it has looked.
        told = f"It was begun once more, and {result.summary}. {claimed.doubt}"
        _finish(begin, claimed.row, ExecutionStatus.UNKNOWN, summary=told, **facts)
        raise NeedsAttention(told)
    status = ExecutionStatus.SUCCEEDED if result.succeeded else ExecutionStatus.FAILED
    _finish(begin, claimed.row, status, summary=result.summary, **facts)
    return Ended(status, result.summary)


def _not_begun(why: str, doubt: str) -> tuple[ExecutionStatus, str]:
    """How an action stands whose attempt was surely not begun, and the sentence for people."""
    if doubt:
        return ExecutionStatus.UNKNOWN, f"{why} {doubt}"
    return ExecutionStatus.HELD, why


def _claim(begin: _Begin) -> _Claim | Ended | NeedsAttention:
    """Record that the action begins, unless it must not; what stands against it is committed."""
    with transaction.atomic():
        rows = Run.objects.select_for_update().filter(DatabaseIdentity.is_accepted())
        status = rows.filter(pk=begin.run_id).values_list("status", flat=True).first()
        if status is None:
            # Restored under a worker that had claimed the run before.
            raise StillRunning(NOT_ACCEPTED)
        if status in ENDED:
            return Ended("cancelled", f"The run had already ended: {status}.")
        now = clock()
        row = Execution.objects.select_for_update().filter(key=begin.key).first()
        granted_at = None if row is None else row.retry_granted_at
        if row is not None and granted_at is None:
            standing = _standing(row, now)
            if standing is not None:
                return standing
        # Neither a repetition nor a person's retry says that it did not happen before.
        doubt = "" if row is None or row.status == ExecutionStatus.HELD else _IN_DOUBT
        if row is None:
            row = Execution(
                run_id=begin.run_id,
                key=begin.key,
                position=begin.position,
                request_id=begin.request.id if begin.request else None,
                action=dict(begin.action),
                digest=digest(begin.action),
                attempts=0,
            )
        if late := too_late(begin.request, now, granted_at):
            open_status, told = _not_begun(late, doubt)
            mark(row, open_status, told, lease_until=None)
            return NeedsAttention(told)
        if unfit := _unfit(begin):
            return NeedsAttention(_not_begun(unfit, doubt)[1])
        row.status = ExecutionStatus.STARTED
        row.attempts += 1
        row.claim_token = uuid4()
        row.lease_until = now + timedelta(seconds=_lease_seconds(begin))
        row.started_at, row.finished_at = now, None
        row.summary, row.output, row.data = "", "", {}
        row.retry_granted_at = None
        row.save()
        _note(row, EventName.EXECUTION_STARTED, {"attempt": row.attempts, "digest": row.digest})
        trail.tell(log, "Execution started", position=row.position, attempt=row.attempts)
    return _Claim(row, doubt, granted_at is not None)


def _unfit(begin: _Begin) -> str:
    """Why this release, with its rules, does not begin the action as it was frozen; or nothing."""
    asked = begin.unasked
    if asked is not None and services.assess_task(asked.task, asked.agent).requires_approval:
        return "The rules now require an approval for a step that had none."
    return misfit(begin.action)


def _must_still_hold(begin: _Begin, row: Execution) -> None:
    """NotBegun unless the claim stands in the database, for as long as the action may take.

    Who stood still since then may have lost the thread and the action to another worker. Asked as
    plain SQL, in a quarter of the time: whoever waits for the action waits for this.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM agents_execution WHERE id = %s AND claim_token = %s"
                " AND lease_until >= clock_timestamp() + make_interval(secs => %s))",
                [row.pk, row.claim_token, int(begin.action["timeout_seconds"])],
            )
            (holds,) = cursor.fetchone()
    except (OperationalError, InterfaceError) as error:
        raise NotBegun(_STOOD_STILL) from error
    if not holds:
        raise NotBegun(_STOOD_STILL)


def _lease_seconds(begin: _Begin) -> int:
    return int(begin.action["timeout_seconds"]) + GRACE_SECONDS


def _standing(row: Execution, now: datetime) -> Ended | NeedsAttention | None:
    """What an earlier beginning means for a new one: None where it may be begun again."""
    if row.status in {ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED}:
        return Ended(row.status, row.summary)
    if row.status == ExecutionStatus.ABANDONED:
        return Ended("failed", row.summary)
    if row.status in {ExecutionStatus.HELD, ExecutionStatus.UNKNOWN}:
        return NeedsAttention(row.summary)
    if row.lease_until is not None and row.lease_until > now:
        raise StillRunning(f"The action is at work until {row.lease_until:%H:%M:%S} at the latest.")
    if row.action.get("idempotent") is True:
        return None
    told = (
        "The worker died while the action was at work, so it may or may not have happened."
        " Look, then settle the run."
    )
    mark(row, ExecutionStatus.UNKNOWN, told)
    return NeedsAttention(told)


def too_late(request: Snapshot | None, now: datetime, granted_at: datetime | None = None) -> str:
    """Why an approval no longer holds at this moment, or nothing.

    `granted_at` is when a person said that what it is for may be begun once more, which counts as
    long as an approval does.
    """
    if request is None or request.decided_at is None:
        return ""
    limit = request.policy.execute_within_seconds
    since = granted_at or request.decided_at
    if (now - since).total_seconds() <= limit:
        return ""
    at = f"{since:%Y-%m-%d %H:%M} UTC"
    what = f"to be tried again from {at} on" if granted_at else f"approved at {at}"
    return f"It was {what} and should have run within {limit} seconds; it was not begun."


def _finish(begin: _Begin, row: Execution, status: ExecutionStatus, **facts: Any) -> None:
    """Record how an action ended, also where the database is away for less than a lease.

    Nobody else knows. With its session the thread's lock may have gone to another worker, but that
    one leaves the action alone until the lease is over, and the claim's token guards the record.
    """
    gives_up_at = time.monotonic() + _lease_seconds(begin)
    while True:
        try:
            _record_end(begin, row, status, **facts)
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() > gives_up_at:
                raise
            log.warning("%s %s, which cannot be recorded yet: %s", begin.key, status, error)
            # Otherwise every attempt would meet the same broken connection.
            connection.close()
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def _record_end(begin: _Begin, row: Execution, status: ExecutionStatus, **facts: Any) -> None:
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=begin.run_id)
        held = Execution.objects.filter(pk=row.pk, claim_token=row.claim_token)
        stood = held.values("status", "summary").first()
        told = quiet(run, facts["summary"])
        now = clock()
        if stood is None or not held.update(
            status=status, finished_at=now, claim_token=None, **facts
        ):
            log.warning("%s %s too late to count: %s", begin.key, status, told)
            raise StillRunning("The action was taken over by another worker, or by a person.")
        _note_end(row, status, told)
        asked = run.attention if run.status == RunStatus.NEEDS_ATTENTION else None
        needs_this = asked == as_told(run, stood["summary"])
        if needs_this and status != ExecutionStatus.UNKNOWN:
            # What a person was asked is answered by the worker that knows. If it was thought dead
            # and the graph was left, somebody must enter it again.
            go_on(run, may_continue=not run.in_invocation)
        if stood["status"] != status:
            tally.count(EXECUTIONS, status)
        trail.tell(
            log,
            "Execution finished",
            status=status,
            position=row.position,
            attempt=row.attempts,
        )


def mark(
    row: Execution,
    status: ExecutionStatus,
    summary: str,
    *,
    settled_by: Actor | None = None,
    **changes: Any,
) -> None:
    """Record how an action stands that no worker tells the end of; its run and row are locked.

    Takes back the word that it may be begun once more. `settled_by` is the person whose word this
    is, `changes` are further fields of the row.
    """
    if row.status != status:
        tally.count(EXECUTIONS, status)
    for name, value in {"status": status, "summary": summary, **changes}.items():
        setattr(row, name, value)
    row.retry_granted_at = None
    row.save()
    _note_end(row, status, quiet(row.run, summary), settled_by)


def _note_end(row: Execution, status: str, told: str, settled_by: Actor | None = None) -> None:
    data = {"status": status, "summary": told, "attempt": row.attempts}
    if settled_by is not None:
        data["settled"] = True
    _note(row, EventName.EXECUTION_FINISHED, data, actor=settled_by or SYSTEM)


def _note(
    row: Execution, name: EventName, data: Mapping[str, Any], *, actor: Actor = SYSTEM
) -> None:
    facts = {
        "workflow_id": str(row.run_id),
        "position": row.position,
        "operation": row.action.get("operation"),
        **data,
    }
    if row.request_id is not None:
        services.record_event(row.request_id, name, facts, actor=actor)
    else:
        services.record_run_event(row.run_id, name, facts, actor=actor)
