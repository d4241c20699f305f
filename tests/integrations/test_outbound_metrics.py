"""Every call to Linear and GitHub is measured once, by its operation and what came of it."""

import socket
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from agents.actions import NotBegun, OutcomeUnknown, load_executor
from approvals.core.events import ChannelError
from integrations.github.client import GitHubClient
from integrations.linear.client import LinearClient
from integrations.linear.client import linear as configured
from integrations.metrics import GITHUB_OPERATIONS, LINEAR_OPERATIONS
from tests.approvals.scenes import at_once
from tests.integrations.github_world import PULL
from tests.integrations.linear_world import LinearWorld
from tests.integrations.test_executors_github import MERGE
from tests.metrics_page import Page
from tests.sandbox_process import GITHUB_TOKEN, LINEAR_API_KEY, REPOSITORY, Sandbox

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "hitl_outbound_request_duration_seconds"
OUTCOMES = ("ok", "error", "rate_limited", "server_error", "unreachable", "no_reply")


def client(sandbox: Sandbox, token: str = GITHUB_TOKEN) -> GitHubClient:
    return GitHubClient(token, api_url=sandbox.github_url, api_version="2026-03-10")


def calls(party: str) -> dict[tuple[str, str], float]:
    """How many calls of each operation came to each outcome."""
    found = Page.scrape().all(f"{NAME}_count")
    return {
        (operation, outcome): number
        for (operation, outcome, other), number in found.items()
        if other == party
    }


def nobody_listens() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_every_operation_and_outcome_starts_at_zero() -> None:
    page = Page.scrape()
    for party, operations in (("linear", LINEAR_OPERATIONS), ("github", GITHUB_OPERATIONS)):
        for operation in operations:
            for outcome in OUTCOMES:
                labels = {"party": party, "operation": operation, "outcome": outcome}
                assert page.value(f"{NAME}_count", **labels) == 0
                assert page.value(f"{NAME}_bucket", **labels, le="+Inf") == 0
    known = len(LINEAR_OPERATIONS) + len(GITHUB_OPERATIONS)
    assert len(page.names(f"{NAME}_count")) == len(OUTCOMES) * known


def test_delivering_a_request_to_linear_counts_each_call_by_its_name(linear: LinearWorld) -> None:
    linear.opened()
    asked = [call["operation"] for call in linear.sandbox.requests("linear")]
    assert "IssueCreate" in asked
    assert calls("linear") == {(name, "ok"): asked.count(name) for name in asked}


def test_every_call_to_github_counts_by_a_name_that_holds_no_id(sandbox: Sandbox) -> None:
    gateway = client(sandbox)
    comment = gateway.create_comment(REPOSITORY, PULL, "Hello")
    gateway.update_comment(REPOSITORY, comment.id, "Hello again")
    for number in range(101):
        sandbox.add_github_comment(PULL, f"Comment {number}")
    assert len(list(gateway.list_comments(REPOSITORY, PULL))) == 102
    gateway.dispatch_workflow(REPOSITORY, "ci.yml", "main", {})
    assert gateway.login
    assert gateway.login
    with pytest.raises(ChannelError):
        gateway.update_comment(REPOSITORY, 4_040_404, "gone")
    assert calls("github") == {
        ("create_comment", "ok"): 1,
        ("update_comment", "ok"): 1,
        ("update_comment", "error"): 1,
        ("list_comments", "ok"): 2,
        ("dispatch_workflow", "ok"): 1,
        ("get_user", "ok"): 1,
    }


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"kind": "graphql_error", "code": "INPUT_ERROR", "message": "no"}, "error"),
        ({"kind": "graphql_error", "code": "INTERNAL_SERVER_ERROR", "message": "no"}, "error"),
        ({"kind": "graphql_error", "code": "RATELIMITED", "message": "slowly"}, "rate_limited"),
        ({"kind": "rate_limited", "retry_after": 40}, "rate_limited"),
        ({"kind": "status", "status": 429}, "rate_limited"),
        ({"kind": "status", "status": 401}, "error"),
        ({"kind": "status", "status": 503}, "server_error"),
        ({"kind": "reset"}, "no_reply"),
        ({"kind": "lose_reply"}, "no_reply"),
    ],
)
def test_what_linear_answers_on_a_bad_day_counts_as_that(
    linear: LinearWorld, fault: dict[str, Any], outcome: str
) -> None:
    linear.sandbox.fault("linear", **fault, times=1)
    with pytest.raises(ChannelError):
        configured().viewer()
    configured().viewer()
    assert calls("linear") == {("Viewer", outcome): 1, ("Viewer", "ok"): 1}


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ({"kind": "rate_limited", "retry_after": 40}, "rate_limited"),
        ({"kind": "status", "status": 429}, "rate_limited"),
        ({"kind": "status", "status": 403}, "error"),
        ({"kind": "status", "status": 404}, "error"),
        ({"kind": "status", "status": 502}, "server_error"),
        ({"kind": "reset"}, "no_reply"),
        ({"kind": "lose_reply"}, "no_reply"),
    ],
)
def test_what_github_answers_on_a_bad_day_counts_as_that(
    sandbox: Sandbox, fault: dict[str, Any], outcome: str
) -> None:
    sandbox.fault("github", **fault, times=1)
    with pytest.raises(ChannelError):
        client(sandbox).create_comment(REPOSITORY, PULL, "Hello")
    assert calls("github") == {("create_comment", outcome): 1}


