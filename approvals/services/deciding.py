"""Everything that may end a request: a vote, a withdrawal, a successor, the deadline."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db import transaction
from django.db.models import F

from approvals import audit, outbox, tally, trail
from approvals.actors import able
from approvals.audit import SYSTEM, Fact
from approvals.clock import clock
from approvals.core import intake, lifecycle
from approvals.core.events import EventName, event_of
from approvals.core.lifecycle import Accepted, Actor, Choice, Reason, Refused, Status
from approvals.core.roles import to_cancel
from approvals.errors import (
    AlreadyDecided,
    InvalidInput,
    NotAllowed,
    Refusal,
    RequestNotFound,
)
from approvals.inputs import must_be_words
from approvals.models import ApprovalRequest, Vote, VoteRefusal

log = logging.getLogger(__name__)

# Without the key: what merely refers to the request, such as a webhook, need not wait. The time is
# read around what locks, which may have waited for long.
_LOCK = f"""
SELECT held.*, clock_timestamp() AS locked_at
FROM (SELECT * FROM {ApprovalRequest._meta.db_table} WHERE id = %s FOR NO KEY UPDATE) AS held
"""  # noqa: S608 - our own table's name


@dataclass(frozen=True)
class Ballot:
    """Where a request stands after a vote that counts; `changed` where there was anything new."""

    request_id: UUID
    workflow_id: str
    status: Status
    approvals: int
    quorum: int
    changed: bool


def cast_vote(
    request_id: UUID,
    *,
    actor: Actor,
    choice: Choice,
    comment: str = "",
    detail: Mapping[str, Any] | None = None,
    shown_at: datetime | None = None,
) -> Ballot:
    """Count one person's vote, which may decide the request.

    The same vote again changes nothing, unless it comes with other words than are kept with it.
    `detail` is kept with the audit entry; `shown_at`, by the database's clock, is when the voter
    was first shown the request. Raises RequestNotFound, InvalidInput, AlreadyDecided and
    NotAllowed; a refusal is recorded before it is raised.
    """
    with trail.step("cast_vote", request_id=request_id, via=actor.via):
        must_be_words("comment", comment)
        if (fault := intake.json_fault(detail or {})) is not None:
            raise InvalidInput("detail", f"The detail {fault}.")
        with transaction.atomic():
            row, now = _locked(request_id)
            outcome = lifecycle.decide(row.standing(), actor, choice, now)
            if isinstance(outcome, Accepted):
                return _count(row, actor, choice, comment, outcome, now, detail or {}, shown_at)
            refused = _refuse(row, actor, choice, outcome, now, detail or {})
        raise refused


def refuse_vote(request_id: UUID, *, actor: Actor, choice: Choice) -> None:
    """Refuse, and record, a vote that may not be cast, whatever would be said with it.

    Nothing comes of it where the vote may be cast. Raises RequestNotFound, AlreadyDecided and
    NotAllowed.
    """
    with trail.step("refuse_vote", request_id=request_id, via=actor.via):
        with transaction.atomic():
            row, now = _locked(request_id)
            fault = lifecycle.refusal(row.standing(), actor, now)
            if fault is None:
                return
            refused = _refuse(row, actor, choice, fault, now, {})
        raise refused


def cancel_request(request_id: UUID, *, actor: Actor, reason: str) -> None:
    """End a pending request that nobody is to decide any more; whoever asked, or an operator, may.

    Raises RequestNotFound, InvalidInput, NotAllowed and AlreadyDecided.
    """
    row = ApprovalRequest.objects.filter(pk=request_id).first()
    if row is None:
        raise _not_found(request_id)
    # Who opened a request never changes, so the right is judged without the lock.
    if not able(actor, to_cancel(actor, row.opened_by_id)):
        raise NotAllowed("Only whoever asked for it, or an operator, may cancel a request.")
    withdraw_request(request_id, actor=actor, reason=reason)


def withdraw_request(request_id: UUID, *, actor: Actor, reason: str) -> None:
    """Cancel a pending request because what asked for it has ended, in the name of who ended it.

    The caller has judged whether they may. Raises RequestNotFound, InvalidInput and AlreadyDecided.
    """
    with trail.step("cancel_request", request_id=request_id, via=actor.via):
        must_be_words("reason", reason)
        with transaction.atomic():
            row, now = _locked(request_id)
            ended = _ended(row, now)
            if ended is None:
                _resolve([row], Status.CANCELLED, actor, now, reason)
                return
        raise ended


def supersede_request(
    request_id: UUID, *, actor: Actor = SYSTEM, reason: str, successor_id: UUID | None = None
) -> None:
    """End a pending request whose operation is no longer the one that would run.

    Raises RequestNotFound and AlreadyDecided.
    """
    with trail.step("supersede_request", request_id=request_id, via=actor.via):
        with transaction.atomic():
            row, now = _locked(request_id)
            ended = _ended(row, now)
            if ended is None:
                row.superseded_by_id = successor_id
                row.save(update_fields=["superseded_by"])
                _resolve([row], Status.SUPERSEDED, actor, now, reason)
                return
        raise ended


def expire_overdue(limit: int = 500) -> int:
    """Expire pending requests past their deadline, at most `limit`; returns how many."""
    with transaction.atomic():
        # One moment, not a function for each row, so that the index on the deadline serves.
        now = clock()
        rows = list(
            ApprovalRequest.objects.select_for_update(skip_locked=True, no_key=True)
            .filter(status=Status.PENDING, expires_at__lte=now)
            .order_by("expires_at")[:limit]
        )
        if rows:
            _expire(rows, now)
    return len(rows)


def record_event(
    request_id: UUID, name: EventName, data: Mapping[str, Any], *, actor: Actor = SYSTEM
) -> None:
    """Append what happened to a request after its decision, such as how its action ended."""
    with transaction.atomic(savepoint=False):
        _, now = _locked(request_id)
        audit.append([Fact(request_id, name, actor, now, data)])


def record_run_event(
    run_id: UUID, name: EventName, data: Mapping[str, Any], *, actor: Actor = SYSTEM
) -> None:
    """Append what happened to a run; the caller holds the lock on the run's row."""
    with transaction.atomic(savepoint=False):
        audit.append([Fact(run_id, name, actor, clock(), data)])


