"""The stand-in GitHub answers as GitHub's own description says."""

import json
import re
from collections.abc import Iterator
from urllib.parse import parse_qsl

import httpx
import pytest
from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

from tests.sandbox_process import GITHUB_TOKEN, Sandbox
from tests.tools import require_contracts

SHOP = "/repos/acme/shop"
COMMENTS = f"{SHOP}/issues/7/comments"


class SpokenRequest:
    """One request as the OpenAPI checker wants to see it."""

    def __init__(self, request: httpx.Request) -> None:
        self.host_url = "https://api.github.com"
        self.path = request.url.path.removeprefix("/github/api")
        self.method = request.method.lower()
        self.body = request.content or None
        self.content_type = request.headers.get("content-type", "application/json")
        self.parameters = RequestParameters(
            query=ImmutableMultiDict(parse_qsl(request.url.query.decode())),
            header=Headers(dict(request.headers)),
        )


class SpokenResponse:
    """The answer to it, likewise."""

    def __init__(self, response: httpx.Response) -> None:
        self.data = response.content or None
        self.status_code = response.status_code
        self.content_type = response.headers.get("content-type", "")
        self.headers = Headers(dict(response.headers))


@pytest.fixture(scope="module")
def description() -> OpenAPI:
    path = require_contracts() / "github" / "openapi.json"
    return OpenAPI.from_dict(json.loads(path.read_text("utf-8")))


@pytest.fixture
def checked(github: httpx.Client, description: OpenAPI) -> Iterator[httpx.Client]:
    """A client whose every request and answer is held against the description."""

    def check(response: httpx.Response) -> None:
        response.read()
        request = SpokenRequest(response.request)
        if response.status_code < 400:
            description.validate_request(request)
        description.validate_response(request, SpokenResponse(response))

    github.event_hooks = {"response": [check]}
    yield github
    github.event_hooks = {"response": []}


def test_a_comment_lives_as_described(checked: httpx.Client, sandbox: Sandbox) -> None:
    created = checked.post(COMMENTS, json={"body": "Approval required"})
    assert created.status_code == 201
    comment = created.json()
    assert comment["user"]["login"] == "hitl-gateway"
    assert comment["id"] > 2**31
    one = f"{SHOP}/issues/comments/{comment['id']}"
    assert checked.patch(one, json={"body": "Approved"}).json()["body"] == "Approved"
    assert checked.get(one).json()["body"] == "Approved"
    assert [found["id"] for found in checked.get(COMMENTS).json()] == [comment["id"]]
    assert checked.delete(one).status_code == 204
    assert checked.get(one).status_code == 404
    assert sandbox.github_comments() == []


def test_comments_come_in_pages_with_links(checked: httpx.Client) -> None:
    for number in range(5):
        checked.post(COMMENTS, json={"body": f"Comment {number}"})
    bodies: list[str] = []
    address: str | None = f"{COMMENTS}?per_page=2"
    relations = []
    while address is not None:
        answer = checked.get(address)
        bodies += [comment["body"] for comment in answer.json()]
        links = {
            relation: url
            for url, relation in re.findall(r'<([^>]+)>; rel="(\w+)"', answer.headers["Link"])
        }
        relations.append(sorted(links))
        address = links.get("next")
    assert bodies == [f"Comment {number}" for number in range(5)]
    assert relations == [["last", "next"], ["first", "last", "next", "prev"], ["first", "prev"]]
    assert "Link" not in checked.get(COMMENTS).headers


def test_pull_requests_and_statuses_are_as_described(
    checked: httpx.Client, sandbox: Sandbox
) -> None:
    pull = checked.get(f"{SHOP}/pulls/7").json()
    assert pull["state"] == "open"
    assert pull["html_url"] == f"{sandbox.url}/github/acme/shop/pull/7"
    sha = pull["head"]["sha"]
    status = {"state": "pending", "context": "hitl", "description": "Waiting", "target_url": None}
    assert checked.post(f"{SHOP}/statuses/{sha}", json=status).status_code == 201
    assert [s["context"] for s in checked.get(f"{SHOP}/commits/{sha}/statuses").json()] == ["hitl"]
    assert [s["state"] for s in sandbox.statuses()] == ["pending"]


