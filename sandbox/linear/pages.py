"""The pages of the stand-in Linear: the board, one issue, and the webhooks sent."""

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sandbox.linear import cast
from sandbox.linear.payloads import identifier
from sandbox.linear.workspace import Workspace
from sandbox.pages import Pages, actor_of_form, back_to, form_of
from sandbox.reports import issue_report, webhook_report
from sandbox.webhooks import WebhookQueue

SHOWN_WEBHOOKS = 100
SHOWN_OF_ISSUE = 6
EMOJI = {"+1": "thumbs up", "-1": "thumbs down"}
# What pressing a state's button means to Linear itself, whatever others make of it.
GROUPS = (
    ("Completed", ("completed",)),
    ("Canceled", ("canceled", "duplicate")),
    ("Open", ("backlog", "unstarted", "started")),
)


class LinearPages:
    """Pages and the forms on them; a form does what the person acted as would do."""

    def __init__(self, pages: Pages, workspace: Workspace, webhooks: WebhookQueue) -> None:
        self._pages = pages
        self._workspace = workspace
        self._webhooks = webhooks
        self._store = workspace.store

    def routes(self) -> list[Route]:
        """The routes below /linear."""
        page, issue = self._pages.page, "/linear/issue/{key}"
        return [
            Route("/linear", page(self._board)),
            Route("/linear/webhooks", page(self._list_webhooks)),
            Route("/linear/webhooks/{number:int}/send", page(self._send), methods=["POST"]),
            Route("/linear/profiles/{handle}", page(self._profile)),
            Route(issue + "/move", page(self._move), methods=["POST"]),
            Route(issue + "/comment", page(self._comment), methods=["POST"]),
            Route(issue + "/react", page(self._react), methods=["POST"]),
            Route(issue + "/trash", page(self._trash), methods=["POST"]),
            Route(issue, page(self._issue)),
            Route(issue + "/{slug}", page(self._issue)),
        ]

    async def _board(self, request: Request) -> Response:
        rows = self._store.rows("SELECT * FROM issues WHERE archived_at IS NULL ORDER BY number")
        issues = [issue_report(self._workspace, row) for row in rows]
        columns = [
            (state, [issue for issue in issues if issue["state"] == state.name])
            for state in cast.STATES
        ]
        return self._pages.render(request, "board.html", columns=columns, team=cast.TEAM)

    async def _issue(self, request: Request) -> Response:
        row = self._workspace.find_issue(request.path_params["key"])
        if request.path_params["key"] != identifier(row):
            return RedirectResponse(f"/linear/issue/{identifier(row)}")
        report = issue_report(self._workspace, row)
        rows = self._store.rows(
            "SELECT * FROM webhooks WHERE issue_id = ? ORDER BY id DESC LIMIT ?",
            row["id"], SHOWN_OF_ISSUE,
        )  # fmt: skip
        groups = [
            (name, [state for state in cast.STATES if state.type in types])
            for name, types in GROUPS
        ]
        return self._pages.render(
            request, "issue.html", issue=report, timeline=_timeline(report), groups=groups,
            webhooks=[webhook_report(self._store, row) for row in rows], emoji=EMOJI,
            state=cast.STATE_BY_ID[row["state_id"]],
        )  # fmt: skip

    async def _list_webhooks(self, request: Request) -> Response:
        rows = self._store.rows("SELECT * FROM webhooks ORDER BY id DESC LIMIT ?", SHOWN_WEBHOOKS)
        names = {
            row["id"]: identifier(row) for row in self._store.rows("SELECT id, number FROM issues")
        }
        return self._pages.render(
            request, "webhooks.html", url=self._webhooks.url, names=names, shown=SHOWN_WEBHOOKS,
            webhooks=[webhook_report(self._store, row) for row in rows],
        )  # fmt: skip

    async def _profile(self, request: Request) -> Response:
        return RedirectResponse(f"/linear?as={request.path_params['handle']}")

    # Forms

    async def _send(self, request: Request) -> Response:
        number = request.path_params["number"]
        await self._webhooks.resend(number, 1, at_once=False)
        return back_to(f"/linear/webhooks#webhook-{number}")

    async def _move(self, request: Request) -> Response:
        key, form = request.path_params["key"], await form_of(request)
        self._workspace.update_issue(
            actor_of_form(form), key, {"state_id": form.get("state")}, send="lose" not in form
        )
        return back_to(f"/linear/issue/{key}")

    async def _comment(self, request: Request) -> Response:
        key, form = request.path_params["key"], await form_of(request)
        text = form.get("body", "").replace("\r\n", "\n").strip()
        self._workspace.create_comment(actor_of_form(form), key, text)
        return back_to(f"/linear/issue/{key}#activity")

    async def _react(self, request: Request) -> Response:
        key, form = request.path_params["key"], await form_of(request)
        comment_id = form.get("comment")
        self._workspace.react(
            actor_of_form(form), form.get("emoji", ""), comment_id=comment_id,
            issue_key=None if comment_id else key,
        )  # fmt: skip
        return back_to(
            f"/linear/issue/{key}" + (f"#comment-{comment_id[:8]}" if comment_id else "")
        )

    async def _trash(self, request: Request) -> Response:
        key, form = request.path_params["key"], await form_of(request)
        self._workspace.archive_issue(actor_of_form(form), key, trash=True)
        return back_to(f"/linear/issue/{key}")


def _timeline(issue: dict[str, Any]) -> list[dict[str, Any]]:
    """Comments and moves in the order they happened; each says which of the two it is."""
    comments = [{"kind": "comment", **comment} for comment in issue["comments"]]
    moves = [{"kind": "move", **entry} for entry in issue["history"]]
    return sorted([*comments, *moves], key=lambda entry: str(entry["at"]))
