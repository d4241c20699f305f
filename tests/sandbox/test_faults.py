"""Each kind of fault does what it says, to what it names, as often as asked."""

import threading
import time
from typing import Any

import httpx
import pytest

from tests.sandbox.linear_calls import CREATE, PATH, TEAM_ID, ask, create_issue
from tests.sandbox.receiver import Receiver
from tests.sandbox_process import Sandbox
from tests.waiting import eventually

VIEWER = {"query": "{ viewer { id } }"}
NEW_ISSUE: dict[str, Any] = {
    "query": CREATE,
    "variables": {"input": {"teamId": TEAM_ID, "title": "Deploy"}},
}


def test_a_delay_answers_later(linear: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fault("linear", "delay", "viewer", seconds=0.4, times=1)
    began = time.monotonic()
    ask(linear, VIEWER["query"])
    assert time.monotonic() - began >= 0.4


def test_a_late_answer_has_done_the_work(linear: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fault("linear", "delay", "issueCreate", seconds=0.5, times=1)
    with pytest.raises(httpx.ReadTimeout):
        linear.post(PATH, json=NEW_ISSUE, timeout=0.1)
    eventually(lambda: bool(sandbox.issues()), "the issue is created")
    assert len(sandbox.issues()) == 1


@pytest.mark.parametrize(("kind", "issues"), [("reset", 0), ("lose_reply", 1)])
def test_a_dropped_connection_before_or_after_the_work(
    linear: httpx.Client, sandbox: Sandbox, kind: str, issues: int
) -> None:
    sandbox.fault("linear", kind, "issueCreate", times=1)
    with pytest.raises(httpx.TransportError):
        linear.post(PATH, json=NEW_ISSUE)
    assert len(sandbox.issues()) == issues
    [record] = sandbox.requests("linear", "issueCreate")
    assert (record["status"], record["fault"]) == (None, kind)
    assert linear.post(PATH, json=NEW_ISSUE).status_code == 200


def test_a_status_is_answered_without_the_work(linear: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fault("linear", "status", "issueCreate", status=503, retry_after=7)
    answer = linear.post(PATH, json=NEW_ISSUE)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert sandbox.issues() == []


def test_a_graphql_error_comes_with_200(linear: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fault("linear", "graphql_error", code="USAGE_LIMIT_EXCEEDED", message="Too many issues")
    answer = linear.post(PATH, json=NEW_ISSUE)
    assert answer.status_code == 200
    [error] = answer.json()["errors"]
    assert error["message"] == "Too many issues"
    assert error["extensions"]["code"] == "USAGE_LIMIT_EXCEEDED"


def test_linears_rate_limit_is_400_with_a_reset_in_milliseconds(
    linear: httpx.Client, sandbox: Sandbox
) -> None:
    sandbox.fault("linear", "rate_limited", retry_after=30, times=1)
    answer = linear.post(PATH, json=VIEWER)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "RATELIMITED"
    wait = int(answer.headers["X-RateLimit-Requests-Reset"]) / 1000 - time.time()
    assert 28 <= wait <= 31
    assert answer.headers["X-RateLimit-Requests-Remaining"] == "0"


def test_githubs_rate_limits_are_403_with_one_of_two_hints(
    github: httpx.Client, sandbox: Sandbox
) -> None:
    sandbox.fault("github", "rate_limited", retry_after=30, times=1)
    secondary = github.get("/user")
    assert (secondary.status_code, secondary.headers["Retry-After"]) == (403, "30")
    sandbox.fault("github", "rate_limited", seconds=45, times=1)
    primary = github.get("/user")
    assert primary.status_code == 403
    assert primary.headers["X-RateLimit-Remaining"] == "0"
    assert 40 <= int(primary.headers["X-RateLimit-Reset"]) - time.time() <= 46


def test_a_held_call_goes_on_when_the_faults_are_cleared(
    linear: httpx.Client, sandbox: Sandbox
) -> None:
    sandbox.fault("linear", "hold", "issueCreate")
    answers: list[int] = []
    caller = threading.Thread(
        target=lambda: answers.append(linear.post(PATH, json=NEW_ISSUE).status_code)
    )
    caller.start()
    eventually(lambda: bool(sandbox.requests("linear", "issueCreate")), "the call has arrived")
    assert sandbox.issues() == []
    assert answers == []
    sandbox.clear_faults()
    caller.join(5)
    assert answers == [200]


def test_a_fault_strikes_only_what_it_names_and_only_so_often(
    linear: httpx.Client, github: httpx.Client, sandbox: Sandbox
) -> None:
    sandbox.fault("linear", "status", "CreateIssue", status=500, times=2)
    assert linear.post(PATH, json=VIEWER).status_code == 200
    assert github.get("/user").status_code == 200
    statuses = [linear.post(PATH, json=NEW_ISSUE).status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    [fault] = sandbox.faults()
    assert fault["taken"] == 2


def test_github_and_hooks_lose_replies_too(github: httpx.Client, sandbox: Sandbox) -> None:
    sandbox.fault("github", "lose_reply", "create_comment", times=1)
    with pytest.raises(httpx.TransportError):
        github.post("/repos/acme/shop/issues/7/comments", json={"body": "Hello"})
    assert [comment["body"] for comment in sandbox.github_comments(7)] == ["Hello"]
    sandbox.fault("hooks", "lose_reply", "migrate", times=1)
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{sandbox.hooks_url}/migrate", headers={"Idempotency-Key": "k"})
    assert httpx.post(f"{sandbox.hooks_url}/migrate", headers={"Idempotency-Key": "k"}).json()[
        "done"
    ]
    [call] = sandbox.hook_calls("migrate")
    assert call["calls"] == 2


def test_webhooks_whose_answer_is_lost_come_twice(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.fault("webhooks", "lose_reply", "Issue", times=1)
    create_issue(linear)
    first, second = receiver.wait_for(2)
    assert first.headers["Linear-Delivery"] == second.headers["Linear-Delivery"]


def test_held_webhooks_come_later(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.fault("webhooks", "hold", "update")
    issue = create_issue(linear)
    sandbox.move(issue["id"], "Done")
    sandbox.comment(issue["id"], "overtakes")
    events = {received.headers["Linear-Event"] for received in receiver.wait_for(2)}
    assert events == {"Issue", "Comment"}
    [held] = sandbox.webhooks("Issue", "update")
    assert held["attempts"] == []
    sandbox.clear_faults()
    receiver.get(held["delivery"])


@pytest.mark.parametrize(
    "fault",
    [
        {"target": "gitlab", "kind": "delay", "seconds": 1},
        {"target": "linear", "kind": "explode"},
        {"target": "linear", "kind": "delay"},
        {"target": "linear", "kind": "status"},
        {"target": "github", "kind": "graphql_error"},
        {"target": "webhooks", "kind": "status", "status": 500},
        {"target": "linear", "kind": "hold", "colour": "red"},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    answer = sandbox.control.post("/faults", json=fault)
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert sandbox.faults() == []
