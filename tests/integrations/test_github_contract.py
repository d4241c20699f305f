"""Every request that the gateway sends to GitHub fits GitHub's own description of its API."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from openapi_core import OpenAPI
from openapi_core.testing.requests import MockRequest
from pytest_django import DjangoDbBlocker

from approvals.models import Tally
from integrations.github.client import GitHubClient
from tests.integrations.github_world import PULL
from tests.sandbox_process import GITHUB_TOKEN, REPOSITORY, Sandbox

# Or nothing says that the tables are needed, where this file is run alone.
pytestmark = pytest.mark.django_db
Json = dict[str, Any]


@pytest.fixture(scope="module")
def description(contracts_dir: Path) -> Json:
    path = contracts_dir / "github" / "openapi.json"
    loaded: Json = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def calls(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[list[Json]]:
    """Every call that the client can make, as the sandbox received it."""
    sandbox = Sandbox.start(tmp_path_factory.mktemp("github-sandbox"))
    client = GitHubClient(GITHUB_TOKEN, api_url=sandbox.github_url, api_version="2026-03-10")
    # Every call is measured, and a row that was made for a whole file is left to no other test.
    with django_db_blocker.unblock():
        comment = client.create_comment(REPOSITORY, PULL, "Hello")
        client.update_comment(REPOSITORY, comment.id, "Hello again")
        for number in range(101):
            sandbox.add_github_comment(PULL, f"Comment {number}")
        assert len(list(client.list_comments(REPOSITORY, PULL))) == 102
        client.dispatch_workflow(REPOSITORY, "ci.yml", "main", {"request_key": "key-1"})
        assert client.login
        Tally.objects.all().delete()
    yield sandbox.requests("github")
    sandbox.stop()


def test_every_call_of_the_client_is_looked_at(calls: list[Json]) -> None:
    assert [call["operation"] for call in calls] == [
        "create_comment",
        "update_comment",
        "list_comments",
        "list_comments",
        "dispatch_workflow",
        "get_user",
    ]


def test_every_call_fits_the_description_and_holds_nothing_beyond_it(
    description: Json, calls: list[Json]
) -> None:
    openapi = OpenAPI.from_dict(description)
    # The description here is an excerpt without GET /user, which takes no parameter at all.
    described = [call for call in calls if call["operation"] != "get_user"]
    for call in described:
        address = urlsplit(call["path"].removeprefix("/github/api"))
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        request = MockRequest(
            "https://api.github.com",
            call["method"],
            address.path,
            args=query,
            headers=call["headers"],
            data=json.dumps(call["body"]).encode() if call["body"] is not None else None,
        )
        openapi.validate_request(request)
        operation = _operation(description, call["method"], address.path)
        assert set(query) <= _query_names(description, operation)
        assert set(call["body"] or {}) <= _body_names(operation, "2026-03-10")


def test_every_call_says_who_it_is_and_which_api_it_means(calls: list[Json]) -> None:
    for call in calls:
        assert call["headers"]["accept"] == "application/vnd.github+json"
        assert call["headers"]["user-agent"] == "hitl-gateway"
        assert call["headers"]["x-github-api-version"] == "2026-03-10"
        assert "authorization" in call["headers"]


def _operation(description: Json, method: str, path: str) -> Json:
    for template, methods in description["paths"].items():
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in methods:
            found: Json = methods[method.lower()]
            return found
    raise LookupError(f"{method} {path} is not described.")


def _query_names(description: Json, operation: Json) -> set[str]:
    parameters = [_resolved(description, item) for item in operation.get("parameters", [])]
    return {item["name"] for item in parameters if item["in"] == "query"}


def _body_names(operation: Json, version: str) -> set[str]:
    """The fields of the body, less those that this version of the API has given up."""
    if "requestBody" not in operation:
        return set()
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    gone = {
        step["path"].rsplit("/", 1)[1]
        for change in operation.get("x-github-breaking-changes", [])
        if change["version"] <= version
        for step in change["patch"]
        if step["op"] == "remove" and step["path"].startswith("/requestBody/")
    }
    return set(schema["properties"]) - gone


def _resolved(description: Json, item: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in item:
        found: Any = description
        for step in item["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        item = found
    return item
