"""/_control: what tests tell the sandbox to do and ask it about. README.md lists the calls."""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.faults import Fault, Faults
from sandbox.linear import cast
from sandbox.linear.errors import InputError
from sandbox.linear.payloads import identifier, issue_url
from sandbox.linear.workspace import Workspace
from sandbox.recorder import Recorder
from sandbox.store import Row, Store, parse_json
from sandbox.webhooks import WebhookQueue, headers_of

Json = dict[str, Any]


class Refused(ValueError):
    """The control call makes no sense; the sentence says why."""


class Control:
    """The control calls over the parts of one sandbox."""

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        webhooks: WebhookQueue,
        recorder: Recorder,
        faults: Faults,
        reset: Callable[[], None],
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._webhooks = webhooks
        self._recorder = recorder
        self._faults = faults
        self._reset_all = reset

    def routes(self) -> list[Route]:
        """The routes below /_control."""
        calls: list[tuple[str, str, Callable[[Request, Json], Awaitable[object]]]] = [
            ("GET", "/linear/issues", self._issues),
            ("POST", "/linear/issues/{key}/move", self._move),
            ("POST", "/linear/issues/{key}/comment", self._comment),
            ("POST", "/linear/issues/{key}/react", self._react),
            ("POST", "/linear/issues/{key}/trash", self._trash),
            ("POST", "/linear/comments/{key}/edit", self._edit),
            ("GET", "/requests", self._requests),
            ("GET", "/webhooks", self._list_webhooks),
            ("POST", "/webhooks/{number:int}/resend", self._resend),
            ("POST", "/webhook-url", self._webhook_url),
            ("GET", "/faults", self._list_faults),
            ("POST", "/faults", self._add_fault),
            ("DELETE", "/faults", self._clear_faults),
            ("POST", "/reset", self._reset),
        ]
        return [Route(path, control_call(call), methods=[method]) for method, path, call in calls]

    # Linear

    async def _issues(self, _request: Request, _body: Json) -> list[Json]:
        rows = self._store.rows("SELECT * FROM issues ORDER BY number")
        return [issue_report(self._workspace, row) for row in rows]

    async def _move(self, request: Request, body: Json) -> Json:
        state = cast.STATE_BY_NAME.get(str(body.get("state")).lower())
        if state is None:
            raise Refused(f"state must be one of {', '.join(s.name for s in cast.STATES)}.")
        row = self._workspace.update_issue(
            actor_named(body), request.path_params["key"], {"state_id": state.id}, send=_sends(body)
        )
        return issue_report(self._workspace, row)

    async def _comment(self, request: Request, body: Json) -> Json:
        row = self._workspace.create_comment(
            actor_named(body), request.path_params["key"], str(body.get("body") or ""),
            parent_id=body.get("parent_id"), send=_sends(body),
        )  # fmt: skip
        return _comment_report(self._store, row)

    async def _edit(self, request: Request, body: Json) -> Json:
        row = self._workspace.edit_comment(
            actor_named(body), request.path_params["key"], str(body.get("body") or ""),
            send=_sends(body),
        )  # fmt: skip
        return _comment_report(self._store, row)

    async def _react(self, request: Request, body: Json) -> Json:
        comment_id = body.get("comment_id")
        row = self._workspace.react(
            actor_named(body), str(body.get("emoji") or "+1"), comment_id=comment_id,
            issue_key=None if comment_id else request.path_params["key"], send=_sends(body),
        )  # fmt: skip
        return _reaction_report(row)

    async def _trash(self, request: Request, body: Json) -> Json:
        row = self._workspace.archive_issue(
            actor_named(body), request.path_params["key"], trash=True,
            action=str(body.get("action") or "remove"), send=_sends(body),
        )  # fmt: skip
        return issue_report(self._workspace, row)

    # Records, webhooks and faults

    async def _requests(self, request: Request, _body: Json) -> list[Json]:
        asked = request.query_params
        return self._recorder.records(asked.get("target"), asked.get("operation"))

    async def _list_webhooks(self, _request: Request, _body: Json) -> list[Json]:
        rows = self._store.rows("SELECT * FROM webhooks ORDER BY id")
        return [webhook_report(self._store, row) for row in rows]

    async def _resend(self, request: Request, body: Json) -> list[Json]:
        number = request.path_params["number"]
        times = int(body.get("times", 1))
        answers = await self._webhooks.resend(
            number, times, at_once=bool(body.get("concurrently", False))
        )
        return [{"status": answer.status, "body": _json_or_text(answer.text)} for answer in answers]

    async def _webhook_url(self, _request: Request, body: Json) -> Json:
        self._webhooks.url = str(body["url"]) if body.get("url") else None
        return {"url": self._webhooks.url}

    async def _list_faults(self, _request: Request, _body: Json) -> list[Json]:
        return [fault.to_json() for fault in self._faults]

    async def _add_fault(self, _request: Request, body: Json) -> Json:
        fault = Fault.from_json(body)
        self._faults.add(fault)
        return fault.to_json()

    async def _clear_faults(self, _request: Request, _body: Json) -> Json:
        self._faults.clear()
        return {}

    async def _reset(self, _request: Request, _body: Json) -> Json:
        self._reset_all()
        return {}


def control_call(
    call: Callable[[Request, Json], Awaitable[object]],
) -> Callable[[Request], Awaitable[Response]]:
    """A handler of JSON in and out; what makes no sense answers 4xx with a sentence."""

    async def handle(request: Request) -> Response:
        raw = await request.body()
        try:
            body = parse_json(raw) if raw else {}
            if not isinstance(body, dict):
                raise Refused("The body must be a JSON object.")
            return JSONResponse(await call(request, body))
        except (ValueError, InputError) as error:
            missing = str(error).startswith("Entity not found")
            return JSONResponse({"detail": str(error)}, 404 if missing else 422)
        except LookupError as error:
            return JSONResponse({"detail": str(error)}, 404)
        except sqlite3.IntegrityError as error:
            return JSONResponse({"detail": f"It conflicts with what is there: {error}"}, 409)

    return handle


def actor_named(body: Mapping[str, Any]) -> cast.Actor:
    """The person or bot a call names as its `actor`. Raises Refused."""
    handle = body.get("actor")
    if handle not in cast.ACTOR_BY_HANDLE:
        raise Refused(f"actor must be one of {', '.join(cast.ACTOR_BY_HANDLE)}.")
    return cast.ACTOR_BY_HANDLE[str(handle)]


def _sends(body: Mapping[str, Any]) -> bool:
    return bool(body.get("webhook", True))


def _json_or_text(text: str) -> object:
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
        "comments": [_comment_report(store, comment) for comment in of("comments")],
        "reactions": [_reaction_report(reaction) for reaction in of("reactions")],
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


def _comment_report(store: Store, row: Row) -> Json:
    reactions = store.rows("SELECT * FROM reactions WHERE comment_id = ?", row["id"])
    return {
        "id": row["id"],
        "at": row["created_at"],
        "edited_at": row["edited_at"],
        "author": _handle(row["author_id"]),
        "body": row["body"],
        "parent_id": row["parent_id"],
        "reactions": [_reaction_report(reaction) for reaction in reactions],
    }


def _reaction_report(row: Row) -> Json:
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
                "answer": _json_or_text(attempt["answer"]),
                "seconds": round(attempt["seconds"], 4),
            }
            for attempt in attempts
        ],
    }
