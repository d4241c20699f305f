"""Webhooks that arrive together, over real HTTP from the sandbox."""

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from approvals.models import InboundWebhook
from tests.integrations.linear_world import LinearWorld
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def answered(linear: LinearWorld, live_server: LiveServer) -> Iterator[LinearWorld]:
    """The world with the sandbox sending its webhooks to the gateway."""
    linear.people()
    linear.sandbox.send_webhooks_to(f"{live_server.url}/resume")
    yield linear
    # The tables are emptied next: nobody may be writing to them any more.
    eventually(
        lambda: all(hook["state"] != "waiting" for hook in linear.sandbox.webhooks()),
        "every webhook is answered",
    )
    linear.sandbox.send_webhooks_to(None)


def answers(world: LinearWorld) -> list[Any]:
    """What the moves' webhooks were answered, in order."""
    return [
        (attempt["status"], attempt["answer"])
        for webhook in world.sandbox.webhooks("Issue", "update")
        for attempt in webhook["attempts"]
    ]


def test_moving_the_issue_in_linear_resumes(answered: LinearWorld) -> None:
    request_id = answered.opened()
    answered.sandbox.move(str(request_id), "Done", "ada")
    eventually(lambda: bool(answers(answered)), "the webhook is answered")
    ((status, answer),) = answers(answered)
    assert (status, answer["status"]) == (200, "resumed")
    assert answered.row(request_id).status == "approved"
    answered.deliver()
    assert answered.facts(request_id) == ["request.opened", "vote.cast", "request.approved"]


def test_twelve_identical_webhooks_at_once_cast_one_vote(answered: LinearWorld) -> None:
    request_id = answered.opened()
    answered.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    (lost,) = answered.sandbox.webhooks("Issue", "update")
    got = answered.sandbox.resend(lost["id"], 12, concurrently=True)
    assert [answer["status"] for answer in got] == [200] * 12
    statuses = sorted(answer["body"]["status"] for answer in got)
    assert statuses == ["duplicate"] * 11 + ["resumed"]
    assert answered.facts(request_id) == ["request.opened", "vote.cast", "request.approved"]
    assert InboundWebhook.objects.filter(source="linear", outcome="resumed").count() == 1


def test_the_gateways_own_moves_and_comments_are_ignored(answered: LinearWorld) -> None:
    request_id = answered.opened()
    answered.sandbox.move(str(request_id), "Done", "nora")
    eventually(lambda: bool(answers(answered)), "the stranger's move is answered")
    answered.deliver()
    eventually(lambda: len(answers(answered)) == 2, "the gateway's move back is answered")
    said = [answer["status"] for _, answer in answers(answered)]
    assert said == ["refused", "ignored"]
    assert answered.row(request_id).status == "pending"
