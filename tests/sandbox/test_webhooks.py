"""The stand-in Linear sends webhooks as the real one does."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from graphql import GraphQLObjectType, GraphQLSchema, build_schema

from tests.sandbox.conftest import SECRET
from tests.sandbox.linear_calls import LABEL_ID, create_issue
from tests.sandbox.receiver import Receiver
from tests.sandbox_process import Sandbox
from tests.tools import require_contracts
from tests.waiting import eventually

DATA_TYPES = {
    "Issue": "IssueWebhookPayload",
    "Comment": "CommentWebhookPayload",
    "Reaction": "ReactionWebhookPayload",
}


def shape(value: object) -> object:
    """Keys and types; numbers are one type, as in JSON, and lists count by their first item."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def newest(sandbox: Sandbox, receiver: Receiver) -> Any:
    """The body, as received, of the webhook queued last; several may arrive in any order."""
    return json.loads(receiver.get(sandbox.webhooks()[-1]["delivery"]).body)


def done(sandbox: Sandbox, issue_id: str) -> None:
    sandbox.move(issue_id, "Done", "ada")


def canceled(sandbox: Sandbox, issue_id: str) -> None:
    sandbox.move(issue_id, "Canceled", "ada")


def commented(sandbox: Sandbox, issue_id: str) -> None:
    sandbox.comment(issue_id, "/approve canary looked clean", "ada")


@pytest.mark.parametrize(
    ("sample", "act"),
    [
        ("issue_done.json", done),
        ("issue_canceled.json", canceled),
        ("comment_create.json", commented),
    ],
)
def test_bodies_have_the_keys_and_types_of_the_samples(
    linear: httpx.Client,
    sandbox: Sandbox,
    receiver: Receiver,
    sample: str,
    act: Callable[[Sandbox, str], None],
) -> None:
    wanted = json.loads((require_contracts() / "linear" / sample).read_text("utf-8"))
    issue = create_issue(linear, labelIds=[LABEL_ID], description="Risk: critical", priority=1)
    act(sandbox, issue["id"])
    body = newest(sandbox, receiver)
    assert shape(body) == shape(wanted)
    assert {key: body[key] for key in ("action", "type", "actor")} | {"url": None} == {
        key: wanted[key] for key in ("action", "type")
    } | {"actor": {**wanted["actor"], "url": body["actor"]["url"]}, "url": None}


