"""What a signed webhook does: it casts at most one vote, and is always answered with 200."""

import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from approvals import services
from approvals.models import InboundWebhook
from tests.integrations.linear_world import (
    ADA,
    BEN,
    GATEWAY,
    MIGRATE,
    TERRAFORM,
    Json,
    LinearWorld,
    comment_event,
    dumped,
    move_event,
    reaction_event,
    signed,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _people(linear: LinearWorld) -> None:
    linear.people()


def send(event: Json | bytes, **headers: str) -> Json:
    """Sign and post an event; what the gateway answers with 200."""
    body = event if isinstance(event, bytes) else dumped(event)
    response = Client().post(
        "/resume",
        data=body,
        content_type="application/json",
        headers={**signed(body), **headers},
    )
    assert response.status_code == 200
    return dict(response.json())


def test_a_move_to_done_resumes(linear: LinearWorld) -> None:
    request_id = linear.open()
    answer = send(move_event(request_id, "Done"))
    assert answer == {"status": "resumed", "request_id": str(request_id), "workflow_id": "wf-1"}
    row = linear.row(request_id)
    assert (row.status, row.decision_reason) == ("approved", "Moved to Done by Ada Approver")


def test_a_move_to_canceled_rejects(linear: LinearWorld) -> None:
    request_id = linear.open()
    assert send(move_event(request_id, "canceled"))["status"] == "rejected"
    assert linear.row(request_id).decision_reason == "Moved to canceled by Ada Approver"


def test_a_vote_that_does_not_decide_is_recorded_and_the_issue_goes_back(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened(TERRAFORM, agent_name="infrastructure")
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    answer = send(move_event(request_id))
    assert (answer["status"], answer["reason"]) == ("recorded", "1 of 2 approvals")
    linear.deliver()
    assert linear.issue(request_id)["state"] == "Todo"
    assert "1 of 2 approvals" in linear.replies(request_id)[0]
    answer = send(move_event(request_id, actor={"id": BEN, "type": "user", "name": "Ben"}))
    assert answer["status"] == "resumed"


def test_a_move_by_a_stranger_is_refused_and_taken_back(linear: LinearWorld) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Done", "nora", webhook=False)
    stranger = {"id": str(uuid4()), "type": "user", "name": "Nora Norights"}
    answer = send(move_event(request_id, actor=stranger))
    assert answer["status"] == "refused"
    assert answer["reason"] == "Nora Norights is not linked to an approver of this gateway."
    linear.deliver()
    assert linear.issue(request_id)["state"] == "Todo"


def test_the_issue_is_found_by_its_identifier_where_no_id_is_told(linear: LinearWorld) -> None:
    request_id = linear.opened()
    event = move_event(request_id)
    del event["data"]["id"]
    event["data"]["identifier"] = linear.row(request_id).linear_issue_id
    assert send(event)["request_id"] == str(request_id)


@pytest.mark.parametrize("kind", ["a move", "a comment", "a reaction"])
def test_an_issue_that_only_is_called_like_that_of_a_request_decides_nothing(
    linear: LinearWorld, kind: str
) -> None:
    """As after a move to another workspace, where issues are counted from 1 again."""
    request_id = linear.opened(MIGRATE)
    stranger = str(uuid4())
    issue = {"id": stranger, "identifier": linear.row(request_id).linear_issue_id}
    event = {
        "a move": lambda: move_event(stranger),
        "a comment": lambda: comment_event(stranger, "/approve"),
        "a reaction": lambda: reaction_event(stranger, "+1"),
    }[kind]()
    event["data"] |= {"identifier": issue["identifier"]} if kind == "a move" else {"issue": issue}
    answer = send(event)
    assert (answer["status"], answer["request_id"]) == ("ignored", None)
    assert linear.row(request_id).status == "pending"
    assert linear.facts(request_id) == ["request.opened"]


def test_the_same_delivery_is_applied_once(linear: LinearWorld) -> None:
    request_id = linear.open(TERRAFORM, agent_name="infrastructure")
    event = move_event(request_id)
    assert send(event, **{"Linear-Delivery": "d-1"})["status"] == "recorded"
    for delivery in ("d-1", "d-2"):
        answer = send(event, **{"Linear-Delivery": delivery})
        assert (answer["status"], answer["request_id"]) == ("duplicate", str(request_id))
    stamped_again = {**event, "webhookTimestamp": event["webhookTimestamp"] + 1}
    assert send(stamped_again, **{"Linear-Delivery": "d-1"})["status"] == "duplicate"
    assert InboundWebhook.objects.filter(source="linear").count() == 1


@pytest.mark.parametrize(
    "stamp",
    [-61_000, 61_000, None, "soon", True, float("nan"), float("inf"), 10**400],
    ids=["old", "future", "missing", "text", "boolean", "nan", "infinite", "huge"],
)
def test_a_stale_webhook_is_not_acted_on_but_the_issue_is_read(
    linear: LinearWorld, stamp: Any
) -> None:
    request_id = linear.opened()
    event = move_event(request_id)
    if isinstance(stamp, int) and stamp is not True and abs(stamp) < 10**9:
        event["webhookTimestamp"] = int(time.time() * 1000) + stamp
    elif stamp is None:
        del event["webhookTimestamp"]
    else:
        event["webhookTimestamp"] = stamp
    assert send(event)["status"] == "deferred"
    assert linear.row(request_id).status == "pending"
    linear.sandbox.move(str(request_id), "Canceled", "ada", webhook=False)
    linear.deliver()
    assert linear.row(request_id).status == "rejected"


@pytest.mark.parametrize(
    "actor",
    [
        {"id": ADA, "type": "OauthClient", "name": "Release Helper"},
        {"id": ADA, "type": "integration", "service": "github"},
        {"id": GATEWAY, "type": "user", "name": "HITL Gateway"},
        {"type": "user", "name": "Ada Approver"},
        {"id": [ADA], "type": "user"},
        {},
        None,
    ],
    ids=["app", "integration", "the gateway", "no id", "odd id", "empty", "nobody"],
)
def test_what_no_person_did_decides_nothing(linear: LinearWorld, actor: Any) -> None:
    services.create_approver(
        "gateway", email="g@example.com", groups=["release-managers"], linear_user_id=GATEWAY
    )
    request_id = linear.open()
    for event in (move_event(request_id, actor=actor), comment_event(request_id, "/approve")):
        event["actor"] = actor
        answer = send(event)
        assert answer["status"] == "ignored"
        assert answer["request_id"] == str(request_id)
    assert linear.facts(request_id) == ["request.opened"]


def test_while_the_gateways_own_identity_is_unknown_nothing_is_decided(
    linear: LinearWorld, settings: Any
) -> None:
    request_id = linear.open()
    settings.LINEAR_API_KEY = "a key nobody has read the owner of"
    linear.sandbox.fault("linear", "status", status=503)
    assert send(move_event(request_id))["status"] == "deferred"
    assert linear.row(request_id).status == "pending"


@pytest.mark.parametrize(
    "changes",
    [
        {"updatedFrom": {"title": "before"}},
        {"updatedFrom": {"stateId": "new"}},
        {"updatedFrom": None},
        {"action": "create"},
        {"action": "remove"},
        {"type": "Project"},
        {"type": ["Issue"]},
        {"data": []},
        {"data": None},
    ],
    ids=str,
)
def test_any_other_event_about_an_issue_is_ignored(linear: LinearWorld, changes: Json) -> None:
    request_id = linear.open()
    assert send(move_event(request_id, **changes))["status"] == "ignored"
    assert linear.facts(request_id) == ["request.opened"]


@pytest.mark.parametrize("away", [{"trashed": True}, {"archivedAt": "2026-11-20T10:15:30.123Z"}])
def test_an_issue_that_is_put_away_is_no_approval(linear: LinearWorld, away: Json) -> None:
    request_id = linear.open()
    event = move_event(request_id)
    event["data"].update(away)
    answer = send(event)
    assert (answer["status"], answer["reason"]) == (
        "ignored",
        "the issue was put away, which decides nothing",
    )


def test_an_unknown_issue_is_ignored(linear: LinearWorld) -> None:
    answer = send(move_event(uuid4()))
    assert (answer["status"], answer["request_id"]) == ("ignored", None)
    assert send(move_event("CHEF-1'; --"))["status"] == "ignored"


def test_a_decided_request_refuses_the_next_move(linear: LinearWorld) -> None:
    request_id = linear.open()
    send(move_event(request_id))
    answer = send(move_event(request_id, "Canceled"))
    assert answer["status"] == "refused"
    assert "already approved by ada" in answer["reason"]
    assert linear.row(request_id).status == "approved"


def test_who_moves_an_issue_too_late_is_told_there(linear: LinearWorld) -> None:
    request_id = linear.opened()
    send(move_event(request_id))
    linear.deliver()
    linear.sandbox.move(str(request_id), "Canceled", "ben", webhook=False)
    send(move_event(request_id, "Canceled"))
    linear.deliver()
    assert linear.issue(request_id)["state"] == "Done"
    assert "came too late" in linear.replies(request_id)[-1]


@pytest.mark.parametrize(
    ("body", "status", "request_status"),
    [
        ("/approve canary looked clean", "resumed", "approved"),
        ("  /APPROVE", "resumed", "approved"),
        ("/reject the canary fell over", "rejected", "rejected"),
        ("/reject", "refused", "pending"),
        ("/approved", "ignored", "pending"),
        ("I would /approve", "ignored", "pending"),
        ("", "ignored", "pending"),
    ],
)
def test_a_comment_votes_by_a_command_at_its_start(
    linear: LinearWorld, body: str, status: str, request_status: str
) -> None:
    request_id = linear.open(MIGRATE)
    assert send(comment_event(request_id, body))["status"] == status
    row = linear.row(request_id)
    assert row.status == request_status
    if request_status != "pending":
        assert row.decision_reason == body.partition(" ")[2].strip().removeprefix("/APPROVE")


def test_a_comment_is_heard_once_however_it_is_stamped(linear: LinearWorld) -> None:
    request_id = linear.open(
        {**MIGRATE, "operation": "terraform_apply", "environment": "production"},
        agent_name="infrastructure",
    )
    event = comment_event(request_id, "/approve")
    assert send(event)["status"] == "recorded"
    assert send({**event, "webhookTimestamp": event["webhookTimestamp"] + 5})["status"] == (
        "duplicate"
    )


@pytest.mark.parametrize(
    "change",
    [{"editedAt": "2026-11-20T10:15:30.123Z"}, {"userId": BEN}, {"botActor": "{}"}],
    ids=["edited", "of another", "by a bot"],
)
def test_a_comment_that_is_not_the_actors_own_new_words_is_ignored(
    linear: LinearWorld, change: Json
) -> None:
    request_id = linear.open(MIGRATE)
    event = comment_event(request_id, "/approve")
    event["data"].update(change)
    assert send(event)["status"] == "ignored"
    assert send(comment_event(request_id, "/approve", action="update"))["status"] == "ignored"


@pytest.mark.parametrize(
    ("emoji", "status"),
    [("+1", "resumed"), ("-1", "rejected"), ("thumbsup", "resumed"), ("eyes", "ignored")],
)
def test_a_thumb_on_the_issue_votes(linear: LinearWorld, emoji: str, status: str) -> None:
    request_id = linear.open(MIGRATE)
    assert send(reaction_event(request_id, emoji))["status"] == status


@pytest.mark.parametrize(("author", "status"), [(GATEWAY, "resumed"), (BEN, "ignored")])
def test_a_thumb_on_a_comment_votes_only_where_the_comment_is_the_gateways(
    linear: LinearWorld, author: str, status: str
) -> None:
    request_id = linear.open(MIGRATE)
    comment = {"id": str(uuid4()), "issueId": str(request_id), "userId": author}
    event = reaction_event(request_id, "+1", issueId=None, comment=comment)
    event["data"]["commentId"] = comment["id"]
    assert send(event)["status"] == status


@pytest.mark.parametrize("event", [comment_event, reaction_event])
def test_a_critical_request_takes_no_casual_vote(linear: LinearWorld, event: Any) -> None:
    request_id: UUID = linear.open()
    answer = send(event(request_id, "/approve" if event is comment_event else "+1"))
    assert answer["status"] == "refused"
    assert "critical request is decided by moving the issue" in answer["reason"]
    assert linear.facts(request_id) == ["request.opened", "vote.refused"]


def test_a_comment_beyond_what_can_be_kept_is_refused(linear: LinearWorld) -> None:
    request_id = linear.open(MIGRATE)
    assert send(comment_event(request_id, "/approve " + "x" * 1_000_000))["status"] == "refused"
    assert linear.row(request_id).status == "pending"
