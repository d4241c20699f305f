"""Typed calls to Linear's GraphQL API; every failure is a ChannelError with a sentence."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

import httpx
from django.conf import settings

from approvals.core.events import ChannelError
from integrations import http
from integrations.linear import documents
from integrations.linear.issue import Issue, Person, Webhook, parse_issue
from integrations.metrics import Outcome, operation_of

PARTY = "Linear"
TIMEOUT = httpx.Timeout(10.0, connect=3.0)
PAGE = 50
_RATE_LIMITED = "RATELIMITED"
_ADMINISTRATORS = re.compile(r"\badmin`? required")
_RATE_LIMIT_BOUNDS = (1.0, 3600.0)

_PERMANENT = {
    "AUTHENTICATION_ERROR": "Linear refuses the API key: check LINEAR_API_KEY",
    "FORBIDDEN": "Linear does not allow the owner of LINEAR_API_KEY to do this",
    "FEATURE_NOT_ACCESSIBLE": "Linear does not offer this to the workspace",
    "USAGE_LIMIT_EXCEEDED": "The Linear workspace has reached its plan's limit",
    "INPUT_ERROR": "Linear refuses the input",
    "USER_ERROR": "Linear refuses the request",
    "GRAPHQL_VALIDATION_FAILED": "Linear does not understand the request",
}


class LinearRefused(ChannelError):
    """Linear answered that it will not do this; `code` is its `extensions.code`."""

    def __init__(self, sentence: str, code: str, *, permanent: bool) -> None:
        super().__init__(sentence, permanent=permanent)
        self.code = code

    @property
    def already_there(self) -> bool:
        """Whether a client-supplied id is taken: an earlier call did the work."""
        return self.code == "INPUT_ERROR" and "conflict on insert" in str(self)

    @property
    def for_administrators(self) -> bool:
        """Whether Linear lets only administrators do this, or keys with the scope `admin`."""
        # The words are known from Linear's answers; with which code they come stands nowhere.
        return self.code == "FORBIDDEN" or bool(_ADMINISTRATORS.search(str(self)))


class LinearClient:
    """The calls that the gateway makes, each one request; not to be shared across a fork."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._http = http.open_client(headers={"Authorization": api_key}, timeout=TIMEOUT)

    def viewer(self, timeout_seconds: float | None = None) -> Person:
        """Whose API key this is: the gateway's own identity."""
        options = {} if timeout_seconds is None else {"timeout": timeout_seconds}
        node = self._call(documents.VIEWER, {}, **options)["viewer"]
        return Person(node["id"], node["name"])

    def webhooks(self) -> list[Webhook]:
        """The workspace's webhooks; LinearRefused.for_administrators where they are not shown."""
        nodes = self._call(documents.WEBHOOKS, {})["webhooks"]["nodes"]
        return [
            Webhook(node["url"] or "", node["enabled"], frozenset(node["resourceTypes"]))
            for node in nodes
        ]

    def team(self, key: str) -> tuple[str, Mapping[str, str]] | None:
        """A team's UUID and its states by name, or None where no team has this key."""
        data = self._call(documents.TEAM, {"key": key})
        teams = data["teams"]["nodes"]
        if not teams:
            return None
        return teams[0]["id"], {
            node["name"]: node["id"] for node in data["workflowStates"]["nodes"]
        }

    def labels(self, names: Sequence[str], team_id: str) -> Mapping[str, str]:
        """The UUIDs of those labels that the team can use, by name."""
        nodes = self._call(documents.LABELS, {"names": list(names)})["issueLabels"]["nodes"]
        return {
            node["name"]: node["id"]
            for node in nodes
            if node["team"] is None or node["team"]["id"] == team_id
        }

    def projects(self, name: str) -> list[str]:
        """The UUIDs of the projects of this name, two at most."""
        nodes = self._call(documents.PROJECTS, {"name": name})["projects"]["nodes"]
        return [node["id"] for node in nodes]

    def issue(self, issue_id: UUID) -> Issue | None:
        """One issue with its discussion, archived or trashed too, or None where there is none."""
        nodes = self._call(documents.ISSUE, {"id": str(issue_id)})["issues"]["nodes"]
        return self._issue(nodes[0]) if nodes else None

    def issues(self, ids: Sequence[UUID]) -> Mapping[UUID, Callable[[], Issue]]:
        """Those of at most 50 issues that exist, archived and trashed ones too; no discussion.

        Each is read when it is called, so that one of an odd shape takes no other with it.
        """
        data = self._call(documents.ISSUES, {"ids": [str(issue_id) for issue_id in ids]})
        return {UUID(node["id"]): partial(self._issue, node) for node in data["issues"]["nodes"]}

    def create_issue(self, fields: Mapping[str, Any]) -> Issue:
        """Create an issue under the UUID v4 in `fields`; LinearRefused.already_there if taken."""
        data = self._call(documents.ISSUE_CREATE, {"input": dict(fields)})["issueCreate"]
        if not data["success"] or data["issue"] is None:
            raise ChannelError("Linear did not create the issue and gave no reason.")
        return self._issue(data["issue"])

    def move_issue(self, issue_id: UUID, state_id: str) -> None:
        """Put an issue into a state."""
        variables = {"id": str(issue_id), "input": {"stateId": state_id}}
        self._done(self._call(documents.ISSUE_UPDATE, variables)["issueUpdate"], "move the issue")

    def comment(self, issue_id: UUID, comment_id: UUID, body: str) -> None:
        """Comment under a UUID v4 of ours; a comment that is there already is success."""
        fields = {"id": str(comment_id), "issueId": str(issue_id), "body": body}
        try:
            data = self._call(documents.COMMENT_CREATE, {"input": fields})["commentCreate"]
        except LinearRefused as refused:
            if not refused.already_there:
                raise
        else:
            self._done(data, "comment on the issue")

    def attach(self, issue_id: UUID, url: str, title: str) -> None:
        """Link an address to an issue; the same address again updates the link."""
        fields = {"issueId": str(issue_id), "url": url, "title": title}
        data = self._call(documents.ATTACHMENT_CREATE, {"input": fields})["attachmentCreate"]
        self._done(data, "link the pull request")

    def _issue(self, node: Mapping[str, Any]) -> Issue:
        comments = []
        if "comments" in node:
            comments = self._whole(node, "comments", documents.COMMENTS)
        return parse_issue(node, self._whole(node, "history", documents.HISTORY), comments)

    def _whole(self, node: Mapping[str, Any], field: str, document: str) -> list[Mapping[str, Any]]:
        """Every entry of a connection: whichever end its first page shows, a part misleads."""
        page = node[field]
        if not page["pageInfo"]["hasNextPage"]:
            return list(page["nodes"])
        entries: list[Mapping[str, Any]] = []
        after = None
        while True:
            data = self._call(document, {"id": node["id"], "after": after})
            page = data["issue"][field]
            entries.extend(page["nodes"])
            if not page["pageInfo"]["hasNextPage"]:
                return entries
            after = page["pageInfo"]["endCursor"]

    def _done(self, payload: Mapping[str, Any], what: str) -> None:
        if not payload["success"]:
            raise ChannelError(f"Linear did not {what} and gave no reason.")

    def _call(
        self, document: str, variables: Mapping[str, Any], **options: Any
    ) -> Mapping[str, Any]:
        response = http.send(
            self._http,
            "POST",
            self._url,
            party=PARTY,
            operation=operation_of(document),
            judge=_outcome,
            json={"query": document, "variables": dict(variables)},
            **options,
        )
        body = _json_object(response)
        errors = body.get("errors")
        if errors:
            raise _error(errors[0], response)
        if response.status_code == 429:
            raise _rate_limited(response)
        if response.status_code == 401:
            raise LinearRefused(
                f"{_PERMANENT['AUTHENTICATION_ERROR']}.", "AUTHENTICATION_ERROR", permanent=True
            )
        http.refuse_error_status(response, PARTY)
        data = body.get("data")
        if not isinstance(data, dict):
            raise ChannelError("Linear answered without data.")
        return data


