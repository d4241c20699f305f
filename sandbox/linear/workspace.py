"""Everything that can be done to an issue, whoever does it: API, page or control."""

from typing import Any
from uuid import uuid4

from sandbox.linear import cast
from sandbox.linear.columns import checked_columns, stamps, updated_from, uuid4_of
from sandbox.linear.errors import InputError, not_found
from sandbox.linear.payloads import Payloads
from sandbox.store import Row, Store, dump_json, utc_now
from sandbox.webhooks import WebhookQueue


class Workspace:
    """The verbs of the stand-in Linear.

    Each one writes its rows and queues the webhook for them in one transaction. With `send` false
    the webhook is recorded as lost: what happens when Linear cannot deliver. All raise InputError.
    """

    def __init__(self, store: Store, webhooks: WebhookQueue, public_url: str) -> None:
        self.store = store
        self.public_url = public_url
        self._webhooks = webhooks
        self._payloads = Payloads(store, public_url)

    # Reads

    @property
    def webhook_url(self) -> str | None:
        """Where the webhooks go."""
        return self._webhooks.url

    def find_issue(self, key: str) -> Row:
        """The issue of a UUID or an identifier such as CHEF-7."""
        team, _, number = key.upper().partition("-")
        if team == cast.TEAM.key and number.isascii() and number.isdigit():
            found = self.store.row("SELECT * FROM issues WHERE number = ?", int(number[:15]))
        else:
            found = self.store.row("SELECT * FROM issues WHERE id = ?", key.lower())
        if found is None:
            raise not_found("Issue")
        return found

    def find_comment(self, comment_id: str) -> Row:
        """The comment of a UUID."""
        found = self.store.row("SELECT * FROM comments WHERE id = ?", comment_id.lower())
        if found is None:
            raise not_found("Comment")
        return found

    # Issues

    def create_issue(self, actor: cast.Actor, values: dict[str, Any], *, send: bool = True) -> Row:
        """Create an issue from the columns given; a second one with the same id is refused."""
        columns = checked_columns(values)
        if not columns.get("title"):
            raise InputError("Argument Validation Error", "title should not be empty.")
        state = cast.STATE_BY_ID[columns.setdefault("state_id", cast.DEFAULT_STATE.id)]
        issue_id = self._new_id("Issue", "issues", values.get("id"))
        now = utc_now()
        with self.store.transaction():
            number = self.store.number("SELECT coalesce(max(number), 0) + 1 FROM issues")
            self.store.insert("issues", **{
                "description": None, "priority": 0, "label_ids": "[]", "project_id": None,
                **columns,
                **stamps(state, now),
                "id": issue_id, "number": number, "sort_order": -9000.0 - number,
                "creator_id": actor.id if isinstance(actor, cast.Person) else None,
                "created_at": now, "updated_at": now,
            })  # fmt: skip
            issue = self.find_issue(issue_id)
            self._queue_issue(issue, "create", actor, None, send=send)
        return issue

    def update_issue(
        self, actor: cast.Actor, key: str, values: dict[str, Any], *, send: bool = True
    ) -> Row:
        """Change an issue; what does not differ is left alone and sends nothing."""
        before = self.find_issue(key)
        columns = checked_columns(values)
        if "title" in columns and not columns["title"]:
            raise InputError("Argument Validation Error", "title should not be empty.")
        changed = {name: value for name, value in columns.items() if before[name] != value}
        if not changed:
            return before
        now = utc_now()
        moved = "state_id" in changed
        if moved:
            changed |= stamps(cast.STATE_BY_ID[changed["state_id"]], now, before)
            changed["sort_order"] = before["sort_order"] - 104.25
        with self.store.transaction():
            issue = self._write_issue(before, {**changed, "updated_at": now})
            if moved or "trashed" in changed:
                self._record(before, issue, actor, now)
            old = updated_from(before, issue)
            self._queue_issue(issue, "update", actor, old, send=send)
        return issue

    def archive_issue(
        self,
        actor: cast.Actor,
        key: str,
        *,
        trash: bool,
        action: str = "remove",
        send: bool = True,
    ) -> Row:
        """Archive an issue or move it to the trash; the latter's webhook says `remove`."""
        before = self.find_issue(key)
        now = utc_now()
        with self.store.transaction():
            changes = {"archived_at": now, "trashed": int(trash), "updated_at": now}
            issue = self._write_issue(before, changes)
            self._record(before, issue, actor, now)
            if trash and action == "remove":
                self._queue_issue(issue, "remove", actor, None, send=send)
            else:
                old = updated_from(before, issue)
                self._queue_issue(issue, "update", actor, old, send=send)
        return issue

    # Comments

    def create_comment(
        self, actor: cast.Actor, issue_key: str, body: str, *,
        comment_id: str | None = None, parent_id: str | None = None, send: bool = True,
    ) -> Row:  # fmt: skip
        """Comment on an issue, or answer one of its comments."""
        issue = self.find_issue(issue_key)
        if not body:
            raise InputError("Argument Validation Error", "body should not be empty.")
        if parent_id is not None:
            parent = self.find_comment(parent_id)
            if parent["issue_id"] != issue["id"]:
                raise InputError("Parent comment belongs to another issue.")
        new_id = self._new_id("Comment", "comments", comment_id)
        now = utc_now()
        with self.store.transaction():
            self.store.insert(
                "comments", id=new_id, issue_id=issue["id"], parent_id=parent_id, body=body,
                author_id=actor.id if actor else None, created_at=now, updated_at=now,
            )  # fmt: skip
            comment = self.find_comment(new_id)
            payload = self._payloads.comment(comment, issue, "create", actor, None)
            self._webhooks.add(payload, issue["id"], send=send)
        return comment

    def edit_comment(
        self, actor: cast.Actor, comment_id: str, body: str, *, send: bool = True
    ) -> Row:
        """Replace a comment's text; only its author may."""
        before = self._own_comment(actor, comment_id)
        if not body:
            raise InputError("Argument Validation Error", "body should not be empty.")
        if before["body"] == body:
            return before
        now = utc_now()
        with self.store.transaction():
            self.store.run(
                "UPDATE comments SET body = ?, updated_at = ?, edited_at = ? WHERE id = ?",
                body, now, now, before["id"],
            )  # fmt: skip
            comment = self.find_comment(before["id"])
            issue = self.find_issue(before["issue_id"])
            old = {"updatedAt": before["updated_at"], "body": before["body"]}
            old["editedAt"] = before["edited_at"]
            payload = self._payloads.comment(comment, issue, "update", actor, old)
            self._webhooks.add(payload, issue["id"], send=send)
        return comment

    def delete_comment(self, actor: cast.Actor, comment_id: str) -> None:
        """Remove a comment, its answers staying behind; only its author may."""
        comment = self._own_comment(actor, comment_id)
        issue = self.find_issue(comment["issue_id"])
        with self.store.transaction():
            payload = self._payloads.comment(comment, issue, "remove", actor, None)
            self.store.run(
                "UPDATE comments SET parent_id = NULL WHERE parent_id = ?", comment["id"]
            )
            self.store.run("DELETE FROM comments WHERE id = ?", comment["id"])
            self._webhooks.add(payload, issue["id"], send=True)

    # Reactions and attachments

    def react(
        self, actor: cast.Actor, emoji: str, *,
        issue_key: str | None = None, comment_id: str | None = None,
        reaction_id: str | None = None, send: bool = True,
    ) -> Row:  # fmt: skip
        """React to an issue or to a comment; the same reaction again changes nothing."""
        if (issue_key is None) == (comment_id is None):
            raise InputError("Argument Validation Error", "Give either issueId or commentId.")
        comment = self.find_comment(comment_id) if comment_id is not None else None
        issue = self.find_issue(comment["issue_id"] if comment else str(issue_key))
        author_id = actor.id if actor else None
        column, subject = ("comment_id", comment) if comment else ("issue_id", issue)
        same = self.store.row(
            f"SELECT * FROM reactions WHERE {column} = ? AND author_id IS ? AND emoji = ?",  # noqa: S608
            subject["id"], author_id, emoji,
        )  # fmt: skip
        if same is not None:
            return same
        new_id = self._new_id("Reaction", "reactions", reaction_id)
        with self.store.transaction():
            self.store.insert(
                "reactions", id=new_id, emoji=emoji, author_id=author_id, created_at=utc_now(),
                **{column: subject["id"]},
            )  # fmt: skip
            reaction = self.store.rows("SELECT * FROM reactions WHERE id = ?", new_id)[0]
            payload = self._payloads.reaction(reaction, issue, comment, "create", actor)
            self._webhooks.add(payload, issue["id"], send=send)
        return reaction

    def attach(self, actor: cast.Actor, issue_key: str, values: dict[str, Any]) -> Row:
        """Link a URL to an issue; the same URL again updates the attachment there is."""
        issue = self.find_issue(issue_key)
        now = utc_now()
        new_id = self._new_id("Attachment", "attachments", values.get("id"))
        with self.store.transaction():
            self.store.run(
                """INSERT INTO attachments
                   (id, issue_id, url, title, subtitle, metadata, creator_id,
                    created_at, updated_at)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                   ON CONFLICT (issue_id, url) DO UPDATE SET title = excluded.title,
                   subtitle = excluded.subtitle, metadata = excluded.metadata,
                   updated_at = excluded.updated_at""",
                new_id, issue["id"], values["url"], values["title"], values.get("subtitle"),
                dump_json(values.get("metadata") or {}), actor.id if actor else None, now, now,
            )  # fmt: skip
        return self.store.rows(
            "SELECT * FROM attachments WHERE issue_id = ? AND url = ?", issue["id"], values["url"]
        )[0]

    # Steps the verbs share

    def _own_comment(self, actor: cast.Actor, comment_id: str) -> Row:
        comment = self.find_comment(comment_id)
        if actor is None or comment["author_id"] != actor.id:
            raise InputError("Access denied", "Only its author may change a comment.")
        return comment

    def _new_id(self, entity: str, table: str, wanted: str | None) -> str:
        if wanted is None:
            return str(uuid4())
        new_id = uuid4_of(wanted)
        if self.store.row(f"SELECT 1 FROM {table} WHERE id = ?", new_id):  # noqa: S608  # ours
            raise InputError(f"conflict on insert of {entity}")
        return new_id

    def _write_issue(self, before: Row, changes: dict[str, Any]) -> Row:
        assignments = ", ".join(f"{column} = ?" for column in changes)
        self.store.run(
            f"UPDATE issues SET {assignments} WHERE id = ?",  # noqa: S608  # column names are ours
            *changes.values(),
            before["id"],
        )
        return self.find_issue(before["id"])

    def _record(self, before: Row, after: Row, actor: cast.Actor, now: str) -> None:
        moved = before["state_id"] != after["state_id"]
        self.store.insert(
            "history", id=str(uuid4()), issue_id=after["id"], created_at=now,
            actor_id=actor.id if actor else None,
            from_state_id=before["state_id"] if moved else None,
            to_state_id=after["state_id"] if moved else None,
            archived=1 if after["archived_at"] and not before["archived_at"] else None,
            trashed=after["trashed"] if after["trashed"] != before["trashed"] else None,
        )  # fmt: skip

    def _queue_issue(
        self,
        issue: Row,
        action: str,
        actor: cast.Actor,
        updated_from: dict[str, Any] | None,
        *,
        send: bool,
    ) -> None:
        payload = self._payloads.issue(issue, action, actor, updated_from)
        self._webhooks.add(payload, issue["id"], send=send)
