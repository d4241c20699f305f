"""What is not Linear's, or not sensible, is refused or made harmless before it reaches a table."""

import logging

import pytest
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from approvals.models import InboundWebhook, Tally
from tests.integrations.linear_world import (
    MIGRATE,
    WEBHOOK_SECRET,
    LinearWorld,
    comment_event,
    dumped,
    move_event,
    signed,
)

pytestmark = pytest.mark.django_db


def post(body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Post a body; the status and the answer."""
    response = Client().post("/resume", body, content_type="application/json", headers=headers)
    return response.status_code, response.json()


@pytest.mark.parametrize(
    "signature",
    [None, "", "0" * 64, "ü" * 64, "sha256=" + "0" * 64],
    ids=["missing", "empty", "wrong", "not ascii", "prefixed"],
)
def test_without_a_right_signature_nothing_is_stored(
    linear: LinearWorld, signature: str | None
) -> None:
    body = dumped(move_event(linear.open()))
    headers = {} if signature is None else {"Linear-Signature": signature}
    assert post(body, headers)[0] == 401
    assert InboundWebhook.objects.count() == 0


def test_a_signature_of_another_body_or_secret_is_wrong(linear: LinearWorld) -> None:
    body = dumped(move_event(linear.open()))
    assert post(body + b" ", signed(body))[0] == 401
    assert post(body, signed(body, "another secret"))[0] == 401
    upper = {"Linear-Signature": signed(body)["Linear-Signature"].upper()}
    assert post(body, upper)[0] == 401


@pytest.mark.parametrize("secrets", [[], [""]])
def test_without_a_secret_nothing_is_believed(
    linear: LinearWorld, settings: Settings, secrets: list[str]
) -> None:
    settings.LINEAR_WEBHOOK_SECRETS = secrets
    body = dumped(move_event(linear.open()))
    assert post(body, signed(body, ""))[0] == 401


def test_two_secrets_are_accepted_while_rotating(linear: LinearWorld, settings: Settings) -> None:
    linear.people()
    settings.LINEAR_WEBHOOK_SECRETS = ["the new secret", WEBHOOK_SECRET]
    for secret in settings.LINEAR_WEBHOOK_SECRETS:
        body = dumped(move_event(linear.open()))
        assert post(body, signed(body, secret))[1]["status"] == "resumed"


def test_what_the_previous_secret_still_signs_is_counted_and_logged(
    linear: LinearWorld,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    settings.LINEAR_WEBHOOK_SECRETS = ["the new secret", WEBHOOK_SECRET]
    caplog.set_level(logging.INFO, "integrations.webhooks")
    for number, secret in enumerate(["the new secret", WEBHOOK_SECRET, WEBHOOK_SECRET]):
        body = dumped(move_event(f"unknown-{number}"))
        with django_capture_on_commit_callbacks(execute=True):
            assert post(body, signed(body, secret))[0] == 200
    counted = Tally.objects.filter(metric="hitl_inbound_webhooks_previous_secret_total")
    assert sum(counted.values_list("count", flat=True)) == 2
    logged = [vars(line)["facts"]["secret"] for line in caplog.records]
    assert logged == ["current", "previous", "previous"]


def test_a_body_over_five_megabytes_is_refused_unread(linear: LinearWorld) -> None:
    body = b"x" * (5 * 1024 * 1024 + 1)
    assert post(body, signed(body))[0] == 413
    assert InboundWebhook.objects.count() == 0


def test_a_body_of_megabytes_is_taken(linear: LinearWorld) -> None:
    linear.people()
    event = move_event(linear.open())
    event["data"]["description"] = "x" * (4 * 1024 * 1024)
    body = dumped(event)
    assert post(body, signed(body))[1]["status"] == "resumed"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"[" * 200_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"type": "Issue\\u0000"}',
        b'{"type": "Issue", "data": {"id": "\\ud800"}}',
        b'{"type": "Issue", "data": {"\\udfff": 1}}',
        b'{"a": "\x00"}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_not_an_event_is_ignored_with_a_reason(linear: LinearWorld, body: bytes) -> None:
    status, answer = post(body, signed(body))
    assert (status, answer["status"]) == (200, "ignored")
    assert answer["reason"]
    assert InboundWebhook.objects.get().outcome == "ignored"
    assert post(body, signed(body))[1]["status"] == "duplicate"


def test_a_nul_in_a_comment_decides_nothing(linear: LinearWorld) -> None:
    linear.people()
    request_id = linear.open(MIGRATE)
    body = dumped(comment_event(request_id, "/approve \x00"))
    assert post(body, signed(body))[1]["status"] == "ignored"
    assert linear.row(request_id).status == "pending"


def test_a_backslash_before_an_escape_is_no_nul(linear: LinearWorld) -> None:
    linear.people()
    request_id = linear.open(MIGRATE)
    body = dumped(comment_event(request_id, "/approve C:\\u0000"))
    assert post(body, signed(body))[1]["status"] == "resumed"
    assert linear.row(request_id).decision_reason == "C:\\u0000"


def test_a_name_of_control_characters_is_stored_harmlessly(linear: LinearWorld) -> None:
    request_id = linear.open()
    event = move_event(request_id)
    event["actor"] = {"id": "stranger", "type": "user", "name": "\u202eadA\x07" + "y" * 5_000}
    body = dumped(event)
    answer = post(body, signed(body))[1]
    assert answer["status"] == "refused"
    assert "\u202e" not in answer["reason"]


def test_an_actor_with_no_possible_id_is_nobody(linear: LinearWorld) -> None:
    event = move_event(linear.open())
    event["actor"]["id"] = "x" * 5_000
    body = dumped(event)
    assert post(body, signed(body))[1]["status"] == "ignored"


def test_only_post_is_answered(linear: LinearWorld) -> None:
    assert Client().get("/resume").status_code == 405
