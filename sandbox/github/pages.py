"""The pages of the stand-in GitHub: pull requests, one of them, and the workflow runs."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from sandbox.github.repositories import OWN_REPOSITORY, Repositories
from sandbox.github.shapes import OWN_LOGIN, dispatch_report
from sandbox.pages import Pages, actor_handle, back_to, form_of
from sandbox.recorder import Call
from sandbox.store import Row


class GithubPages:
    """Pages below /github."""

    def __init__(self, pages: Pages, repositories: Repositories) -> None:
        self._pages = pages
        self._repositories = repositories
        self._store = repositories.store

    def routes(self) -> list[Route]:
        """The routes below /github."""
        page, repository = self._pages.page, "/github/{owner}/{repo}"
        pull = repository + "/pull/{number:int}"
        return [
            Route("/github", page(self._home)),
            Route(repository, page(self._pulls)),
            Route(pull + "/comment", page(self._comment), methods=["POST"]),
            Route(pull, page(self._pull)),
            Route(repository + "/actions", page(self._actions)),
        ]

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse(f"/github/{OWN_REPOSITORY}")

    async def _pulls(self, request: Request) -> Response:
        name = self._repositories.repository(Call(request, b""))
        rows = self._store.rows(
            """SELECT pulls.*, (SELECT count(*) FROM pull_comments c WHERE
               c.repository = pulls.repository AND c.number = pulls.number) AS comments
               FROM pulls WHERE repository = ? ORDER BY number DESC""",
            name,
        )
        return self._pages.render(request, "pulls.html", repository=name, pulls=rows)

    async def _pull(self, request: Request) -> Response:
        pull = self._repositories.pull(Call(request, b""))
        name, number = pull["repository"], pull["number"]
        return self._pages.render(
            request, "pull.html", repository=name, pull=pull, own_login=OWN_LOGIN,
            comments=self._repositories.comments(name, number), statuses=self._statuses(pull),
        )  # fmt: skip

    def _statuses(self, pull: Row) -> list[Row]:
        """The latest status of each context."""
        return self._store.rows(
            """SELECT * FROM statuses WHERE id IN
               (SELECT max(id) FROM statuses WHERE repository = ? AND sha = ? GROUP BY context)
               ORDER BY context""",
            pull["repository"], pull["head_sha"],
        )  # fmt: skip

    async def _comment(self, request: Request) -> Response:
        pull = self._repositories.pull(Call(request, b""))
        body = (await form_of(request)).get("body", "").replace("\r\n", "\n").strip()
        if not body:
            raise LookupError("Write something first.")
        name, number = pull["repository"], pull["number"]
        row = self._repositories.add_comment(name, number, actor_handle(request), body)
        return back_to(f"/github/{name}/pull/{number}#issuecomment-{row['id']}")

    async def _actions(self, request: Request) -> Response:
        name = self._repositories.repository(Call(request, b""))
        rows = self._store.rows(
            "SELECT * FROM workflow_runs WHERE repository = ? ORDER BY id DESC LIMIT 100", name
        )
        return self._pages.render(
            request, "actions.html", repository=name, runs=[dispatch_report(row) for row in rows]
        )
