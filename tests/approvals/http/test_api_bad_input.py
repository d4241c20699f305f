"""What the API makes of bodies that do not fit: 422 with the field, and nothing stored."""

import json
from typing import Any
from urllib.parse import unquote

import pytest
from django.test import Client

from approvals.models import ApprovalRequest, AuditEntry
from tests.approvals.http.gateway import DEPLOY, Api, People, body
from tests.web_server import WebServer

SURROGATE = "\ud800"


def fields(content: bytes) -> list[str]:
    """The fields that an answer complains about."""
    return [error["field"] for error in json.loads(content)["errors"]]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"workflow_id": None}, "workflow_id"),
        ({"workflow_id": 7}, "workflow_id"),
        ({"workflow_id": ""}, "workflow_id"),
        ({"workflow_id": "x" * 201}, "workflow_id"),
        ({"workflow_id": "a\x00b"}, "workflow_id"),
        ({"workflow_id": SURROGATE}, "workflow_id"),
        ({"thread_id": "  "}, "thread_id"),
        ({"checkpoint_id": 1.5}, "checkpoint_id"),
        ({"agent_name": ["cicd"]}, "agent_name"),
        ({"agent_name": ""}, "agent_name"),
        ({"requested_by": "x" * 201}, "requested_by"),
        ({"requested_by": SURROGATE}, "requested_by"),
        ({"task": "deploy"}, "task"),
        ({"task": None}, "task"),
        ({"task": []}, "task"),
        ({"task": {}}, "task"),
        ({"task": {"operation": ""}}, "task"),
        ({"task": {"operation": 5}}, "task"),
        ({"task": {"operation": "deploy", "environment": True}}, "task"),
        ({"task": {"operation": "deploy", "note": "a\x00b"}}, "task"),
        ({"task": {"operation": "deploy", "note": SURROGATE}}, "task"),
        ({"task": {"operation": "deploy", "a\x00b": 1}}, "task"),
        ({"task": {"operation": "deploy", "note": "x" * 1_000_000}}, "task"),
        ({"task": {"operation": "deploy", "note": float("nan")}}, "task"),
        ({"task": {"operation": "deploy", "note": float("inf")}}, "task"),
        ({"pr_number": True}, "pr_number"),
        ({"pr_number": "7"}, "pr_number"),
        ({"pr_number": 0}, "pr_number"),
        ({"pr_number": 2**31}, "pr_number"),
        ({"pr_number": 10**30}, "pr_number"),
        ({"pr_url": "javascript:alert(1)"}, "pr_url"),
        ({"pr_url": "https://github.com/acme/shop/pull/7", "pr_number": 8}, "pr_url"),
        ({"pr_url": "https://github.com/a/b/pull/7", "github_repo": "acme/shop"}, "pr_url"),
        ({"github_repo": "acme"}, "github_repo"),
        ({"risk_level": "huge"}, "risk_level"),
        ({"risk_level": 3}, "risk_level"),
        ({"idempotency_key": 7}, "idempotency_key"),
        ({"idempotency_key": "x" * 201}, "idempotency_key"),
        ({"risklevel": "critical"}, "risklevel"),
    ],
)
@pytest.mark.parametrize("keyed", [False, True], ids=["plain", "with an idempotency key"])
def test_a_field_that_does_not_fit_is_named_and_nothing_is_stored(
    api: Api, people: People, changes: dict[str, Any], field: str, keyed: bool
) -> None:
    sent = body(**({"idempotency_key": "key"} if keyed else {}) | changes)
    answer = api.call(people.agent, "POST", "/approvals", sent)
    assert (answer.status_code, fields(answer.content)) == (422, [field])
    assert field in answer.json()["detail"]
    assert not ApprovalRequest.objects.exists()
    assert not AuditEntry.objects.filter(name__startswith="request.").exists()


