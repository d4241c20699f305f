"""What became of a decision, as far as the audit log and the deliveries tell."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from approvals.core.events import WORKFLOW, EventName
from approvals.core.lifecycle import Status
from approvals.masking import quiet
from approvals.selectors.request import Log, delivery_state, status_at
from approvals.wording import CHANNELS, duration, plain

if TYPE_CHECKING:
    from approvals.models import ApprovalRequest, AuditEntry, Delivery


class Mark(StrEnum):
    """How a step stands."""

    DONE = "done"
    NOW = "now"
    NEVER = "never"
    TROUBLE = "trouble"


@dataclass(frozen=True)
class Step:
    """One thing that happened, happens or waits to happen; `quote` is what was said of it."""

    mark: Mark
    sentence: str
    at: datetime | None = None
    quote: str = ""


def steps(
    row: "ApprovalRequest", log: Log, deliveries: "Sequence[Delivery]", now: datetime
) -> Sequence[Step]:
    """What happened since the decision and what is still to come, in that order; none before it."""
    status = status_at(row, now)
    if status is Status.PENDING:
        return []
    if status is Status.SUPERSEDED:
        # A run is told of the request that took this one's place, never of this one.
        replaced = Step(Mark.NEVER, "Another request took its place; this one decides nothing.")
        return [*_channels(deliveries), replaced, *_run(row, log)]
    told = [*_channels(deliveries), *_handing_over(row, log, deliveries)]
    return [*told, *outcome(row, log, now)]


def outcome(row: "ApprovalRequest", log: Log, now: datetime) -> Sequence[Step]:
    """What became of the operation and of the run that asked for it, if one did."""
    status = status_at(row, now)
    if status is Status.PENDING:
        return []
    if status is Status.APPROVED:
        return [*_execution(row, log, now), *_run(row, log)]
    return [Step(Mark.NEVER, "The operation does not run."), *_run(row, log)]


def _execution(row: "ApprovalRequest", log: Log, now: datetime) -> Sequence[Step]:
    began = _last(log.own, EventName.EXECUTION_STARTED)
    ended = _last(log.own, EventName.EXECUTION_FINISHED)
    if ended is None or (began is not None and ended.number < began.number):
        if began is None:
            return list(_not_begun(row, log, now))
        attempt = began.data.get("attempt", 1)
        again = "" if attempt == 1 else f", attempt {plain(attempt)}"
        if _attention(log) is not None:
            return [Step(Mark.TROUBLE, f"The operation was begun{again}.", began.at)]
        return [Step(Mark.NOW, f"The operation is being carried out{again}.", began.at)]
    summary = plain(ended.data.get("summary") or "", keep="\n")
    if ended.data.get("settled"):
        counts = "as done" if ended.data.get("status") == "succeeded" else "as not done"
        said = f"The operation counts {counts}: a person has looked."
        return [Step(Mark.DONE if counts == "as done" else Mark.NEVER, said, ended.at, summary)]
    how = {
        "succeeded": Step(Mark.DONE, "The operation succeeded.", ended.at, summary),
        "failed": Step(Mark.TROUBLE, "The operation failed.", ended.at, summary),
        "held": Step(Mark.TROUBLE, "The operation was not begun.", ended.at, summary),
    }
    unclear = Step(Mark.TROUBLE, "Whether the operation happened is not known.", ended.at, summary)
    return [how.get(str(ended.data.get("status")), unclear)]


def _run(row: "ApprovalRequest", log: Log) -> Sequence[Step]:
    if not row.interrupt_id or not log.run:
        return []
    if (stopped := _attention(log)) is not None:
        reason = plain(stopped.data.get("reason") or "", keep="\n")
        return [Step(Mark.TROUBLE, "The run stopped: a person must look.", stopped.at, reason)]
    last = log.run[-1]
    if last.name == EventName.RUN_CANCELLED:
        reason = plain(last.data.get("reason") or "", keep="\n")
        return [Step(Mark.NEVER, "The run was cancelled.", last.at, reason)]
    if last.name == EventName.RUN_ENDED:
        how = plain(last.data.get("status") or "ended")
        mark = {"completed": Mark.DONE, "failed": Mark.TROUBLE}.get(how, Mark.NEVER)
        return [Step(mark, f"The run has ended: {how}.", last.at)]
    return [Step(Mark.NOW, "The run goes on.")]


def _channels(deliveries: "Sequence[Delivery]") -> Iterator[Step]:
    """What everybody but the run itself has been told."""
    others = [row for row in deliveries if row.channel != WORKFLOW and row.wanted]
    by_state: dict[str, list[Delivery]] = {}
    for row in others:
        by_state.setdefault(delivery_state(row), []).append(row)
    if told := by_state.get("told"):
        latest = max((row.delivered_at for row in told if row.delivered_at), default=None)
        yield Step(Mark.DONE, f"{_named(told)} {_verb(told, 'has', 'have')} been told.", latest)
    if owed := by_state.get("owed"):
        yield Step(Mark.NOW, f"{_named(owed)} {_verb(owed, 'is', 'are')} told next.")
    for state, words in (("failing", "could not be reached yet"), ("given_up", "was given up on")):
        for row in by_state.get(state, ()):
            yield Step(Mark.TROUBLE, f"{_named([row])} {words}.", row.gave_up_at)


def _handing_over(
    row: "ApprovalRequest", log: Log, deliveries: "Sequence[Delivery]"
) -> Iterator[Step]:
    """Whether whoever asked has the decision."""
    if not row.interrupt_id:
        agent = plain(row.agent_name)
        yield Step(
            Mark.NOW,
            f"{agent} asked by the API and reads the decision there."
            " What comes of it is not seen from here.",
        )
        return
    if (refused := _last(log.own, EventName.RESUME_REFUSED)) is not None:
        reason = plain(refused.data.get("reason") or "", keep="\n")
        yield Step(Mark.TROUBLE, "The workflow did not use the decision.", refused.at, reason)
        return
    delivery = next((found for found in deliveries if found.channel == WORKFLOW), None)
    began = _last(log.own, EventName.EXECUTION_STARTED)
    state = "" if delivery is None else delivery_state(delivery)
    if began is not None:
        yield Step(Mark.DONE, "The workflow has the decision.", began.at)
    elif delivery is None or not delivery.wanted:
        yield Step(Mark.NOW, "The workflow has not been told of the decision.")
    elif state == "told":
        yield Step(Mark.DONE, "The workflow has the decision.", delivery.delivered_at)
    elif state == "owed":
        yield Step(Mark.NOW, "The workflow is told of the decision.")
    else:
        fault = plain(quiet(row, delivery.last_error))
        yield Step(Mark.TROUBLE, "The workflow could not be told of the decision.", quote=fault)


def _not_begun(row: "ApprovalRequest", log: Log, now: datetime) -> Iterator[Step]:
    if not row.interrupt_id or row.decided_at is None:
        return
    if row.action is None:
        yield Step(Mark.NOW, "The workflow itself carries the operation out.")
        return
    limit = row.frozen_policy.execute_within_seconds
    ended = bool(log.run) and log.run[-1].name in {EventName.RUN_ENDED, EventName.RUN_CANCELLED}
    if ended:
        yield Step(Mark.NEVER, "The operation was not begun.")
    elif now > row.decided_at + timedelta(seconds=limit):
        late = f"The operation was not begun within {duration(limit)} of the approval."
        yield Step(Mark.TROUBLE, late)
    else:
        words = f"The operation has not begun yet. It must begin within {duration(limit)}."
        yield Step(Mark.NOW, words)


def _attention(log: Log) -> "AuditEntry | None":
    """The entry that stopped the run, unless it went on since."""
    last = log.run[-1] if log.run else None
    if last is None or last.name != EventName.RUN_NEEDS_ATTENTION:
        return None
    finished = _last(log.own, EventName.EXECUTION_FINISHED)
    return None if finished is not None and finished.at > last.at else last


def _last(entries: "Sequence[AuditEntry]", name: EventName) -> "AuditEntry | None":
    return next((entry for entry in reversed(entries) if entry.name == name), None)


def _named(rows: "Sequence[Delivery]") -> str:
    names = [CHANNELS.get(row.channel, plain(row.channel)) for row in rows]
    text = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
    return text[:1].upper() + text[1:]


def _verb(rows: "Sequence[Delivery]", one: str, many: str) -> str:
    return one if len(rows) == 1 else many
