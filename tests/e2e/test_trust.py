"""Whose word counts, and what nobody can change afterwards."""

import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from hitl_project.embedded import APP, OWNER
from tests.e2e.gateway import Gateway
from tests.waiting import eventually

OWNER_URL = "DATABASE_OWNER_URL"


def send(gateway: Gateway, body: bytes, secret: str) -> httpx.Response:
    """A webhook as Linear sends it, signed with this secret."""
    headers = {
        "Content-Type": "application/json",
        "Linear-Delivery": str(uuid4()),
        "Linear-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }
    return gateway.stack.http.post("/resume", content=body, headers=headers)


def moved_to_done(gateway: Gateway, request_id: str, *, seconds_ago: float = 0) -> bytes:
    """What Linear would send about Ada's move, which it is kept from sending."""
    gateway.sandbox.move(request_id, "Done", "ada", webhook=False)
    sent = gateway.webhook(request_id, "Ada Approver moved it to Done")
    body: dict[str, Any] = json.loads(sent["body"])
    body["webhookTimestamp"] = int((time.time() - seconds_ago) * 1000)
    return json.dumps(body).encode()


def test_a_webhook_with_a_wrong_signature_is_refused_and_leaves_nothing(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    gateway.wait_until_told(issue["id"], "linear")
    body = moved_to_done(gateway, issue["id"])
    digest = hashlib.sha256(body).hexdigest()
    assert send(gateway, body, "another secret").status_code == 401
    kept = "SELECT 1 FROM approvals_inboundwebhook WHERE body_digest = %s"
    assert gateway.stack.rows(kept, digest) == []
    assert gateway.approval(issue["id"])["status"] == "pending"
    # The same body, rightly signed, decides.
    answer = send(gateway, body, gateway.stack.webhook_secret)
    assert (answer.status_code, answer.json()["status"]) == (200, "resumed")
    run.wait("completed")
    assert len(run.effects()) == 1


def test_a_stale_webhook_decides_nothing_but_the_issue_is_read_instead(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    gateway.wait_until_told(issue["id"], "linear")
    body = moved_to_done(gateway, issue["id"], seconds_ago=3600)
    answer = send(gateway, body, gateway.stack.webhook_secret)
    assert (answer.status_code, answer.json()["status"]) == (200, "deferred")
    run.wait("completed")
    assert len(run.effects()) == 1
    assert gateway.approval(issue["id"])["approved_by"] == "ada"


def test_a_stale_webhook_that_the_issue_does_not_bear_out_decides_nothing(
    gateway: Gateway,
) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    body = moved_to_done(gateway, issue["id"], seconds_ago=3600)
    body = body.replace(issue["id"].encode(), gateway.ask("deploy").request().encode())
    other = json.loads(body)["data"]["id"]
    gateway.issue(other)
    gateway.wait_until_told(other, "linear")
    assert send(gateway, body, gateway.stack.webhook_secret).json()["status"] == "deferred"
    gateway.wait_until_told(other, "linear")
    assert gateway.approval(other)["status"] == "pending"


@pytest.mark.parametrize(
    ("mover", "status", "reason"),
    [
        ("gateway", "ignored", "this is the gateway's own doing"),
        ("bot", "ignored", "only a person of the workspace can decide"),
        ("nora", "refused", "Nora Norights is not linked to an approver of this gateway."),
        ("rosa", "refused", "Whoever asked for an operation may not decide it."),
    ],
)
def test_a_move_by_somebody_without_the_right_decides_nothing(
    gateway: Gateway, mover: str, status: str, reason: str
) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    gateway.sandbox.move(issue["identifier"], "Done", mover)
    answer = gateway.answer_to_last(issue["id"])
    assert (answer["status"], answer["reason"]) == (status, reason)
    if status == "refused":
        gateway.issue(issue["id"], state="Todo", comment="does not count")
    assert gateway.approval(issue["id"])["status"] == "pending"
    assert (run.view()["status"], run.effects()) == ("waiting", [])


def test_a_token_that_asks_cannot_decide(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    request_id = run.request()
    answer = gateway.approve(request_id, who="rosa")
    assert (answer.status_code, "scope decide" in answer.json()["detail"]) == (403, True)
    assert gateway.approval(request_id)["status"] == "pending"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals_auditentry SET actor = 'nobody'",
        "DELETE FROM approvals_auditentry",
        "TRUNCATE approvals_auditentry",
    ],
)
def test_the_applications_role_cannot_change_the_log(gateway: Gateway, statement: str) -> None:
    with (
        gateway.stack.connection() as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_every_process_that_serves_connects_as_the_application(gateway: Gateway) -> None:
    gateway.ask("deploy").request()
    assert f"//{OWNER}:" in gateway.stack.environment[OWNER_URL]
    connected = gateway.stack.rows(
        "SELECT usename, count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY usename"
    )
    assert [row["usename"] for row in connected] == [APP]
    assert connected[0]["count"] >= len(gateway.stack.parts) - 1


@pytest.mark.parametrize(
    ("name", "options"),
    [("web", "--port 0"), ("worker", "--queues nobodys --concurrency 1")],
)
def test_a_process_that_serves_as_the_owner_says_so(
    gateway: Gateway, name: str, options: str
) -> None:
    stack, told = gateway.stack, "may change or delete audit entries"
    owners, address = f"{name}-as-owner", stack.environment[OWNER_URL]
    stack.run(owners, name, *options.split(), more={"DATABASE_URL": address})
    eventually(lambda: told in stack.log(owners).read_text(), "it says what is out of place")
    stack.kill(owners)
    assert [part for part in stack.parts if told in stack.log(part).read_text()] == []
