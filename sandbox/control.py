"""/_control: what tests tell the sandbox to do and ask it about. README.md lists the calls."""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.faults import Fault, Faults
from sandbox.github.repositories import OWN_REPOSITORY, Repositories
from sandbox.github.shapes import dispatch_report
from sandbox.hooks import hook_report
from sandbox.linear import cast
from sandbox.linear.errors import InputError
from sandbox.linear.workspace import Workspace
from sandbox.recorder import Recorder
from sandbox.reports import (
    comment_report,
    issue_report,
    json_or_text,
    reaction_report,
    webhook_report,
)
from sandbox.store import Store, parse_json
from sandbox.webhooks import WebhookQueue

Json = dict[str, Any]


class Refused(ValueError):
    """The control call makes no sense; the sentence says why."""


class Control:
    """The control calls over the parts of one sandbox."""

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        repositories: Repositories,
        webhooks: WebhookQueue,
        recorder: Recorder,
        faults: Faults,
        reset: Callable[[], None],
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._repositories = repositories
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
            ("POST", "/github/pulls", self._open_pull),
            ("GET", "/github/comments", self._github_comments),
            ("POST", "/github/comments", self._add_github_comment),
            ("GET", "/github/dispatches", self._dispatches),
            ("GET", "/github/statuses", self._statuses),
            ("GET", "/hooks", self._hooks),
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
        return comment_report(self._store, row)

    async def _edit(self, request: Request, body: Json) -> Json:
        row = self._workspace.edit_comment(
            actor_named(body), request.path_params["key"], str(body.get("body") or ""),
            send=_sends(body),
        )  # fmt: skip
        return comment_report(self._store, row)

    async def _react(self, request: Request, body: Json) -> Json:
        comment_id = body.get("comment_id")
        row = self._workspace.react(
            actor_named(body), str(body.get("emoji") or "+1"), comment_id=comment_id,
            issue_key=None if comment_id else request.path_params["key"], send=_sends(body),
        )  # fmt: skip
        return reaction_report(row)

    async def _trash(self, request: Request, body: Json) -> Json:
        row = self._workspace.archive_issue(
            actor_named(body), request.path_params["key"], trash=True,
            action=str(body.get("action") or "remove"), send=_sends(body),
        )  # fmt: skip
        return issue_report(self._workspace, row)

    # GitHub and hooks

    async def _open_pull(self, _request: Request, body: Json) -> Json:
        number, repository = int(body["number"]), str(body.get("repository") or OWN_REPOSITORY)
        row = self._repositories.open_pull(
            repository.lower(), number, str(body.get("title") or f"Change {number}"),
            body=str(body.get("body") or ""), branch=body.get("branch"),
        )  # fmt: skip
        return dict(row)

    async def _github_comments(self, _request: Request, _body: Json) -> list[Json]:
        return [dict(row) for row in self._store.rows("SELECT * FROM pull_comments ORDER BY id")]

    async def _add_github_comment(self, _request: Request, body: Json) -> Json:
        row = self._repositories.add_comment(
            str(body.get("repository") or OWN_REPOSITORY), int(body["number"]),
            str(body.get("author") or "rosa"), str(body["body"]),
        )  # fmt: skip
        return dict(row)

    async def _dispatches(self, _request: Request, _body: Json) -> list[Json]:
        rows = self._store.rows("SELECT * FROM workflow_runs ORDER BY id")
        return [dispatch_report(row) for row in rows]

    async def _statuses(self, _request: Request, _body: Json) -> list[Json]:
        return [dict(row) for row in self._store.rows("SELECT * FROM statuses ORDER BY id")]

    async def _hooks(self, _request: Request, _body: Json) -> list[Json]:
        return [
            hook_report(row) for row in self._store.rows("SELECT * FROM hook_calls ORDER BY id")
        ]

    # Records, webhooks and faults

    async def _requests(self, request: Request, _body: Json) -> list[Json]:
        asked = request.query_params
        return self._recorder.records(asked.get("target"), asked.get("operation"))

    async def _list_webhooks(self, request: Request, _body: Json) -> list[Json]:
        newest = int(request.query_params.get("newest", -1))
        rows = self._store.rows("SELECT * FROM webhooks ORDER BY id DESC LIMIT ?", newest)
        return [webhook_report(self._store, row) for row in reversed(rows)]

    async def _resend(self, request: Request, body: Json) -> list[Json]:
        number = request.path_params["number"]
        times = int(body.get("times", 1))
        answers = await self._webhooks.resend(
            number, times, at_once=bool(body.get("concurrently", False))
        )
        return [{"status": answer.status, "body": json_or_text(answer.text)} for answer in answers]

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