def _locked(request_id: UUID) -> tuple[ApprovalRequest, datetime]:
    """A request with its lock, and the time at which it was locked."""
    row = next(iter(ApprovalRequest.objects.raw(_LOCK, [request_id])), None)
    if row is None:
        raise _not_found(request_id)
    trail.know(workflow_id=row.workflow_id, opened_in=row.traceparent)
    return row, vars(row).pop("locked_at")


def _not_found(request_id: UUID) -> RequestNotFound:
    return RequestNotFound(f"There is no request {request_id}.")


def _ended(row: ApprovalRequest, now: datetime) -> AlreadyDecided | None:
    """What to raise, once committed, where the request is final; an overdue one expires here."""
    if row.status == Status.PENDING and now >= row.expires_at:
        _expire([row], now)
    return None if row.status == Status.PENDING else _already(row)


def _count(
    row: ApprovalRequest,
    actor: Actor,
    choice: Choice,
    comment: str,
    outcome: Accepted,
    now: datetime,
    detail: Mapping[str, Any],
    shown_at: datetime | None,
) -> Ballot:
    policy = row.frozen_policy
    changed = outcome.changed or _says_more(row, actor, comment)
    facts = []
    if changed:
        vote = {"choice": choice, "comment": comment, "via": actor.via, "cast_at": now}
        vote["seconds_to_vote"] = _seconds(shown_at, now)
        # One statement, where looking first would take three and two savepoints.
        Vote.objects.bulk_create(
            [Vote(request=row, user_id=cast("int", actor.user_id), **vote)],
            update_conflicts=True,
            unique_fields=["request", "user"],
            update_fields=list(vote),
        )
        data = {
            **detail,
            "choice": choice,
            "comment": comment,
            "approvals": outcome.approvals,
            "quorum": policy.quorum,
        }
        facts.append(Fact(row.pk, EventName.VOTE_CAST, actor, now, data))
        trail.tell(
            log,
            "Vote cast",
            choice=choice,
            user_id=actor.user_id,
            approvals=outcome.approvals,
            quorum=policy.quorum,
        )
    if outcome.status is not Status.PENDING:
        _resolve([row], outcome.status, actor, now, comment, after=facts)
    elif facts:
        audit.append(facts)
        outbox.owe([row.pk], EventName.VOTE_CAST)
    return Ballot(
        row.pk, row.workflow_id, outcome.status, outcome.approvals, policy.quorum, changed
    )


