"""GitHub's REST API, as far as the gateway uses it.

Limits and errors follow docs.github.com/rest: "Best practices for using the REST API" and "Rate
limits for the REST API".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeVar

import httpx
from django.conf import settings

from approvals.core.events import ChannelError
from integrations.http import ReplyLost, open_client, outcome_of, retry_after, seconds_until, send
from integrations.metrics import Outcome

PARTY = "GitHub"
TIMEOUT = httpx.Timeout(10.0, connect=3.0)
PAGE_SIZE = 100
_SHORTEST_PAUSE_SECONDS = 1.0
_UNTOLD_PAUSE_SECONDS = 60.0
# A reset far in the future is a wrong clock, not a limit: GitHub's windows last an hour.
_LONGEST_PAUSE_SECONDS = 3600.0
_HINTS: Mapping[int, str] = {
    401: "GITHUB_TOKEN is not valid (any more)",
    403: "the token lacks a permission, see docs/github.md",
    404: "it does not exist, or the token cannot see it",
}

J = TypeVar("J", dict[str, Any], list[Any])


class NotFound(ChannelError):
    """GitHub knows no such thing, or does not show it to this token."""


class RateLimited(ChannelError):
    """GitHub has turned the call away because there were too many; nothing came of it."""


@dataclass(frozen=True)
class Comment:
    """A comment on a pull request; `author` is a login, empty for a deleted account."""

    id: int
    body: str
    author: str
    url: str


class GitHubClient:
    """Typed calls with one token; every failure is a ChannelError with a sentence.

    Repositories are `owner/name`. To be opened after a fork, and then shared by threads.
    """

    def __init__(self, token: str, *, api_url: str, api_version: str) -> None:
        self._http = open_client(
            api_url,
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "X-GitHub-Api-Version": api_version,
            },
            timeout=TIMEOUT,
        )

    @cached_property
    def login(self) -> str:
        """The login of the token's own account; asked for once."""
        login = self._json(self._request("get_user", "GET", "/user"), dict).get("login")
        if not isinstance(login, str) or not login:
            raise ChannelError("GITHUB_TOKEN belongs to no account of its own.", permanent=True)
        return login

    def list_comments(self, repo: str, number: int) -> Iterator[Comment]:
        """Every comment on the pull request, oldest first."""
        page = 1
        while True:
            response = self._request(
                "list_comments",
                "GET",
                f"/repos/{repo}/issues/{number}/comments",
                params={"per_page": PAGE_SIZE, "page": page},
            )
            found = self._json(response, list)
            yield from (_comment(item) for item in found)
            if "next" not in response.links:
                return
            page += 1

    def create_comment(self, repo: str, number: int, body: str) -> Comment:
        """Comment on the pull request; ReplyLost where it may have been done."""
        path = f"/repos/{repo}/issues/{number}/comments"
        response = self._request("create_comment", "POST", path, json={"body": body})
        return _comment(self._json(response, dict))

    def update_comment(self, repo: str, comment_id: int, body: str) -> Comment:
        """Replace a comment's text; NotFound where the comment is gone."""
        path = f"/repos/{repo}/issues/comments/{comment_id}"
        response = self._request("update_comment", "PATCH", path, json={"body": body})
        return _comment(self._json(response, dict))

    def dispatch_workflow(
        self, repo: str, workflow: str, ref: str, inputs: Mapping[str, str]
    ) -> str:
        """Run a workflow and give the run's address, where GitHub tells it.

        Versions of the API before 2026-03-10 answer 204 and name no run. ReplyLost where it may
        have been done, RateLimited where it was not looked at.
        """
        path = f"/repos/{repo}/actions/workflows/{workflow}/dispatches"
        body = {"ref": ref, "inputs": dict(inputs)}
        response = self._request("dispatch_workflow", "POST", path, json=body)
        run = _decoded(response)
        return str(run.get("html_url", "")) if isinstance(run, dict) else ""

    def _request(self, operation: str, method: str, path: str, **options: Any) -> httpx.Response:
        response = send(
            self._http, method, path, party=PARTY, operation=operation, judge=_outcome, **options
        )
        if response.is_success:
            return response
        status = response.status_code
        message = _message(response)
        sentence = f"{PARTY} answered {status} to {method} {path}: {message}"
        if _outcome(response) is Outcome.RATE_LIMITED:
            raise RateLimited(f"{sentence}.", retry_after=_pause(response))
        if status >= 500 or status == 408:
            raise ReplyLost(f"{sentence}.", retry_after=retry_after(response))
        if status in _HINTS:
            sentence += f"; {_HINTS[status]}"
        raise (NotFound if status == 404 else ChannelError)(f"{sentence}.", permanent=True)

    def _json(self, response: httpx.Response, kind: type[J]) -> J:
        body = _decoded(response)
        if not isinstance(body, kind):
            raise ReplyLost(f"{PARTY} answered {response.status_code} with an unknown body.")
        return body


@cache
def open_github(token: str, api_url: str, api_version: str) -> GitHubClient:
    """One client for each account in each process."""
    return GitHubClient(token, api_url=api_url, api_version=api_version)


def configured_github() -> GitHubClient:
    """The client that the settings describe."""
    return open_github(settings.GITHUB_TOKEN, settings.GITHUB_API_URL, settings.GITHUB_API_VERSION)


def is_allowed(repo: str) -> bool:
    """Whether the repository is allow-listed; GitHub ignores case in names, so do we."""
    return repo.casefold() in {name.casefold() for name in settings.GITHUB_REPOSITORIES}


def _comment(item: Mapping[str, Any]) -> Comment:
    try:
        return Comment(
            id=int(item["id"]),
            body=item.get("body") or "",
            author=(item.get("user") or {}).get("login", ""),
            url=item.get("html_url", ""),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReplyLost(f"{PARTY} answered with a comment of an unknown form.") from error


def _decoded(response: httpx.Response) -> Any:
    """The body as JSON, or None where it is something else."""
    try:
        return response.json()
    except ValueError:
        return None


def _message(response: httpx.Response) -> str:
    body = _decoded(response)
    told = body.get("message") if isinstance(body, dict) else None
    words = str(told or response.reason_phrase or "no reason given").split()
    return " ".join(words)[:200].rstrip(".")


def _outcome(response: httpx.Response) -> Outcome:
    limited = response.status_code in {403, 429} and _is_limit(response, _message(response))
    return Outcome.RATE_LIMITED if limited else outcome_of(response)


def _is_limit(response: httpx.Response, message: str) -> bool:
    """Whether this is a rate limit: a 403 may as well mean a missing permission."""
    return (
        response.status_code == 429
        or "retry-after" in response.headers
        or response.headers.get("x-ratelimit-remaining") == "0"
        or "rate limit" in message.casefold()
    )


def _pause(response: httpx.Response) -> float:
    """The seconds to wait: Retry-After, else the reset of a used-up limit, else a minute."""
    pause = retry_after(response)
    reset = response.headers.get("x-ratelimit-reset", "")
    # Every answer tells the reset; a limit on bursts has nothing to do with it.
    used_up = response.headers.get("x-ratelimit-remaining", "0") == "0"
    if pause is None and used_up and reset.isdecimal():
        pause = seconds_until(float(reset), response)
    if pause is None:
        pause = _UNTOLD_PAUSE_SECONDS
    return min(max(pause, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
