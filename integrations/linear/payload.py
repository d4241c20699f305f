"""What one webhook body of Linear says, before anybody asks whether it may."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from approvals.core.intake import UNSTORABLE
from integrations.linear.config import LinearConfig
from integrations.linear.words import NAME_LIMIT, Word, comment_word, move_word, reaction_word
from integrations.markdown import plain

MAX_ID = 100
# Only a body that spells such a character is worth walking through.
_SUSPICIOUS = re.compile(rb"\\u(0000|[dD][89a-fA-F])")


class Silent(Exception):
    """The body decides nothing, maybe since nobody can read it; the sentence tells why."""


@dataclass(frozen=True)
class Message:
    """One webhook: which issue, who, when, and the choice in it, or why there is none.

    `references` are the issue's UUID and identifier, as far as given. `person_id` is empty where
    no person of the workspace acted. `sent_at` is in epoch seconds, None where it is missing.
    `changed_at` is when an issue was changed, as the message tells it. `reacted_to` is the author
    of the comment that a reaction stands on, None for other words.
    """

    references: tuple[str, ...]
    person_id: str
    person_name: str
    sent_at: float | None
    word: Word | None
    silence: str = ""
    changed_at: datetime | None = None
    reacted_to: str | None = None


def read_message(body: bytes, config: LinearConfig) -> Message:
    """The body as a message; one that is silent, and about no issue, where it cannot be read."""
    try:
        event = _parse(body)
    except Silent as said:
        return Message((), "", "", None, None, silence=str(said))
    data = _mapping(event, "data")
    person_id, name = _person(event)
    word, silence = None, ""
    try:
        word = _word(event, data, config, name)
    except Silent as said:
        silence = str(said)
    if word and word.key and _text(data, "userId") != person_id:
        word, silence = None, "whoever wrote it is not who acted"
    comment = _mapping(data, "comment")
    about_comment = _text(event, "type") == "Reaction" and (comment or data.get("commentId"))
    return Message(
        references=_references(_text(event, "type"), data),
        person_id=person_id,
        person_name=name,
        sent_at=_seconds(event.get("webhookTimestamp")),
        word=word,
        silence=silence,
        changed_at=_moment(data.get("updatedAt")) if _text(event, "type") == "Issue" else None,
        reacted_to=_text(comment, "userId") if about_comment else None,
    )


def _references(kind: str, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The UUID and the identifier of the issue that an entity is or belongs to."""
    comment, issue = _mapping(data, "comment"), _mapping(data, "issue")
    if kind == "Issue":
        given = (_text(data, "id"), _text(data, "identifier"))
    elif kind in {"Comment", "Reaction"}:
        issue_id = _text(data, "issueId") or _text(comment, "issueId") or _text(issue, "id")
        given = (issue_id, _text(issue, "identifier"))
    else:
        given = ("", "")
    return tuple(filter(None, given))


def _word(
    event: Mapping[str, Any], data: Mapping[str, Any], config: LinearConfig, name: str
) -> Word:
    kind, action = _text(event, "type"), _text(event, "action")
    if kind == "Issue":
        return _move(event, data, config, name)
    if kind not in {"Comment", "Reaction"}:
        raise Silent("only issues, comments and reactions decide anything")
    if action != "create" or data.get("editedAt"):
        raise Silent(f"only a new {kind.lower()} can decide")
    if data.get("botActor") or data.get("externalUserId"):
        raise Silent(f"the {kind.lower()} is not by a person of the workspace")
    word = (
        comment_word(_text(data, "id"), _text(data, "body"))
        if kind == "Comment"
        else reaction_word(_text(data, "id"), _text(data, "emoji"))
    )
    if word is None:
        raise Silent(f"this {kind.lower()} says neither yes nor no")
    return word


def _move(
    event: Mapping[str, Any], data: Mapping[str, Any], config: LinearConfig, name: str
) -> Word:
    action, before = _text(event, "action"), _mapping(event, "updatedFrom")
    if action == "remove" or data.get("trashed") or data.get("archivedAt"):
        raise Silent("the issue was put away, which decides nothing")
    if action != "update" or before.get("stateId", data.get("stateId")) == data.get("stateId"):
        raise Silent("the state of the issue did not change")
    state = _text(_mapping(data, "state"), "name")
    word = move_word(config, state, name)
    if word is None:
        raise Silent(f"the state {plain(state, 60)} decides nothing")
    return word


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        event = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Silent("the body is not JSON") from error
    if not isinstance(event, dict):
        raise Silent("the body is not a JSON object")
    if _SUSPICIOUS.search(body) and _unstorable(event):
        raise Silent("the body contains a NUL or a lone surrogate")
    return event


def _unstorable(event: Mapping[str, Any]) -> bool:
    """Whether any text in it, keys too, could not be stored; walks without recursion."""
    waiting: list[Any] = [event]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if UNSTORABLE.search(value):
                return True
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return False


def _person(event: Mapping[str, Any]) -> tuple[str, str]:
    """The person of the workspace who acted; apps, integrations and nobody have no id."""
    actor = _mapping(event, "actor")
    person_id = _text(actor, "id")
    if _text(actor, "type") != "user" or len(person_id) > MAX_ID:
        return "", ""
    return person_id, plain(_text(actor, "name"), NAME_LIMIT) or "somebody"


def _seconds(milliseconds: object) -> float | None:
    """Epoch seconds, or None for what is no moment, such as a NaN or a number of 400 digits."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        return None
    return milliseconds / 1000 if abs(milliseconds) < 1e15 else None


def _moment(value: object) -> datetime | None:
    """The moment of an ISO text with its zone, or None for anything else."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment and moment.tzinfo else None


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