def test_workflows_are_dispatched_as_described(checked: httpx.Client, sandbox: Sandbox) -> None:
    dispatches = f"{SHOP}/actions/workflows/deploy.yml/dispatches"
    inputs = {"environment": "staging"}
    assert checked.post(dispatches, json={"ref": "main", "inputs": inputs}).status_code == 204
    told = checked.post(dispatches, json={"ref": "main", "return_run_details": True})
    assert told.status_code == 200
    run = checked.get(f"{SHOP}/actions/runs/{told.json()['workflow_run_id']}").json()
    assert run["status"] in {"queued", "in_progress"}
    found = sandbox.dispatches()
    assert [(d["workflow"], d["ref"], d["inputs"]) for d in found] == [
        ("deploy.yml", "main", inputs),
        ("deploy.yml", "main", {}),
    ]
    review = {"environment_name": "production", "state": "approved", "comment": "by Ada"}
    gate = f"{SHOP}/actions/runs/{run['id']}/deployment_protection_rule"
    assert checked.post(gate, json=review).status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", f"{SHOP}/pulls/404", None, 404),
        ("GET", f"{SHOP}/issues/404/comments", None, 404),
        ("POST", f"{SHOP}/issues/404/comments", {"body": "x"}, 404),
        ("POST", "/repos/acme/unknown/issues/7/comments", {"body": "x"}, 404),
        ("POST", COMMENTS, {"body": " "}, 422),
        ("POST", COMMENTS, {"body": "x" * 65_537}, 422),
    ],
)
def test_refusals_are_as_described(
    checked: httpx.Client, method: str, path: str, body: dict[str, str] | None, status: int
) -> None:
    answer = checked.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.json()["message"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (COMMENTS, b"not json", 400),
        (COMMENTS, b"[]", 400),
        (f"{SHOP}/statuses/{'0' * 40}", b'{"state": "pending"}', 422),
        (f"{SHOP}/statuses/{'0' * 40}", b'{"state": "maybe"}', 422),
        (f"{SHOP}/actions/workflows/deploy/dispatches", b'{"ref": "main"}', 404),
        (f"{SHOP}/actions/workflows/deploy.yml/dispatches", b'{"ref": "nowhere"}', 422),
        ("/nowhere", b"{}", 404),
    ],
)
def test_what_cannot_be_is_refused(
    github: httpx.Client, path: str, body: bytes, status: int
) -> None:
    assert github.post(path, content=body).status_code == status


def test_a_status_description_may_have_140_characters(github: httpx.Client) -> None:
    sha = github.get(f"{SHOP}/pulls/7").json()["head"]["sha"]
    for length, status in ((140, 201), (141, 422)):
        body = {"state": "success", "description": "x" * length}
        assert github.post(f"{SHOP}/statuses/{sha}", json=body).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": GITHUB_TOKEN}, 401),
        ({"X-GitHub-Api-Version": "2031-01-01"}, 400),
        ({"User-Agent": ""}, 403),
        ({"X-GitHub-Api-Version": "2022-11-28"}, 200),
    ],
)
def test_headers_are_checked(github: httpx.Client, headers: dict[str, str], status: int) -> None:
    assert github.get("/user", headers=headers).status_code == status


def test_the_account_and_its_limits_are_told(github: httpx.Client) -> None:
    answer = github.get("/user")
    assert answer.json()["login"] == "hitl-gateway"
    assert answer.headers["X-RateLimit-Limit"] == "5000"
    assert int(answer.headers["X-RateLimit-Reset"]) < 10_000_000_000


def test_calls_are_recorded_without_the_token(github: httpx.Client, sandbox: Sandbox) -> None:
    github.post(COMMENTS, json={"body": "Hello"})
    [record] = sandbox.requests("github", "create_comment")
    assert (record["method"], record["status"]) == ("POST", 201)
    assert record["body"] == {"body": "Hello"}
    assert GITHUB_TOKEN not in json.dumps(record)


def test_a_hook_does_the_same_key_once(sandbox: Sandbox) -> None:
    address, key = f"{sandbox.hooks_url}/migrate", {"Idempotency-Key": "one"}
    first = httpx.post(address, json={"database": "orders"}, headers=key)
    again = httpx.post(address, json={"database": "orders"}, headers=key)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert first.json()["done"] is True
    assert httpx.post(address, json={"database": "users"}, headers=key).status_code == 422
    other = httpx.post(address, json={"database": "orders"}, headers={"Idempotency-Key": "two"})
    assert other.json()["id"] != first.json()["id"]
    assert [(call["idempotency_key"], call["calls"]) for call in sandbox.hook_calls()] == [
        ("one", 3),
        ("two", 1),
    ]