@pytest.mark.parametrize("field", ["workflow_id", "thread_id", "task", "agent_name"])
def test_a_missing_field_is_named(api: Api, people: People, field: str) -> None:
    sent = {key: value for key, value in body().items() if key != field}
    answer = api.call(people.agent, "POST", "/approvals", sent)
    assert (answer.status_code, fields(answer.content)) == (422, [field])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe{",
        b'{"workflow_id": "\xff"}',
        b"[" * 100_000,
        b'{"task": ' + b'{"a":' * 50_000,
        b'{"pr_number": ' + b"9" * 5000 + b"}",
        b'{"note": "' + b"x" * 3_000_000 + b'"}',
    ],
    ids=[
        "empty", "cut off", "null", "list", "text", "not UTF-8", "bad UTF-8 inside",
        "deep lists", "deep objects", "endless number", "three megabytes",
    ],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_422(api: Api, people: People, raw: bytes) -> None:
    answer = api.call(people.agent, "POST", "/approvals", raw)
    assert (answer.status_code, fields(answer.content)) == (422, ["body"])


def test_a_task_nested_beyond_reason_is_422(api: Api, people: People) -> None:
    for depth in (25, 600):
        nested: Any = "bottom"
        for _ in range(depth):
            nested = [nested]
        answer = api.call(people.agent, "POST", "/approvals", body({**DEPLOY, "note": nested}))
        assert (answer.status_code, fields(answer.content)) == (422, ["task"])


@pytest.mark.parametrize("wait", ["-1", "nan", "inf", "soon", "1e999"])
def test_a_wait_that_is_no_number_of_seconds_is_422(api: Api, people: People, wait: str) -> None:
    request_id = api.open(people.agent)
    for method, path, sent in (("GET", f"/{request_id}", None), ("POST", "", body())):
        answer = api.call(people.agent, method, f"/approvals{path}?wait={wait}", sent)
        assert (answer.status_code, fields(answer.content)) == (422, ["wait"])


@pytest.mark.parametrize(
    ("verb", "sent", "field"),
    [
        ("approve", {"comment": 7}, "comment"),
        ("approve", {"comment": "x" * 4001}, "comment"),
        ("approve", {"comment": "a\x00b"}, "comment"),
        ("approve", {"comment": SURROGATE}, "comment"),
        ("approve", {"reason": "fine"}, "reason"),
        ("reject", {}, "reason"),
        ("reject", {"reason": ""}, "reason"),
        ("reject", {"reason": " \n "}, "reason"),
        ("reject", {"reason": None}, "reason"),
        ("reject", {"reason": "x" * 4001}, "reason"),
        ("reject", {"reason": "a\x00b"}, "reason"),
        ("cancel", {}, "reason"),
        ("cancel", {"reason": ""}, "reason"),
        ("cancel", {"reason": SURROGATE}, "reason"),
    ],
)
def test_words_that_do_not_fit_decide_nothing(
    api: Api, people: People, verb: str, sent: dict[str, Any], field: str
) -> None:
    request_id = api.open(people.agent)
    token = people.agent if verb == "cancel" else people.ana
    answer = api.call(token, "POST", f"/approvals/{request_id}/{verb}", sent)
    assert (answer.status_code, fields(answer.content)) == (422, [field])
    assert ApprovalRequest.objects.get().status == "pending"


def test_a_path_that_is_not_part_of_the_api_is_a_404_in_json(api: Api, people: People) -> None:
    answer = api.call(people.agent, "GET", "/nothing/here")
    assert answer.status_code == 404
    assert "/api/docs" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path",
    ["/nothing", "/approvals/a/b/c", "/workflows/not-a-uuid/cancel", "/workflows/x", "/a%0Ab%0A"],
)
def test_a_path_that_is_not_part_of_it_is_answered_in_json_to_any_method(
    db: None, method: str, path: str
) -> None:
    """A program has no form's token, and could not read a page that asks for one."""
    answer = Client(enforce_csrf_checks=True).generic(method, f"/api{path}")
    assert answer.status_code == 404
    assert answer.json()["detail"].startswith(f"There is nothing at /api{unquote(path)};")


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("path", ["/api/approvals", "/resume", "/accounts/login/", "/nothing/"])
def test_no_server_takes_a_body_over_the_limit_whether_or_not_it_states_its_length(
    committed_people: People, web_server: WebServer, path: str, stated: bool
) -> None:
    chunks = [b"x" * 64 * 1024] * 96
    logged = len(web_server.log.read_text())
    # Without a length, it comes in chunks.
    answer = web_server.client.post(path, content=b"".join(chunks) if stated else iter(chunks))
    assert answer.status_code == 413, answer.text
    assert answer.json()["detail"] == "The body is larger than 5 MB."
    assert "ERROR" not in web_server.log.read_text()[logged:]
    assert web_server.answers()
