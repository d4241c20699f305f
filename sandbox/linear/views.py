"""Entities as GraphQL sees them: dictionaries of fields, connections as functions."""

import json
from collections.abc import Callable
from typing import Any

from sandbox.linear import cast
from sandbox.linear.filters import connection
from sandbox.linear.payloads import (
    comment_url,
    identifier,
    issue_url,
    person_url,
    reaction_data,
)
from sandbox.linear.workspace import Workspace
from sandbox.store import Row

Json = dict[str, Any]
EVENTS = ["Issue", "Comment", "Reaction"]


def pages_of(entities: Callable[[], list[Json]]) -> Callable[..., Json]:
    """A resolver that answers pages of the entities, read when they are asked for."""
    return lambda _info, **arguments: connection(entities(), arguments)


def _since(**fields: object) -> Json:
    return {"createdAt": cast.SINCE, "updatedAt": cast.SINCE, **fields}


class Views:
    """Turns rows and the cast into what a query may select from, as `me` sees them."""

    def __init__(self, workspace: Workspace, me: cast.Person) -> None:
        self._workspace = workspace
        self._store = workspace.store
        self._me = me
        self._team = _since(
            id=cast.TEAM.id,
            key=cast.TEAM.key,
            name=cast.TEAM.name,
            displayName=cast.TEAM.name,
            states=pages_of(self.states),
            labels=pages_of(list),
        )
        self._states = {state.id: self._state(state) for state in cast.STATES}

    def organization(self) -> Json:
        """The workspace itself."""
        return {"id": cast.ORGANIZATION_ID, "name": "Sandbox", "urlKey": "sandbox"}

    def teams(self) -> list[Json]:
        """The one team."""
        return [self._team]

    def users(self) -> list[Json]:
        """Everybody."""
        return [self._user(person) for person in cast.PEOPLE]

    def viewer(self) -> Json:
        """The owner of the API key."""
        return self._user(self._me)

    def states(self) -> list[Json]:
        """The team's workflow states."""
        return list(self._states.values())

    def labels(self) -> list[Json]:
        """The labels of the whole workspace; they belong to no team."""
        return [self._label(label) for label in cast.LABELS]

    def projects(self) -> list[Json]:
        """The one that issues belong to, and two others."""
        return [self._project(project) for project in (cast.PROJECT, *cast.TWINS)]

    def webhooks(self) -> list[Json]:
        """The one webhook, as Linear's settings would list it."""
        return [_since(
            id=cast.WEBHOOK_ID, enabled=True, label="Approval gateway", resourceTypes=EVENTS,
            url=self._workspace.webhook_url, team=self._team,
        )]  # fmt: skip

    def issue(self, row: Row) -> Json:
        """One issue."""
        issue_id = row["id"]
        labels = [cast.LABEL_BY_ID[i] for i in json.loads(row["label_ids"])]
        creator = cast.PERSON_BY_ID.get(row["creator_id"])
        return {
            "id": issue_id,
            "identifier": identifier(row),
            "number": float(row["number"]),
            "previousIdentifiers": [],
            "title": row["title"],
            "description": row["description"],
            "priority": float(row["priority"]),
            "priorityLabel": cast.PRIORITIES[row["priority"]],
            "sortOrder": row["sort_order"],
            "url": issue_url(self._workspace.public_url, row),
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "startedAt": row["started_at"],
            "completedAt": row["completed_at"],
            "canceledAt": row["canceled_at"],
            "archivedAt": row["archived_at"],
            "trashed": bool(row["trashed"]) or None,
            "team": self._team,
            "state": self._states[row["state_id"]],
            "creator": self._user(creator) if creator else None,
            "project": self._project(cast.PROJECT) if row["project_id"] else None,
            "labelIds": [label.id for label in labels],
            "labels": pages_of(lambda: [self._label(label) for label in labels]),
            "reactionData": lambda _: reaction_data(self._store, "issue_id", issue_id),
            "reactions": lambda _: self._reactions("issue_id", issue_id),
            "comments": pages_of(lambda: self._of(issue_id, "comments", self.comment)),
            "history": pages_of(lambda: self._of(issue_id, "history", self._history)),
            "attachments": pages_of(lambda: self._of(issue_id, "attachments", self.attachment)),
        }

    def comment(self, row: Row) -> Json:
        """One comment."""
        comment_id, parent_id = row["id"], row["parent_id"]
        issue = self._workspace.find_issue(row["issue_id"])
        return {
            "id": comment_id,
            "body": row["body"],
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "editedAt": row["edited_at"],
            "issueId": row["issue_id"],
            "issue": self.issue(issue),
            "parentId": parent_id,
            "parent": lambda _: (
                self.comment(self._workspace.find_comment(parent_id)) if parent_id else None
            ),
            "url": comment_url(self._workspace.public_url, issue, comment_id),
            "reactionData": lambda _: reaction_data(self._store, "comment_id", comment_id),
            "reactions": lambda _: self._reactions("comment_id", comment_id),
            **self._actor(row["author_id"], "user"),
        }

    def reaction(self, row: Row) -> Json:
        """One reaction."""
        issue_id, comment_id = row["issue_id"], row["comment_id"]
        person = cast.PERSON_BY_ID.get(row["author_id"])
        return {
            "id": row["id"],
            "emoji": row["emoji"],
            "createdAt": row["created_at"],
            "updatedAt": row["created_at"],
            "user": self._user(person) if person else None,
            "issue": lambda _: (
                self.issue(self._workspace.find_issue(issue_id)) if issue_id else None
            ),
            "comment": lambda _: (
                self.comment(self._workspace.find_comment(comment_id)) if comment_id else None
            ),
        }

    def attachment(self, row: Row) -> Json:
        """One attachment."""
        creator = cast.PERSON_BY_ID.get(row["creator_id"])
        return {
            "id": row["id"],
            "title": row["title"],
            "subtitle": row["subtitle"],
            "url": row["url"],
            "metadata": json.loads(row["metadata"]),
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "creator": self._user(creator) if creator else None,
            "issue": lambda _: self.issue(self._workspace.find_issue(row["issue_id"])),
        }

    def _history(self, row: Row) -> Json:
        issue_id = row["issue_id"]
        person = cast.PERSON_BY_ID.get(row["actor_id"])
        return {
            "id": row["id"],
            "createdAt": row["created_at"],
            "updatedAt": row["created_at"],
            "actorId": person.id if person else None,
            "fromStateId": row["from_state_id"],
            "fromState": self._states.get(row["from_state_id"]),
            "toStateId": row["to_state_id"],
            "toState": self._states.get(row["to_state_id"]),
            "archived": None if row["archived"] is None else bool(row["archived"]),
            "trashed": None if row["trashed"] is None else bool(row["trashed"]),
            "issue": lambda _: self.issue(self._workspace.find_issue(issue_id)),
            **self._actor(row["actor_id"], "actor"),
        }

    def _of(self, issue_id: str, table: str, view: Callable[[Row], Json]) -> list[Json]:
        return [
            view(row)
            for row in self._store.rows(
                f"SELECT * FROM {table} WHERE issue_id = ? ORDER BY rowid DESC",  # noqa: S608
                issue_id,
            )
        ]

    def _reactions(self, column: str, subject_id: str) -> list[Json]:
        rows = self._store.rows(
            f"SELECT * FROM reactions WHERE {column} = ? ORDER BY rowid",  # noqa: S608  # ours
            subject_id,
        )
        return [self.reaction(row) for row in rows]

    def _actor(self, actor_id: str | None, field: str) -> Json:
        actor = cast.actor_of(actor_id)
        bot = None
        if isinstance(actor, cast.Bot):
            bot = {
                "id": actor.id, "name": actor.name, "type": actor.type,
                "subType": None, "userDisplayName": None,
            }  # fmt: skip
        return {
            field: self._user(actor) if isinstance(actor, cast.Person) else None,
            "botActor": bot,
        }

    def _user(self, person: cast.Person) -> Json:
        return _since(
            id=person.id,
            name=person.name,
            displayName=person.handle,
            email=person.email,
            url=person_url(self._workspace.public_url, person),
            avatarUrl=None,
            active=True,
            admin=False,
            app=False,
            isMe=person == self._me,
        )

    def _state(self, state: cast.State) -> Json:
        return _since(
            id=state.id,
            name=state.name,
            type=state.type,
            color=state.color,
            position=float(cast.STATES.index(state)),
            team=self._team,
        )

    def _label(self, label: cast.Label) -> Json:
        return _since(id=label.id, name=label.name, color=label.color, isGroup=False, team=None)

    def _project(self, project: cast.Project) -> Json:
        return _since(
            id=project.id,
            name=project.name,
            slugId=project.slug,
            url=f"{self._workspace.public_url}/linear",
        )
