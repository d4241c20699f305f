"""What people said by moving an issue, read from its history: votes, and moves to take back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from django.db import transaction

from approvals import actors, services
from approvals.core.events import Snapshot
from approvals.core.lifecycle import Choice, Status, Via
from approvals.errors import Refusal
from approvals.selectors.request import get_snapshot
from integrations.linear.client import Issue, Move, Person
from integrations.linear.config import LinearConfig
from integrations.markdown import plain

SOURCE = "linear_history"
NAME_LIMIT = 150


@dataclass(frozen=True)
class Heard:
    """What came of one move: where the request stands, the tally, or why it does not count."""

    move: Move
    status: Status
    tally: str = ""
    refusal: str = ""


@dataclass(frozen=True)
class Bounce:
    """A move that decided nothing, and the state to put the issue back into."""

    move: Move
    back_to: str


def moved_reason(state: str, name: str) -> str:
    """The reason that stands on a vote cast by a move."""
    return f"Moved to {plain(state, NAME_LIMIT)} by {plain(name, NAME_LIMIT)}"


def cast_unseen(
    request: Snapshot, issue: Issue, config: LinearConfig, viewer_id: str
) -> dict[str, Heard]:
    """Cast a vote for every human move that was not seen before; what came of each, by entry.

    Each history entry is applied at most once, ever, by whichever process reads it first.
    """
    heard: dict[str, Heard] = {}
    for move, choice in _votes(issue, config, viewer_id):
        outcome = _cast(request, move, choice)
        if outcome is None:
            continue
        heard[move.id] = outcome
        if outcome.status is not Status.PENDING:
            break
    return heard


def find_bounce(issue: Issue, config: LinearConfig, viewer_id: str) -> Bounce | None:
    """The move to take back, where a person left the issue in a state that reads as a decision.

    What an application or the gateway moved stays where it is.
    """
    if config.choice_for(issue.state) is None or not issue.moves:
        return None
    last = issue.moves[-1]
    if last.to_state != issue.state or not _by_person(last, viewer_id):
        return None
    neutral = (move.from_state for move in reversed(issue.moves))
    back_to = next((state for state in neutral if config.choice_for(state) is None), None)
    return Bounce(last, back_to) if back_to else None


def _votes(issue: Issue, config: LinearConfig, viewer_id: str) -> Iterator[tuple[Move, Choice]]:
    for move in issue.moves:
        choice = config.choice_for(move.to_state)
        if choice is not None and _by_person(move, viewer_id):
            yield move, choice


def _by_person(move: Move, viewer_id: str) -> bool:
    return move.actor is not None and not move.bot and move.actor.id != viewer_id


def _cast(request: Snapshot, move: Move, choice: Choice) -> Heard | None:
    """Cast the vote of one move, or None where the move was seen before."""
    key = f"history:{move.id}"
    with transaction.atomic():
        webhook_id = services.record_webhook(source=SOURCE, delivery_id=key, body=key.encode())
        if webhook_id is None:
            return None
        now = get_snapshot(request.id)
        if now.status is not Status.PENDING:
            # The webhook of this same move may have decided it: that is no refusal.
            heard, outcome, reason = Heard(move, now.status), "ignored", f"already {now.status}"
        else:
            heard = _vote(now, move, choice)
            outcome, reason = ("refused", heard.refusal) if heard.refusal else ("recorded", "")
        services.finish_webhook(webhook_id, outcome=outcome, reason=reason, request_id=request.id)
    return heard


def _vote(request: Snapshot, move: Move, choice: Choice) -> Heard:
    person = cast("Person", move.actor)  # `_votes` has left out every move without one
    actor = actors.linear_actor(person.id, plain(person.name, NAME_LIMIT), Via.LINEAR_MOVE)
    try:
        ballot = services.cast_vote(
            request.id,
            actor=actor,
            choice=choice,
            comment=moved_reason(move.to_state, person.name),
            detail={"linear_history": move.id},
        )
    except Refusal as refusal:
        return Heard(move, get_snapshot(request.id).status, refusal=str(refusal))
    return Heard(move, ballot.status, f"{ballot.approvals} of {ballot.quorum} approvals")
