"""What the control API and the pages show of Linear: plain facts, actors by their handle."""

import json
from typing import Any

from sandbox.linear import cast
from sandbox.linear.payloads import identifier, issue_url
from sandbox.linear.workspace import Workspace
from sandbox.store import Row, Store
from sandbox.webhooks import headers_of

Json = dict[str, Any]


def json_or_text(text: str) -> object:
    """Parsed where it is JSON, else as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _handle(actor_id: str | None) -> str:
    actor = cast.actor_of(actor_id)
    return actor.handle if actor else "nobody"


def issue_report(workspace: Workspace, row: Row) -> Json:
    """An issue with its comments, reactions and history, the oldest first, actors by handle."""
    store, issue_id = workspace.store, row["id"]

    def of(table: str) -> list[Row]:
        return store.rows(
            f"SELECT * FROM {table} WHERE issue_id = ? ORDER BY rowid",  # noqa: S608  # ours
            issue_id,
        )

    labels = [cast.LABEL_BY_ID[i].name for i in json.loads(row["label_ids"])]
    return {
        "id": issue_id,
        "identifier": identifier(row),
        "url": issue_url(workspace.public_url, row),
        "title": row["title"],
        "description": row["description"],
        "priority": row["priority"],
        "state": cast.STATE_BY_ID[row["state_id"]].name,
        "labels": labels,
        "project": cast.PROJECT.name if row["project_id"] else None,
        "creator": _handle(row["creator_id"]),
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "archived_at": row["archived_at"],
        "trashed": bool(row["trashed"]),
        "comments": [comment_report(store, comment) for comment in of("comments")],
        "reactions": [reaction_report(reaction) for reaction in of("reactions")],
        "history": [_history_report(entry) for entry in of("history")],
        "attachments": [
            {"id": a["id"], "url": a["url"], "title": a["title"], "subtitle": a["subtitle"]}
            for a in of("attachments")
        ],
    }


def _history_report(row: Row) -> Json:
    return {
        "at": row["created_at"],
        "actor": _handle(row["actor_id"]),
        "from": cast.STATE_BY_ID[row["from_state_id"]].name if row["from_state_id"] else None,
        "to": cast.STATE_BY_ID[row["to_state_id"]].name if row["to_state_id"] else None,
        "trashed": None if row["trashed"] is None else bool(row["trashed"]),
    }


def comment_report(store: Store, row: Row) -> Json:
    """A comment with the reactions to it."""
    reactions = store.rows("SELECT * FROM reactions WHERE comment_id = ?", row["id"])
    return {
        "id": row["id"],
        "at": row["created_at"],
        "edited_at": row["edited_at"],
        "author": _handle(row["author_id"]),
        "body": row["body"],
        "parent_id": row["parent_id"],
        "reactions": [reaction_report(reaction) for reaction in reactions],
    }


def reaction_report(row: Row) -> Json:
    """A reaction."""
    return {
        "id": row["id"],
        "at": row["created_at"],
        "author": _handle(row["author_id"]),
        "emoji": row["emoji"],
    }


def webhook_report(store: Store, row: Row) -> Json:
    """A webhook as it was sent and what each attempt was answered."""
    attempts = store.rows("SELECT * FROM attempts WHERE webhook_id = ? ORDER BY id", row["id"])
    return {
        "id": row["id"],
        "delivery": row["delivery"],
        "summary": _summary(json.loads(row["body"])),
        "event": row["event"],
        "action": row["action"],
        "issue_id": row["issue_id"],
        "state": row["state"],
        "created_at": row["created_at"],
        "signature": row["signature"],
        "headers": headers_of(row),
        "body": row["body"],
        "attempts": [
            {
                "at": attempt["created_at"],
                "url": attempt["url"],
                "status": attempt["status"],
                "answer": json_or_text(attempt["answer"]),
                "seconds": round(attempt["seconds"], 4),
            }
            for attempt in attempts
        ],
    }


def _summary(body: Json) -> str:
    """What a webhook tells, in a few words."""
    data, action = body["data"], body["action"]
    actor = cast.actor_of((body["actor"] or {}).get("id"))
    by = actor.name if actor else "Linear itself"
    match body["type"], action:
        case "Issue", "update" if "stateId" in body["updatedFrom"]:
            return f"{by} moved it to {data['state']['name']}"
        case "Issue", "update":
            return f"{by} changed it"
        case "Issue", "remove":
            return f"{by} moved it to the trash"
        case "Issue", _:
            return f"{by} created it"
        case "Comment", "create":
            return f"{by} commented"
        case "Comment", "update":
            return f"{by} edited a comment"
        case "Comment", _:
            return f"{by} removed a comment"
        case _:
            return f"{by} reacted with {data['emoji']}"