def _says_more(row: ApprovalRequest, actor: Actor, comment: str) -> bool:
    """Whether somebody who stays with their vote gives it words that are not kept yet."""
    if actor.via in lifecycle.WORDLESS or not comment.strip():
        return False
    mine = Vote.objects.filter(request=row, user_id=cast("int", actor.user_id))
    return not mine.filter(comment=comment).exists()


def _seconds(shown_at: datetime | None, now: datetime) -> float | None:
    # A clock that was set back in between gives no time less than none.
    return None if shown_at is None else max((now - shown_at).total_seconds(), 0.0)


def _refuse(
    row: ApprovalRequest,
    actor: Actor,
    choice: Choice,
    refused: Refused,
    now: datetime,
    detail: Mapping[str, Any],
) -> Refusal:
    """Record the refusal and return what to raise once the transaction is committed."""
    overdue = refused.reason is Reason.EXPIRED
    if overdue:
        _expire([row], now)
    counted, first = VoteRefusal.objects.get_or_create(
        request=row,
        actor=intake.harmless(actor.identity)[:200],
        choice=choice,
        reason=refused.reason,
        via=actor.via,
        defaults={"last_at": now},
    )
    if first:
        sentence = intake.harmless(refused.sentence)
        data = {**detail, "choice": choice, "code": refused.reason, "sentence": sentence}
        audit.append([Fact(row.pk, EventName.VOTE_REFUSED, actor, now, data)])
        if row.status == Status.PENDING:
            outbox.owe([row.pk], EventName.VOTE_REFUSED)
    else:
        VoteRefusal.objects.filter(pk=counted.pk).update(times=F("times") + 1, last_at=now)
    tally.count(tally.VOTES_REFUSED, refused.reason)
    trail.tell(log, "Vote refused", choice=choice, user_id=actor.user_id, reason=refused.reason)
    if overdue or refused.reason is Reason.ALREADY_DECIDED:
        return _already(row)
    return NotAllowed(refused.sentence)


def _expire(rows: Sequence[ApprovalRequest], now: datetime) -> None:
    _resolve(rows, Status.EXPIRED, SYSTEM, now, "Nobody decided before the deadline.")


def _resolve(
    rows: Sequence[ApprovalRequest],
    status: Status,
    actor: Actor,
    now: datetime,
    reason: str,
    *,
    after: Sequence[Fact] = (),
) -> None:
    """End locked pending requests: the only place where a status changes.

    `after` is what led to it, and is written into the log before it.
    """
    ids = [row.pk for row in rows]
    changed = ApprovalRequest.objects.filter(pk__in=ids, status=Status.PENDING).update(
        status=status, decided_at=now, decided_by=actor.name, decision_reason=reason
    )
    if changed != len(rows):
        raise RuntimeError(f"{len(rows) - changed} locked requests were not pending")
    for row in rows:
        row.status, row.decided_at, row.decided_by = status, now, actor.name
        row.decision_reason = reason
    event = event_of(status)
    ends = [Fact(row.pk, event, actor, now, {"reason": reason}) for row in rows]
    audit.append([*after, *ends])
    for row in rows:
        _tell(row, actor)
    outbox.owe(ids, event)


def _tell(row: ApprovalRequest, actor: Actor) -> None:
    """Tell that a request was decided, in a step of its own: there may be many in one."""
    with trail.step("decide", request_id=row.pk, via=actor.via):
        trail.know(workflow_id=row.workflow_id, opened_in=row.traceparent)
        trail.tell(log, "Request decided", status=row.status, risk_level=row.risk_level)


def _already(row: ApprovalRequest) -> AlreadyDecided:
    decided_at = cast("datetime", row.decided_at)
    return AlreadyDecided(
        f"This request was already {row.status} by {row.decided_by}"
        f" at {decided_at:%Y-%m-%d %H:%M} UTC.",
        status=row.status,
        decided_by=row.decided_by,
        decided_at=decided_at,
    )
