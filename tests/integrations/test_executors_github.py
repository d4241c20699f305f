"""An approved workflow is dispatched once; an answer that is lost is for a person to look at."""

import socket
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from pytest_django import Settings

from agents.actions import ActionResult, NotBegun, OutcomeUnknown, load_executor
from tests.integrations.test_executors_http import serving, trickle
from tests.sandbox_process import REPOSITORY, Sandbox

# Every call is measured, which is a row.
pytestmark = pytest.mark.django_db

MERGE = {
    "executor": "github_workflow",
    "operation": "merge_pull_request",
    "repo": REPOSITORY,
    "workflow": "merge.yml",
    "ref": "main",
    "inputs": {"pull_request": "7"},
    "idempotency_key_input": "request_key",
    "timeout_seconds": 5,
    "idempotent": False,
}


def dispatch(**changes: Any) -> ActionResult:
    return load_executor("github_workflow")({**MERGE, **changes}, idempotency_key="request-7")


def test_a_workflow_is_dispatched_with_its_inputs_and_the_declared_key(sandbox: Sandbox) -> None:
    result = dispatch()
    assert (result.succeeded, result.summary) == (True, "merge.yml was dispatched in acme/shop")
    (run,) = sandbox.dispatches()
    assert (run["workflow"], run["ref"]) == ("merge.yml", "main")
    assert run["inputs"] == {"pull_request": "7", "request_key": "request-7"}


def test_the_key_is_sent_only_where_an_input_is_declared_for_it(sandbox: Sandbox) -> None:
    dispatch(idempotency_key_input=None)
    assert sandbox.dispatches()[0]["inputs"] == {"pull_request": "7"}


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize(
    "fault", [{"kind": "lose_reply"}, {"kind": "reset"}, {"kind": "status", "status": 502}]
)
def test_an_answer_that_is_lost_leaves_the_outcome_unknown(
    sandbox: Sandbox, fault: dict[str, Any], idempotent: bool
) -> None:
    sandbox.fault("github", operation="dispatch_workflow", **fault)
    with pytest.raises(OutcomeUnknown, match="may or may not have started"):
        dispatch(idempotent=idempotent)
    assert len(sandbox.requests("github", "dispatch_workflow")) == 1


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"]
)
def test_an_answer_that_trickles_in_is_lost_at_the_time_limit(
    sandbox: Sandbox, settings: Settings, head: bytes, idempotent: bool
) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        trickle(handler, head)

    started = time.monotonic()
    with serving(answer) as settings.GITHUB_API_URL:
        with pytest.raises(OutcomeUnknown, match=r"have started: GitHub gave no answer: timed out"):
            dispatch(timeout_seconds=1, idempotent=idempotent)
        assert time.monotonic() - started < 3
    assert asked == [f"/repos/{REPOSITORY}/actions/workflows/merge.yml/dispatches"]


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_refused_dispatch_fails(sandbox: Sandbox, status: int) -> None:
    sandbox.fault("github", "status", "dispatch_workflow", status=status)
    result = dispatch()
    assert not result.succeeded
    assert f"was not dispatched: GitHub answered {status}" in result.summary
    assert sandbox.dispatches() == []


def test_github_that_cannot_be_reached_was_asked_for_nothing(
    sandbox: Sandbox, settings: Settings
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        settings.GITHUB_API_URL = f"http://127.0.0.1:{free.getsockname()[1]}"
    reason = "^The workflow was not dispatched: GitHub could not be reached"
    with pytest.raises(NotBegun, match=reason):
        dispatch(timeout_seconds=1)


def test_an_address_of_github_that_cannot_be_used_fails_no_dispatch(
    sandbox: Sandbox, settings: Settings
) -> None:
    settings.GITHUB_API_URL = "ftp://github.example"
    with pytest.raises(NotBegun, match="was not dispatched: The address of GitHub cannot be used"):
        dispatch()


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "status", "status": 429}, 429),
        ({"kind": "rate_limited"}, 403),
        ({"kind": "rate_limited", "retry_after": 7}, 403),
    ],
)
def test_a_rate_limit_fails_no_dispatch(
    sandbox: Sandbox, fault: dict[str, Any], status: int
) -> None:
    sandbox.fault("github", operation="dispatch_workflow", **fault)
    with pytest.raises(NotBegun, match=f"was not dispatched: GitHub answered {status}"):
        dispatch()
    assert sandbox.dispatches() == []
    sandbox.clear_faults()
    assert dispatch().succeeded


def test_a_repository_that_left_the_allow_list_is_not_touched(
    sandbox: Sandbox, settings: Settings
) -> None:
    settings.GITHUB_REPOSITORIES = ["acme/other"]
    with pytest.raises(NotBegun, match="is not among HITL_GITHUB_REPOSITORIES"):
        dispatch()
    settings.GITHUB_TOKEN = ""
    with pytest.raises(NotBegun, match="set GITHUB_TOKEN"):
        dispatch()
    assert sandbox.requests("github") == []
