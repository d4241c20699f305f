"""GitHub's REST API below /github/api: authentication, limits, and the calls a gateway makes."""

import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox.faults import Fault
from sandbox.github import comments, runs
from sandbox.github.answers import Problem, not_found
from sandbox.github.repositories import Repositories
from sandbox.github.shapes import OWN_LOGIN, Shapes
from sandbox.recorder import Call, Recorder

TOKEN = "sandbox-gateway-token"  # noqa: S105  # opens nothing but the sandbox
VERSIONS = ("2022-11-28", "2026-03-10")
REQUESTS_AN_HOUR = 5_000
HOUR_SECONDS = 3_600
REPOSITORY = "/repos/{owner}/{repo}"
ANY_METHOD = ["GET", "POST", "PATCH", "PUT", "DELETE"]

Answer = Callable[[Call], Response]


class GithubApi:
    """The calls, each under a name that faults and records use."""

    def __init__(self, repositories: Repositories, public_url: str) -> None:
        self._repositories = repositories
        self._shapes = Shapes(public_url)
        self._api = f"{public_url}/github/api"
        self._hour = 0
        self._used = 0

    def routes(self, recorder: Recorder) -> list[Route]:
        """The routes below /github/api."""
        pull_comments = comments.Comments(self._repositories, self._shapes, self._api)
        actions = runs.Runs(self._repositories, self._shapes)
        issue_comments = REPOSITORY + "/issues/{number:int}/comments"
        one_comment = REPOSITORY + "/issues/comments/{comment:int}"
        workflow = REPOSITORY + "/actions/workflows/{workflow}/dispatches"
        run = REPOSITORY + "/actions/runs/{run:int}"
        calls: list[tuple[list[str], str, str, Answer]] = [
            (["GET"], "/user", "get_user", self._user),
            (["GET"], REPOSITORY, "get_repository", self._repository),
            (["GET"], REPOSITORY + "/pulls/{number:int}", "get_pull", self._pull),
            (["GET"], issue_comments, "list_comments", pull_comments.list),
            (["POST"], issue_comments, "create_comment", pull_comments.create),
            (["GET"], one_comment, "get_comment", pull_comments.get),
            (["PATCH"], one_comment, "update_comment", pull_comments.update),
            (["DELETE"], one_comment, "delete_comment", pull_comments.delete),
            (["POST"], REPOSITORY + "/statuses/{sha}", "create_status", actions.create_status),
            (["GET"], REPOSITORY + "/commits/{ref}/statuses", "list_statuses", actions.statuses),
            (["POST"], workflow, "dispatch_workflow", actions.dispatch),
            (["GET"], run, "get_run", actions.get),
            (
                ["POST"],
                run + "/deployment_protection_rule",
                "review_deployment",
                actions.review_deployment,
            ),
            (ANY_METHOD, "/{rest:path}", "unknown", _unknown),
        ]
        return [
            Route(
                path,
                recorder.endpoint("github", _named(name), self._guarded(answer), self.refuse),
                methods=methods,
            )
            for methods, path, name, answer in calls
        ]

    def refuse(self, fault: Fault) -> Response:
        """The answer of a fault that does no work."""
        if fault.kind == "rate_limited":
            if fault.retry_after is not None:
                problem = Problem(fault.status or 403, "You have exceeded a secondary rate limit.")
                return self._respond(problem.response(), {"Retry-After": str(fault.retry_after)})
            problem = Problem(fault.status or 403, "API rate limit exceeded.")
            reset = int(time.time() + (fault.seconds or 60))
            exhausted = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
            return self._respond(problem.response(), exhausted)
        status = fault.status or 500
        problem = Problem(status, fault.message or f"The sandbox was told to answer {status}.")
        more = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return self._respond(problem.response(), more)

    def _guarded(self, answer: Answer) -> Callable[[Call], Awaitable[Response]]:
        async def guarded(call: Call) -> Response:
            try:
                _check_headers(call)
                response = answer(call)
            except Problem as problem:
                response = problem.response()
            return self._respond(response, {})

        return guarded

    def _respond(self, response: Response, more: dict[str, str]) -> Response:
        now = int(time.time())
        if now // HOUR_SECONDS != self._hour:
            self._hour, self._used = now // HOUR_SECONDS, 0
        self._used += 1
        headers = {
            "X-GitHub-Media-Type": "github.v3; format=json",
            "X-GitHub-Request-Id": uuid4().hex[:24].upper(),
            "X-RateLimit-Limit": str(REQUESTS_AN_HOUR),
            "X-RateLimit-Remaining": str(max(0, REQUESTS_AN_HOUR - self._used)),
            "X-RateLimit-Used": str(self._used),
            "X-RateLimit-Reset": str((self._hour + 1) * HOUR_SECONDS),
            "X-RateLimit-Resource": "core",
            **more,
        }
        response.headers.update(headers)
        return response

    def _user(self, _call: Call) -> Response:
        return JSONResponse(self._shapes.user(OWN_LOGIN))

    def _repository(self, call: Call) -> Response:
        return JSONResponse(self._shapes.repository(self._repositories.repository(call)))

    def _pull(self, call: Call) -> Response:
        row = self._repositories.pull(call)
        count = len(self._repositories.comments(row["repository"], row["number"]))
        return JSONResponse(self._shapes.pull(row, count))


def _named(name: str) -> Callable[[Call], list[str]]:
    return lambda _call: [name]


def _unknown(_call: Call) -> Response:
    raise not_found()


def _check_headers(call: Call) -> None:
    if not call.headers.get("user-agent"):
        raise Problem(403, "Request forbidden: make sure that it has a User-Agent header.")
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    if not token:
        raise Problem(401, "Requires authentication")
    if scheme.lower() not in {"bearer", "token"} or token != TOKEN:
        raise Problem(401, "Bad credentials")
    version = call.headers.get("x-github-api-version", VERSIONS[0])
    if version not in VERSIONS:
        raise Problem(400, f"API version {version} is not supported; {VERSIONS[-1]} is.")
