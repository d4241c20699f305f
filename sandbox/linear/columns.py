"""The columns of an issue: what may be in them, and what a change of them entails."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sandbox.linear import cast
from sandbox.linear.errors import InputError, not_found
from sandbox.store import Row, dump_json

STAMP_OF_TYPE = {"started": "started_at", "completed": "completed_at", "canceled": "canceled_at"}
FIELD_OF_COLUMN = {
    "title": "title",
    "description": "description",
    "priority": "priority",
    "state_id": "stateId",
    "label_ids": "labelIds",
    "project_id": "projectId",
    "sort_order": "sortOrder",
    "updated_at": "updatedAt",
    "started_at": "startedAt",
    "completed_at": "completedAt",
    "canceled_at": "canceledAt",
    "archived_at": "archivedAt",
    "trashed": "trashed",
}


def uuid4_of(text: str) -> str:
    """The id in lower case. Raises InputError unless it is a UUID of version 4."""
    try:
        parsed = UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != 4 or str(parsed) != text.lower():
        raise InputError("Argument Validation Error", "id must be a UUID of version 4.")
    return text.lower()


def checked_columns(values: dict[str, Any]) -> dict[str, Any]:
    """Check the parts of an issue that refer to something else; other values pass through."""
    columns = {name: value for name, value in values.items() if name in FIELD_OF_COLUMN}
    if "state_id" in columns and columns["state_id"] not in cast.STATE_BY_ID:
        raise not_found("WorkflowState")
    if columns.get("project_id") not in (None, cast.PROJECT.id):
        raise not_found("Project")
    if "priority" in columns and columns["priority"] not in range(len(cast.PRIORITIES)):
        raise InputError("Argument Validation Error", "priority must be from 0 to 4.")
    if "label_ids" in columns:
        labels: Sequence[str] = columns["label_ids"]
        if not all(label in cast.LABEL_BY_ID for label in labels):
            raise not_found("IssueLabel")
        columns["label_ids"] = dump_json(list(dict.fromkeys(labels)))
    return columns


def stamps(state: cast.State, now: str, before: Row | None = None) -> dict[str, Any]:
    """When the issue entered its kind of state; a completed issue keeps when it was started."""
    stamps: dict[str, Any] = {"completed_at": None, "canceled_at": None}
    if state.type in {"backlog", "unstarted"}:
        stamps["started_at"] = None
    column = STAMP_OF_TYPE.get(state.type)
    if column is not None:
        stamps[column] = (before[column] if before is not None else None) or now
    return stamps


def updated_from(before: Row, after: Row) -> dict[str, Any]:
    """The old values of what changed, named as in a webhook."""
    old: dict[str, Any] = {}
    for column, field in FIELD_OF_COLUMN.items():
        if before[column] != after[column]:
            value = before[column]
            old[field] = json.loads(value) if column == "label_ids" else value
            if column == "trashed":
                old[field] = bool(value)
    return old
