"""An issue of Linear as the gateway reads it, and the reading of it out of an answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Person:
    """Somebody in Linear."""

    id: str
    name: str


@dataclass(frozen=True)
class Webhook:
    """A webhook of the workspace; `events` are the kinds of entities it tells of."""

    url: str
    enabled: bool
    events: frozenset[str]


@dataclass(frozen=True)
class Move:
    """One history entry that changed the state of an issue.

    `person` is None where an integration, an application or an automation moved it.
    """

    id: str
    at: datetime
    person: Person | None
    from_state: str
    to_state: str


@dataclass(frozen=True)
class Reaction:
    """One emoji, by shortcode, on an issue or a comment."""

    id: str
    at: datetime
    person: Person | None
    emoji: str


@dataclass(frozen=True)
class Comment:
    """One comment; `edited` tells that its text is not the one it was created with."""

    id: str
    at: datetime
    person: Person | None
    body: str
    edited: bool
    reactions: tuple[Reaction, ...]


@dataclass(frozen=True)
class Issue:
    """An issue as it is now; `moves` are all its changes of state, oldest first.

    Comments and reactions are there only where the issue was read with its discussion.
    """

    id: UUID
    identifier: str
    url: str
    team: str
    state: str
    withdrawn: bool
    moves: tuple[Move, ...]
    comments: tuple[Comment, ...] = ()
    reactions: tuple[Reaction, ...] = ()


def parse_issue(node: Node, history: list[Node], comments: list[Node]) -> Issue:
    """The issue of a node, with the whole of its history and comments."""
    moves = (_move(entry) for entry in history if entry["fromState"] and entry["toState"])
    return Issue(
        id=UUID(node["id"]),
        identifier=node["identifier"],
        url=node["url"],
        team=node["team"]["key"],
        state=node["state"]["name"],
        withdrawn=bool(node["trashed"] or node["archivedAt"]),
        moves=tuple(sorted(moves, key=lambda move: move.at)),
        comments=tuple(_comment(comment) for comment in comments),
        reactions=tuple(_reaction(reaction) for reaction in node.get("reactions", ())),
    )


def _move(entry: Node) -> Move:
    # Where an application moved it for somebody, both are named: nobody decided.
    actor = None if entry["botActor"] else entry["actor"]
    return Move(
        id=entry["id"],
        at=_moment(entry),
        person=_person(actor),
        from_state=entry["fromState"]["name"],
        to_state=entry["toState"]["name"],
    )


def _comment(node: Node) -> Comment:
    return Comment(
        id=node["id"],
        at=_moment(node),
        person=_person(None if node["botActor"] else node["user"]),
        body=node["body"],
        edited=node["editedAt"] is not None,
        reactions=tuple(_reaction(reaction) for reaction in node["reactions"]),
    )


def _reaction(node: Node) -> Reaction:
    return Reaction(node["id"], _moment(node), _person(node["user"]), node["emoji"])


def _person(node: Node | None) -> Person | None:
    return Person(node["id"], node["name"]) if node else None


def _moment(node: Node) -> datetime:
    return datetime.fromisoformat(node["createdAt"])
