"""What people said on an issue, read from the issue itself: votes, and moves to take back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from approvals import actors, services
from approvals.core.events import Hearing, Snapshot
from approvals.core.lifecycle import Status
from approvals.errors import Refusal
from approvals.selectors.request import get_snapshot
from integrations.linear.config import LinearConfig
from integrations.linear.issue import Issue, Move, Person
from integrations.linear.words import NAME_LIMIT, Word, comment_word, move_word, reaction_word
from integrations.markdown import plain

SOURCE = "linear_history"


@dataclass(frozen=True)
class Heard:
    """What came of one word: where the request stands, the tally, or why it does not count.

    `fault` tells that no vote was tried, so that no event will speak of it.
    """

    person: Person
    status: Status
    tally: str = ""
    refusal: str = ""
    fault: bool = False


@dataclass(frozen=True)
class Bounce:
    """A move that decided nothing, and the state to put the issue back into."""

    move: Move
    back_to: str


def first_time(key: str) -> int | None:
    """Claim a move, comment or reaction by its key, at most once ever; None where it is taken.

    Call it in the transaction that casts the vote.
    """
    return services.record_webhook(source=SOURCE, delivery_id=key, body=key.encode())


def cast_unseen(
    request: Snapshot, issue: Issue, config: LinearConfig, viewer_id: str
) -> dict[str, Heard]:
    """Cast a vote for every word of a person that was not heard before; what came of each, by key.

    Stops at the word that decides. Harmless when two processes read the same issue at once.
    """
    heard: dict[str, Heard] = {}
    for _, person, word in sorted(_words(issue, config, viewer_id), key=lambda said: said[0]):
        outcome = _cast(request, person, word)
        if outcome is None:
            continue
        heard[word.key] = outcome
        if outcome.status is not Status.PENDING:
            break
    return heard


def find_bounce(
    status: Status, issue: Issue, config: LinearConfig, viewer_id: str
) -> Bounce | None:
    """The move to take back, where a person left the issue in a state that tells a wrong decision.

    What an application or the gateway moved stays where it is.
    """
    if config.choice_for(issue.state) is None or not issue.moves:
        return None
    last = issue.moves[-1]
    if last.to_state != issue.state or last.person is None or last.person.id == viewer_id:
        return None
    if status is not Status.PENDING:
        agrees = config.shows(status, issue.state)
        return None if agrees else Bounce(last, config.outcome_state(status))
    neutral = (move.from_state for move in reversed(issue.moves))
    back_to = next((state for state in neutral if config.choice_for(state) is None), None)
    return Bounce(last, back_to) if back_to else None


def _words(
    issue: Issue, config: LinearConfig, viewer_id: str
) -> Iterator[tuple[datetime, Person, Word]]:
    """Every word on the issue, by whom and when, but those of the gateway itself.

    Of one person's moves only the last one speaks: who moved on took the earlier one back.
    """
    thumbs = list(issue.reactions)
    said: list[tuple[datetime, Person | None, Word | None]] = []
    last_moves = {move.person.id: move for move in issue.moves if move.person}
    for move in last_moves.values():
        name = move.person.name if move.person else ""
        said.append((move.at, move.person, move_word(config, move.to_state, name, move.id)))
    for comment in issue.comments:
        # The text of an edited comment may say what its author never sent.
        word = None if comment.edited else comment_word(comment.id, comment.body)
        said.append((comment.at, comment.person, word))
        if comment.person and comment.person.id == viewer_id:
            thumbs.extend(comment.reactions)
    said.extend((thumb.at, thumb.person, reaction_word(thumb.id, thumb.emoji)) for thumb in thumbs)
    for at, person, word in said:
        if word is not None and person is not None and person.id != viewer_id:
            yield at, person, word


def _cast(request: Snapshot, person: Person, word: Word) -> Heard | None:
    """Cast the vote of one word, or None where it was heard before."""
    with transaction.atomic():
        webhook_id = first_time(word.key)
        if webhook_id is None:
            return None
        now = get_snapshot(request.id)
        if now.status is not Status.PENDING:
            # The webhook of this same word may have decided it: that is no refusal.
            heard, outcome = Heard(person, now.status), Hearing.IGNORED
        elif word.fault:
            heard = Heard(person, now.status, refusal=word.fault, fault=True)
            outcome = Hearing.REFUSED
        else:
            heard = _vote(request, person, word)
            outcome = Hearing.REFUSED if heard.refusal else Hearing.RECORDED
        services.finish_webhook(
            webhook_id,
            outcome=outcome,
            reason=heard.refusal or heard.tally or f"already {heard.status}",
            request_id=request.id,
        )
    return heard


def _vote(request: Snapshot, person: Person, word: Word) -> Heard:
    actor = actors.linear_actor(person.id, plain(person.name, NAME_LIMIT), word.via)
    try:
        ballot = services.cast_vote(
            request.id,
            actor=actor,
            choice=word.choice,
            comment=word.comment,
            detail={"linear": word.key},
        )
    except Refusal as refusal:
        return Heard(person, get_snapshot(request.id).status, refusal=str(refusal))
    return Heard(person, ballot.status, f"{ballot.approvals} of {ballot.quorum} approvals")
