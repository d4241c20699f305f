"""The queries and mutations themselves: the root of the stand-in's schema."""

from collections.abc import Callable, Mapping
from typing import Any

from sandbox.linear import cast
from sandbox.linear.errors import InputError, not_found
from sandbox.linear.filters import connection
from sandbox.linear.views import Views, pages_of
from sandbox.linear.workspace import Workspace
from sandbox.store import Row, cleaned, utc_now

Json = dict[str, Any]

COLUMN_OF_FIELD = {
    "id": "id",
    "title": "title",
    "description": "description",
    "priority": "priority",
    "stateId": "state_id",
    "labelIds": "label_ids",
    "projectId": "project_id",
}
# Null means "not given" for these; for the others it takes the value away.
NEVER_NULL = frozenset({"id", "title", "priority", "stateId", "labelIds"})


def root_of(workspace: Workspace, me: cast.Person) -> Json:
    """The resolvers of every query and mutation, for requests made as `me`."""
    views = Views(workspace, me)
    mutations = _Mutations(workspace, views, me)
    return _queries(workspace, views) | {
        "attachmentCreate": mutations.attachment_create,
        "commentCreate": mutations.comment_create,
        "commentDelete": mutations.comment_delete,
        "commentUpdate": mutations.comment_update,
        "issueArchive": mutations.issue_archive,
        "issueCreate": mutations.issue_create,
        "issueDelete": mutations.issue_delete,
        "issueUpdate": mutations.issue_update,
        "reactionCreate": mutations.reaction_create,
    }


def _queries(workspace: Workspace, views: Views) -> Json:
    def issues(_info: object, **arguments: Any) -> Json:
        rows = _candidates(workspace, arguments.get("filter") or {})
        return connection([views.issue(row) for row in rows], arguments)

    def comments() -> list[Json]:
        rows = workspace.store.rows("SELECT * FROM comments ORDER BY rowid DESC")
        return [views.comment(row) for row in rows]

    def comment(_info: object, **arguments: Any) -> Json:
        if arguments.get("id") is None:
            raise InputError("Argument Validation Error", "Give the comment's id.")
        return views.comment(workspace.find_comment(arguments["id"]))

    def issue(_info: object, **arguments: Any) -> Json:
        return views.issue(workspace.find_issue(arguments["id"]))

    return {
        "viewer": lambda _: views.viewer(),
        "organization": lambda _: views.organization(),
        "issue": issue,
        "issues": issues,
        "comment": comment,
        "comments": pages_of(comments),
        "team": _one_of(views.teams, "Team"),
        "teams": pages_of(views.teams),
        "user": _one_of(views.users, "User"),
        "users": pages_of(views.users),
        "workflowState": _one_of(views.states, "WorkflowState"),
        "workflowStates": pages_of(views.states),
        "issueLabels": pages_of(views.labels),
        "projects": pages_of(views.projects),
        "webhooks": pages_of(views.webhooks),
    }


class _Mutations:
    """Mutations made as one person; the arguments are named as in the schema."""

    def __init__(self, workspace: Workspace, views: Views, me: cast.Person) -> None:
        self._workspace = workspace
        self._views = views
        self._me = me

    def issue_create(self, _info: object, **given: Any) -> Json:
        values = cleaned(given["input"])
        if values["teamId"] != cast.TEAM.id:
            raise not_found("Team")
        row = self._workspace.create_issue(self._me, _columns(values))
        return self._done(issue=self._views.issue(row))

    def issue_update(self, _info: object, **given: Any) -> Json:
        values = cleaned(given["input"])
        before = self._views.issue(self._workspace.find_issue(given["id"]))
        columns = _columns(values) | _label_changes(before["labelIds"], values)
        if "trashed" in values:
            trashed = bool(values["trashed"])
            columns["trashed"] = int(trashed)
            columns["archived_at"] = (before["archivedAt"] or utc_now()) if trashed else None
        row = self._workspace.update_issue(self._me, given["id"], columns)
        return self._done(issue=self._views.issue(row))

    def issue_archive(self, _info: object, **given: Any) -> Json:
        return self._archived(given["id"], trash=bool(given.get("trash")))

    def issue_delete(self, _info: object, **given: Any) -> Json:
        return self._archived(given["id"], trash=True)

    def comment_create(self, _info: object, **given: Any) -> Json:
        values = cleaned(given["input"])
        if not values.get("issueId"):
            raise InputError("Argument Validation Error", "The sandbox comments on issues only.")
        row = self._workspace.create_comment(
            self._me, values["issueId"], values.get("body") or "",
            comment_id=values.get("id"), parent_id=values.get("parentId"),
        )  # fmt: skip
        return self._done(comment=self._views.comment(row))

    def comment_update(self, _info: object, **given: Any) -> Json:
        body = cleaned(given["input"]).get("body") or ""
        row = self._workspace.edit_comment(self._me, given["id"], body)
        return self._done(comment=self._views.comment(row))

    def comment_delete(self, _info: object, **given: Any) -> Json:
        self._workspace.delete_comment(self._me, given["id"])
        return self._done(entityId=given["id"])

    def reaction_create(self, _info: object, **given: Any) -> Json:
        values = cleaned(given["input"])
        row = self._workspace.react(
            self._me, values["emoji"], issue_key=values.get("issueId"),
            comment_id=values.get("commentId"), reaction_id=values.get("id"),
        )  # fmt: skip
        return self._done(reaction=self._views.reaction(row))

    def attachment_create(self, _info: object, **given: Any) -> Json:
        values = cleaned(given["input"])
        row = self._workspace.attach(self._me, values["issueId"], values)
        return self._done(attachment=self._views.attachment(row))

    def _archived(self, key: str, *, trash: bool) -> Json:
        row = self._workspace.archive_issue(self._me, key, trash=trash)
        return self._done(entity=self._views.issue(row))

    def _done(self, **result: object) -> Json:
        return {"success": True, "lastSyncId": float(self._workspace.store.changes), **result}


def _one_of(entities: Callable[[], list[Json]], name: str) -> Callable[..., Json]:
    def find(_info: object, **arguments: Any) -> Json:
        for entity in entities():
            if entity["id"] == arguments["id"]:
                return entity
        raise not_found(name)

    return find


def _candidates(workspace: Workspace, wanted: Mapping[str, Any]) -> list[Row]:
    """The rows a filter may concern: those of the ids it names, else all."""
    by_id = wanted.get("id") or {}
    ids = by_id.get("in")
    if ids is None and "eq" in by_id:
        ids = [by_id["eq"]]
    if ids is None:
        return workspace.store.rows("SELECT * FROM issues ORDER BY number DESC")
    marks = ", ".join("?" * len(ids))
    return workspace.store.rows(
        f"SELECT * FROM issues WHERE id IN ({marks}) ORDER BY number DESC",  # noqa: S608
        *ids,
    )


def _columns(given: Json) -> Json:
    return {
        COLUMN_OF_FIELD[field]: value
        for field, value in given.items()
        if field in COLUMN_OF_FIELD and not (value is None and field in NEVER_NULL)
    }


def _label_changes(present: list[str], given: Json) -> Json:
    added, removed = given.get("addedLabelIds") or [], given.get("removedLabelIds") or []
    if not added and not removed:
        return {}
    if given.get("labelIds") is not None:
        raise InputError("Argument Validation Error", "Give labelIds, or what to add and remove.")
    return {"label_ids": [label for label in [*present, *added] if label not in removed]}
