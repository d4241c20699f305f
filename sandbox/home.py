"""The first page, the page of internal hooks, and what the pages' script asks for."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.github.repositories import OWN_REPOSITORY
from sandbox.hooks import hook_report
from sandbox.pages import Pages
from sandbox.store import Store
from sandbox.webhooks import WebhookQueue

SHOWN_CALLS = 100
COUNTS = {
    "open_issues": "SELECT count(*) FROM issues WHERE archived_at IS NULL "
    "AND completed_at IS NULL AND canceled_at IS NULL",
    "pulls": "SELECT count(*) FROM pulls",
    "runs": "SELECT count(*) FROM workflow_runs",
    "hooks": "SELECT count(*) FROM hook_calls",
    "webhooks": "SELECT count(*) FROM webhooks",
    "undelivered": "SELECT count(*) FROM webhooks WHERE state <> 'delivered'",
}


class Home:
    """Pages that belong to neither Linear nor GitHub."""

    def __init__(self, pages: Pages, store: Store, webhooks: WebhookQueue) -> None:
        self._pages = pages
        self._store = store
        self._webhooks = webhooks

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/", self._pages.page(self._index)),
            Route("/hooks", self._pages.page(self._hooks)),
            Route("/changes", self._changes),
        ]

    async def _index(self, request: Request) -> Response:
        counts = {name: self._store.number(sql) for name, sql in COUNTS.items()}
        return self._pages.render(
            request, "index.html", counts=counts, repository=OWN_REPOSITORY,
            public_url=self._pages.public_url, webhook_url=self._webhooks.url,
        )  # fmt: skip

    async def _hooks(self, request: Request) -> Response:
        rows = self._store.rows("SELECT * FROM hook_calls ORDER BY id DESC LIMIT ?", SHOWN_CALLS)
        return self._pages.render(
            request, "hooks.html", calls=[hook_report(row) for row in rows],
            public_url=self._pages.public_url,
        )  # fmt: skip

    async def _changes(self, _request: Request) -> Response:
        return JSONResponse({"changes": self._store.changes})
