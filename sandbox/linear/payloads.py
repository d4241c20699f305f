"""The bodies of Linear's webhooks, field for field as the real ones."""

import json
import time
from collections.abc import Mapping
from typing import Any

from sandbox.linear import cast
from sandbox.store import Row, Store, dump_json, utc_now

Json = dict[str, Any]


def issue_url(public_url: str, issue: Row) -> str:
    """Where people open the issue; like Linear's it ends in a slug of the title."""
    words = "".join(c if c.isalnum() and c.isascii() else "-" for c in issue["title"].lower())
    slug = "-".join(word for word in words.split("-") if word)[:60].strip("-")
    return f"{public_url}/linear/issue/{identifier(issue)}" + (f"/{slug}" if slug else "")


def comment_url(public_url: str, issue: Row, comment_id: str) -> str:
    """Where people find the comment on its issue's page."""
    return f"{issue_url(public_url, issue)}#comment-{comment_id[:8]}"


def person_url(public_url: str, person: cast.Person) -> str:
    """The person's profile."""
    return f"{public_url}/linear/profiles/{person.handle}"


def identifier(issue: Row) -> str:
    """The name people use for an issue, such as CHEF-7."""
    return f"{cast.TEAM.key}-{issue['number']}"


class Payloads:
    """Builds webhook bodies from rows."""

    def __init__(self, store: Store, public_url: str) -> None:
        self._store = store
        self._public_url = public_url

    def issue(self, issue: Row, action: str, actor: cast.Actor, updated_from: Json | None) -> Json:
        """The body of an Issue event; `updated_from` holds the old values of what changed."""
        state = cast.STATE_BY_ID[issue["state_id"]]
        labels = [cast.LABEL_BY_ID[i] for i in json.loads(issue["label_ids"])]
        url = issue_url(self._public_url, issue)
        data: Json = {
            "id": issue["id"],
            "createdAt": issue["created_at"],
            "updatedAt": issue["updated_at"],
            "number": issue["number"],
            "title": issue["title"],
            "description": issue["description"],
            "priority": issue["priority"],
            "priorityLabel": cast.PRIORITIES[issue["priority"]],
            "prioritySortOrder": -float(issue["number"]),
            "sortOrder": issue["sort_order"],
            "identifier": identifier(issue),
            "url": url,
            "previousIdentifiers": [],
            "reactionData": self._reaction_data("issue_id", issue["id"]),
            "labelIds": [label.id for label in labels],
            "labels": [
                {"id": label.id, "color": label.color, "name": label.name, "parentId": None}
                for label in labels
            ],
            "subscriberIds": [issue["creator_id"]] if issue["creator_id"] else [],
            "creatorId": issue["creator_id"],
            "stateId": state.id,
            "state": {
                "id": state.id, "color": state.color, "name": state.name, "type": state.type,
            },
            "teamId": cast.TEAM.id,
            "team": self._team(),
            "addedToTeamAt": issue["created_at"],
            "slaType": "all",
        }  # fmt: skip
        # Linear leaves out what was never set, but does name a missing description.
        for column, field in (
            ("started_at", "startedAt"),
            ("completed_at", "completedAt"),
            ("canceled_at", "canceledAt"),
            ("archived_at", "archivedAt"),
        ):
            if issue[column]:
                data[field] = issue[column]
        if issue["trashed"]:
            data["trashed"] = True
        if issue["project_id"]:
            data["projectId"] = issue["project_id"]
            data["project"] = {
                "id": cast.PROJECT.id,
                "name": cast.PROJECT.name,
                "url": f"{self._public_url}/linear",
            }
        return self._envelope("Issue", action, actor, data, url, updated_from)

    def comment(
        self, comment: Row, issue: Row, action: str, actor: cast.Actor, updated_from: Json | None
    ) -> Json:
        """The body of a Comment event."""
        data: Json = {
            "id": comment["id"],
            "createdAt": comment["created_at"],
            "updatedAt": comment["updated_at"],
            "archivedAt": None,
            "body": comment["body"],
            "issueId": issue["id"],
            "parentId": comment["parent_id"],
            **self._author(comment["author_id"]),
            "reactionData": self._reaction_data("comment_id", comment["id"]),
            "issue": self._issue_child(issue),
        }
        if comment["edited_at"]:
            data["editedAt"] = comment["edited_at"]
        url = comment_url(self._public_url, issue, comment["id"])
        return self._envelope("Comment", action, actor, data, url, updated_from)

    def reaction(
        self, reaction: Row, issue: Row, comment: Row | None, action: str, actor: cast.Actor
    ) -> Json:
        """The body of a Reaction event, on an issue or on one of its comments."""
        data: Json = {
            "id": reaction["id"],
            "createdAt": reaction["created_at"],
            "updatedAt": reaction["created_at"],
            "archivedAt": None,
            "emoji": reaction["emoji"],
            **self._author(reaction["author_id"], named_bot=False),
            "commentId": reaction["comment_id"],
            "issueId": reaction["issue_id"],
        }
        url = issue_url(self._public_url, issue)
        if comment is None:
            data["issue"] = self._issue_child(issue)
        else:
            url = comment_url(self._public_url, issue, comment["id"])
            data["comment"] = {
                "id": comment["id"],
                "body": comment["body"],
                "issueId": comment["issue_id"],
                "userId": comment["author_id"] if _is_person(comment["author_id"]) else None,
            }
        return self._envelope("Reaction", action, actor, data, url, None)

    def _envelope(
        self,
        event: str,
        action: str,
        actor: cast.Actor,
        data: Json,
        url: str,
        updated_from: Json | None,
    ) -> Json:
        body: Json = {
            "action": action,
            "actor": self._actor(actor),
            "createdAt": utc_now(),
            "data": data,
            "url": url,
            "type": event,
            "organizationId": cast.ORGANIZATION_ID,
            "webhookTimestamp": time.time_ns() // 1_000_000,
            "webhookId": cast.WEBHOOK_ID,
        }
        if updated_from is not None:
            body["updatedFrom"] = updated_from
        return body

    def _actor(self, actor: cast.Actor) -> Json | None:
        match actor:
            case cast.Person():
                return {
                    "id": actor.id,
                    "type": "user",
                    "name": actor.name,
                    "email": actor.email,
                    "url": person_url(self._public_url, actor),
                }
            case cast.Bot(webhook_type="Integration"):
                return {"id": actor.id, "type": actor.webhook_type, "service": actor.type}
            case cast.Bot():
                return {"id": actor.id, "type": actor.webhook_type, "name": actor.name}
            case None:
                return None

    def _author(self, author_id: str | None, *, named_bot: bool = True) -> Json:
        author = cast.actor_of(author_id)
        if isinstance(author, cast.Person):
            return {
                "userId": author.id,
                "user": {
                    "id": author.id,
                    "name": author.name,
                    "email": author.email,
                    "url": person_url(self._public_url, author),
                    "avatarUrl": None,
                },
            }
        if isinstance(author, cast.Bot) and named_bot:
            bot = {"id": author.id, "type": author.type, "name": author.name}
            return {"userId": None, "botActor": dump_json(bot)}
        return {"userId": None}

    def _issue_child(self, issue: Row) -> Json:
        return {
            "id": issue["id"],
            "identifier": identifier(issue),
            "team": self._team(),
            "teamId": cast.TEAM.id,
            "title": issue["title"],
            "url": issue_url(self._public_url, issue),
        }

    def _team(self) -> Mapping[str, str]:
        return {"id": cast.TEAM.id, "key": cast.TEAM.key, "name": cast.TEAM.name}

    def _reaction_data(self, column: str, subject_id: str) -> list[Json]:
        return reaction_data(self._store, column, subject_id)


def reaction_data(store: Store, column: str, subject_id: str) -> list[Json]:
    """Reactions grouped by emoji; `column` is `issue_id` or `comment_id`."""
    grouped: dict[str, list[Json]] = {}
    for row in store.rows(
        f"SELECT * FROM reactions WHERE {column} = ? ORDER BY created_at",  # noqa: S608  # ours
        subject_id,
    ):
        entry = {"id": row["id"], "userId": row["author_id"], "reactedAt": row["created_at"]}
        grouped.setdefault(row["emoji"], []).append(entry)
    return [{"emoji": emoji, "reactions": entries} for emoji, entries in grouped.items()]


def _is_person(actor_id: str | None) -> bool:
    return actor_id in cast.PERSON_BY_ID