def test_a_reaction_has_the_keys_and_types_of_the_sample(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    wanted = json.loads(
        (require_contracts() / "linear" / "reaction_create.json").read_text("utf-8")
    )
    issue = create_issue(linear)
    comment = sandbox.comment(issue["id"], "React +1 or -1", "gateway")
    sandbox.react(issue["id"], "+1", "ada", comment_id=comment["id"])
    body = newest(sandbox, receiver)
    assert shape(body) == shape(wanted)
    assert body["data"]["emoji"] == "+1"
    assert body["data"]["comment"]["issueId"] == issue["id"]


def test_every_field_of_every_event_is_one_of_linears(
    linear: httpx.Client, sandbox: Sandbox
) -> None:
    text = (require_contracts() / "linear" / "schema.graphql").read_text("utf-8")
    schema = build_schema(text, assume_valid=True)
    issue = create_issue(
        linear, labelIds=[LABEL_ID], projectId="5a3f9c1e-6d2b-4c8f-9e07-3b1d8a4c6f52"
    )
    for actor in ("bot", "app", "nobody", "ada"):
        sandbox.move(issue["id"], "In Progress", actor)
        sandbox.move(issue["id"], "Done", actor)
        comment = sandbox.comment(issue["id"], "Merged", actor)
        sandbox.react(issue["id"], "+1", actor)
    sandbox.react(issue["id"], "-1", "ada", comment_id=comment["id"])
    sandbox.edit_comment(comment["id"], "Edited", "ada")
    sandbox.trash(issue["id"], action="update")
    sandbox.trash(issue["id"])
    bodies = [json.loads(webhook["body"]) for webhook in sandbox.webhooks()]
    assert {(body["type"], body["action"]) for body in bodies} == {
        ("Issue", "create"), ("Issue", "update"), ("Issue", "remove"),
        ("Comment", "create"), ("Comment", "update"), ("Reaction", "create"),
    }  # fmt: skip
    for body in bodies:
        assert list(_strangers(schema, "EntityWebhookPayload", {**body, "data": {}})) == []
        assert list(_strangers(schema, DATA_TYPES[body["type"]], body["data"])) == []


def _strangers(schema: GraphQLSchema, type_name: str, value: dict[str, Any]) -> Iterator[str]:
    """Fields that Linear's payload type does not have, and its required ones that are missing."""
    payload = schema.type_map[type_name]
    assert isinstance(payload, GraphQLObjectType)
    for name, field in payload.fields.items():
        if str(field.type).endswith("!") and value.get(name) is None and name != "data":
            yield f"{type_name}.{name} is missing"
    for name, item in value.items():
        if name not in payload.fields:
            yield f"{type_name} has no {name}"
            continue
        inner = str(payload.fields[name].type).strip("[]!")
        for part in item if isinstance(item, list) else [item]:
            if isinstance(part, dict) and inner.endswith("ChildWebhookPayload"):
                yield from _strangers(schema, inner, part)


def test_headers_and_signature_are_linears(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    before_ms = time.time() * 1000
    issue = create_issue(linear, "Grüße aus der Küche")
    sandbox.move(issue["id"], "Done")
    received = receiver.get(sandbox.webhooks()[-1]["delivery"])
    headers, body = received.headers, json.loads(received.body)
    expected = hmac.new(SECRET.encode(), received.body, hashlib.sha256).hexdigest()
    assert headers["Linear-Signature"] == expected
    assert UUID(headers["Linear-Delivery"]).version == 4
    assert headers["Linear-Event"] == "Issue"
    assert headers["User-Agent"] == "Linear-Webhook"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Linear-Timestamp"] == str(body["webhookTimestamp"])
    assert before_ms - 1 <= body["webhookTimestamp"] <= time.time() * 1000 + 1


def test_the_gateways_own_changes_are_sent_too(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    create_issue(linear)
    body = newest(sandbox, receiver)
    assert (body["type"], body["action"]) == ("Issue", "create")
    assert body["actor"]["name"] == "HITL Gateway"
    assert "updatedFrom" not in body


@pytest.mark.parametrize(
    ("handle", "actor"),
    [
        ("bot", {"type": "Integration", "service": "github"}),
        ("app", {"type": "OauthClient", "name": "Release Helper"}),
        ("nobody", None),
    ],
)
def test_an_actor_may_be_no_person(
    linear: httpx.Client,
    sandbox: Sandbox,
    receiver: Receiver,
    handle: str,
    actor: dict[str, str] | None,
) -> None:
    issue = create_issue(linear)
    sandbox.move(issue["id"], "Done", handle)
    found = newest(sandbox, receiver)["actor"]
    assert found is None if actor is None else actor.items() <= found.items()


def test_a_later_edit_of_a_done_issue_does_not_say_that_it_moved(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    issue = create_issue(linear)
    sandbox.move(issue["id"], "Done")
    edit = 'mutation { issueUpdate(id: "CHEF-1", input: {title: "New"}) { success } }'
    linear.post("/linear/graphql", json={"query": edit})
    body = newest(sandbox, receiver)
    assert body["data"]["state"]["type"] == "completed"
    assert set(body["updatedFrom"]) == {"title", "updatedAt"}


def test_what_changes_nothing_sends_nothing(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    issue = create_issue(linear)
    sandbox.move(issue["id"], "Todo")
    sandbox.react(issue["id"])
    sandbox.react(issue["id"])
    receiver.wait_for(2)
    assert [webhook["event"] for webhook in sandbox.webhooks()] == ["Issue", "Reaction"]


def test_anything_but_200_is_sent_again_the_same(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.answers = [500, 204, 401]
    create_issue(linear)
    received = receiver.wait_for(4)
    assert len({(r.headers["Linear-Delivery"], r.body) for r in received}) == 1
    waits = [later.at - earlier.at for earlier, later in pairwise(received)]
    assert all(wait >= delay for wait, delay in zip(waits, (0.1, 0.2, 0.4), strict=True))
    eventually(lambda: sandbox.webhooks()[0]["state"] == "delivered", "it is delivered")
    [webhook] = sandbox.webhooks()
    assert [attempt["status"] for attempt in webhook["attempts"]] == [500, 204, 401, 200]


def test_a_webhook_is_given_up_after_the_last_retry(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.answers = [500] * 10
    create_issue(linear)
    eventually(lambda: sandbox.webhooks()[0]["state"] == "failed", "it is given up")
    [webhook] = sandbox.webhooks()
    assert len(webhook["attempts"]) == 4
    assert len(receiver.wait_for(4)) == 4


def test_a_receiver_that_is_down_gets_it_when_it_is_back(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.send_webhooks_to("http://127.0.0.1:9/resume")
    create_issue(linear)
    eventually(lambda: bool(sandbox.webhooks()[0]["attempts"]), "the first attempt has failed")
    sandbox.send_webhooks_to(receiver.url)
    assert newest(sandbox, receiver)["type"] == "Issue"


def test_a_slow_receiver_holds_up_neither_the_server_nor_other_webhooks(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.slow_seconds = 4.0
    issue = create_issue(linear)
    for state in ("Done", "Todo", "Canceled"):
        sandbox.move(issue["id"], state)
    receiver.wait_for(4)
    assert [webhook["attempts"] for webhook in sandbox.webhooks()] == [[]] * 4


def test_an_answer_after_five_seconds_counts_as_none(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    receiver.slow_seconds = 7.0
    create_issue(linear)
    receiver.wait_for(2)
    attempt = sandbox.webhooks()[0]["attempts"][0]
    assert attempt["status"] is None
    assert "5 s" in attempt["answer"]


def test_a_lost_webhook_never_comes_but_the_history_tells(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    issue = create_issue(linear)
    sandbox.move(issue["id"], "Done", "ben", webhook=False)
    sandbox.comment(issue["id"], "after it", "ben")
    events = {received.headers["Linear-Event"] for received in receiver.wait_for(2)}
    assert events == {"Issue", "Comment"}
    assert [w["state"] for w in sandbox.webhooks("Issue", "update")] == ["lost"]
    assert sandbox.issue(issue["id"])["history"][0]["actor"] == "ben"


def test_one_webhook_is_sent_twelve_times_at_once(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    create_issue(linear)
    receiver.wait_for(1)
    answers = sandbox.resend(sandbox.webhooks()[0]["id"], 12, concurrently=True)
    assert answers == [{"status": 200, "body": {"status": "recorded"}}] * 12
    received = receiver.wait_for(13)
    assert len({(r.headers["Linear-Delivery"], r.body) for r in received}) == 1


def test_what_is_still_owed_is_sent_after_a_crash(data_dir: Path, receiver: Receiver) -> None:
    first = Sandbox.start(data_dir, "http://127.0.0.1:9/", SECRET, retry_delays=(1.0,) * 60)
    headers = {"Authorization": "sandbox-gateway-key"}
    with httpx.Client(base_url=first.url, headers=headers) as client:
        create_issue(client)
    [owed] = first.webhooks()
    first.kill()
    second = Sandbox.start(data_dir, receiver.url, SECRET)
    try:
        assert receiver.wait_for(1)[0].headers["Linear-Delivery"] == owed["delivery"]
    finally:
        second.stop()
