"""Every signed webhook that was answered counts, once, with what it was answered."""

from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from approvals.models import InboundWebhook, Tally
from integrations import webhooks
from tests.approvals.scenes import at_once
from tests.integrations.linear_world import (
    MIGRATE,
    LinearWorld,
    comment_event,
    dumped,
    move_event,
    signed,
)
from tests.integrations.test_webhook_votes import send
from tests.metrics_page import Page

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _people(linear: LinearWorld) -> None:
    linear.people()


def answered() -> dict[str, float]:
    """How many webhooks of Linear got each answer."""
    found = Page.scrape().all("hitl_inbound_webhooks_total")
    assert {source for _, source in found} <= {"linear"}
    return {outcome: number for (outcome, _), number in found.items()}


def test_every_outcome_starts_at_zero(linear: LinearWorld) -> None:
    page = Page.scrape()
    outcomes = "resumed rejected recorded refused duplicate ignored deferred"
    for outcome in outcomes.split():
        labels = {"source": "linear", "outcome": outcome}
        assert page.value("hitl_inbound_webhooks_total", **labels) == 0


def test_each_answer_counts_as_itself(linear: LinearWorld) -> None:
    approved, rejected, refused = (linear.open(MIGRATE) for _ in range(3))
    move = move_event(approved)
    for event in (
        move,
        move,
        {**move, "webhookId": str(uuid4())},
        move_event(rejected, "Canceled"),
        move_event(refused, actor={"id": str(uuid4()), "type": "user", "name": "Nora"}),
        move_event(uuid4()),
        b"[]",
        b"[]",
        move_event(refused, webhookTimestamp=1),
    ):
        send(event)
    assert answered() == {
        "resumed": 1,
        "duplicate": 2,
        "refused": 2,
        "rejected": 1,
        "ignored": 2,
        "deferred": 1,
    }


def test_what_was_heard_before_is_a_duplicate_each_time(linear: LinearWorld) -> None:
    request_id = linear.open(MIGRATE)
    event = comment_event(request_id, "/approve")
    for more in range(4):
        send({**event, "webhookTimestamp": event["webhookTimestamp"] + more})
    assert answered() == {"resumed": 1, "duplicate": 3}


def test_what_is_not_signed_or_too_large_reaches_no_table(
    linear: LinearWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = dumped(move_event(linear.open()))
    monkeypatch.setattr(webhooks, "MAX_BODY_BYTES", len(body))
    with CaptureQueriesContext(connection) as queries:
        for headers, sent in (({}, body), (signed(b"another"), body), (signed(body), body + b" ")):
            response = Client().post(
                "/resume", sent, content_type="application/json", headers=headers
            )
            assert response.status_code in {401, 413}
    assert len(queries) == 0
    assert (Tally.objects.count(), InboundWebhook.objects.count()) == (0, 0)


def test_counting_adds_one_statement(linear: LinearWorld) -> None:
    body = dumped(move_event(uuid4()))
    with CaptureQueriesContext(connection) as queries:
        Client().post("/resume", body, content_type="application/json", headers=signed(body))
    ours = [query for query in queries if Tally._meta.db_table in query["sql"]]
    assert len(ours) == 1


def test_a_webhook_that_failed_half_way_is_not_counted(
    linear: LinearWorld, settings: Settings
) -> None:
    request_id = linear.open(MIGRATE)
    body = dumped(move_event(request_id))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE approvals_vote RENAME TO approvals_vote_gone")
    try:
        client = Client(raise_request_exception=False)
        answer = client.post("/resume", body, "application/json", headers=signed(body))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE approvals_vote_gone RENAME TO approvals_vote")
    assert answer.status_code == 500
    assert answered() == {}


def test_many_at_once_over_http_are_counted_exactly(
    linear: LinearWorld, live_server: LiveServer
) -> None:
    linear.sandbox.send_webhooks_to(None)
    request_id = linear.opened(MIGRATE)
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    (lost,) = linear.sandbox.webhooks("Issue", "update")
    linear.sandbox.send_webhooks_to(f"{live_server.url}/resume")
    answers = linear.sandbox.resend(lost["id"], 12, concurrently=True)
    linear.sandbox.send_webhooks_to(None)
    assert [answer["status"] for answer in answers] == [200] * 12
    assert answered() == {"resumed": 1, "duplicate": 11}


def test_refusals_of_many_webhooks_at_once_are_counted_with_them(linear: LinearWorld) -> None:
    requests = [linear.open(MIGRATE) for _ in range(3)]
    stranger = {"id": str(uuid4()), "type": "user", "name": "Nora"}

    def work() -> None:
        for request_id in requests:
            send(move_event(request_id, actor=stranger))

    assert at_once(*[work] * 4) == [None] * 4
    assert answered() == {"refused": 12}
    assert Page.scrape().all("hitl_votes_refused_total") == {("unknown_person",): 12}