@lru_cache(maxsize=4)
def open_linear(url: str, api_key: str) -> LinearClient:
    """This process's client for an address and a key."""
    return LinearClient(url, api_key)


def linear() -> LinearClient:
    """The client that the settings ask for."""
    return open_linear(settings.LINEAR_API_URL, settings.LINEAR_API_KEY)


def _json_object(response: httpx.Response) -> Mapping[str, Any]:
    """The body as an object; empty where it is none, since a proxy may have answered."""
    try:
        body = json.loads(response.content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _outcome(response: httpx.Response) -> Outcome:
    """How to count an answer: Linear also tells of errors, and of its limits, with other statuses.

    See linear.app/developers: "Rate limiting" and "Error handling".
    """
    outcome = http.outcome_of(response)
    if outcome in {Outcome.SERVER_ERROR, Outcome.RATE_LIMITED}:
        return outcome
    body = _json_object(response)
    if errors := body.get("errors"):
        return Outcome.RATE_LIMITED if _code(errors[0]) == _RATE_LIMITED else Outcome.ERROR
    return outcome if isinstance(body.get("data"), dict) else Outcome.ERROR


def _code(error: Mapping[str, Any]) -> str:
    return str((error.get("extensions") or {}).get("code", ""))


def _error(error: Mapping[str, Any], response: httpx.Response) -> ChannelError:
    code = _code(error)
    if code == _RATE_LIMITED:
        return _rate_limited(response)
    said = " ".join(str(error.get("message", "no reason given")).split())[:300].rstrip(".")
    if code in _PERMANENT:
        return LinearRefused(f"{_PERMANENT[code]}: {said}.", code, permanent=True)
    return LinearRefused(f"Linear failed: {said}.", code, permanent=False)


def _rate_limited(response: httpx.Response) -> ChannelError:
    """The pause until the latest of the limits that are used up is reset (epoch milliseconds)."""
    resets = []
    for limit in ("Requests", "Complexity", "Endpoint-Requests"):
        reset = response.headers.get(f"X-RateLimit-{limit}-Reset", "")
        remaining = response.headers.get(f"X-RateLimit-{limit}-Remaining", "0")
        if reset.isdecimal() and remaining == "0":
            resets.append(http.seconds_until(int(reset) / 1000, response))
    low, high = _RATE_LIMIT_BOUNDS
    pause = max(resets) if resets else (http.retry_after(response) or 60.0)
    return ChannelError(
        "Linear's rate limit is reached; the channel waits.",
        retry_after=min(max(pause, low), high),
    )