def test_what_could_not_be_reached_was_not_sent() -> None:
    with pytest.raises(ChannelError):
        LinearClient(f"{nobody_listens()}/graphql", LINEAR_API_KEY).viewer()
    with pytest.raises(ChannelError):
        LinearClient("nonsense", LINEAR_API_KEY).viewer()
    assert calls("linear") == {("Viewer", "unreachable"): 2}


def test_the_time_that_linear_took_is_what_is_observed(linear: LinearWorld) -> None:
    configured().viewer()
    linear.sandbox.fault("linear", "delay", seconds=1.2, times=1)
    configured().viewer()
    page = Page.scrape()
    labels = {"party": "linear", "operation": "Viewer", "outcome": "ok"}
    total = page.value(f"{NAME}_sum", **labels)
    assert total is not None
    assert 1.2 <= total < 4
    assert page.value(f"{NAME}_bucket", **labels, le="1.0") == 1
    assert page.value(f"{NAME}_bucket", **labels, le="10.0") == 2


def test_an_answer_that_comes_too_late_is_no_reply_after_that_time(linear: LinearWorld) -> None:
    linear.sandbox.fault("linear", "hold", seconds=5, times=1)
    with pytest.raises(ChannelError):
        configured().viewer(timeout_seconds=0.3)
    assert calls("linear") == {("Viewer", "no_reply"): 1}
    labels = {"party": "linear", "operation": "Viewer", "outcome": "no_reply"}
    assert Page.scrape().value(f"{NAME}_bucket", **labels, le="0.25") == 0


def test_each_attempt_of_a_dispatch_counts_and_the_effect_stands(
    sandbox: Sandbox, settings: Settings
) -> None:
    settings.GITHUB_TOKEN, settings.GITHUB_REPOSITORIES = GITHUB_TOKEN, [REPOSITORY]
    settings.GITHUB_API_URL = nobody_listens()
    dispatch = load_executor("github_workflow")
    with pytest.raises(NotBegun):
        dispatch({**MERGE, "timeout_seconds": 1}, idempotency_key="k")
    assert calls("github") == {("dispatch_workflow", "unreachable"): 2}
    settings.GITHUB_API_URL = sandbox.github_url
    assert dispatch(MERGE, idempotency_key="k").succeeded
    sandbox.fault("github", "hold", "dispatch_workflow", seconds=5, times=1)
    with pytest.raises(OutcomeUnknown):
        dispatch({**MERGE, "timeout_seconds": 1}, idempotency_key="k")
    assert calls("github") == {
        ("dispatch_workflow", "unreachable"): 2,
        ("dispatch_workflow", "ok"): 1,
        ("dispatch_workflow", "no_reply"): 1,
    }


def test_many_at_once_are_measured_exactly(linear: LinearWorld) -> None:
    def work() -> None:
        for _ in range(5):
            configured().viewer()

    assert at_once(*[work] * 8) == [None] * 8
    assert calls("linear") == {("Viewer", "ok"): 40}


def test_a_measure_is_one_short_transaction_after_the_call(linear: LinearWorld) -> None:
    configured().viewer()
    with CaptureQueriesContext(connection) as queries:
        configured().viewer()
    assert [query["sql"].split()[0] for query in queries] == ["BEGIN", "INSERT", "COMMIT"]


def test_a_call_in_a_transaction_that_may_be_rolled_back_is_refused(linear: LinearWorld) -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        configured().viewer()


def test_what_was_sent_stands_although_it_could_not_be_measured(
    linear: LinearWorld, caplog: pytest.LogCaptureFixture
) -> None:
    issue = linear.opened()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE approvals_tally RENAME TO approvals_tally_gone")
    try:
        configured().comment(issue, uuid4(), "Measured or not.")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE approvals_tally_gone RENAME TO approvals_tally")
    assert "Measured or not." in linear.replies(issue)
    assert "A call to Linear (CommentCreate: ok) could not be measured" in caplog.text
