"""What lost webhooks would have told is read back from Linear, many issues in one query."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError

from approvals import actors, services
from approvals.core.lifecycle import Choice, Via
from integrations.linear import client, reconcile
from integrations.linear.issue import parse_issue
from integrations.tasks import reconcile_linear
from tests.approvals.scenes import write_policy_of_another_release
from tests.integrations.linear_world import LinearWorld

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _people(linear: LinearWorld) -> None:
    linear.people()


def test_moves_without_webhooks_are_found_for_all_pending_requests_in_one_query(
    linear: LinearWorld,
) -> None:
    ids = [linear.opened() for _ in range(3)]
    linear.sandbox.move(str(ids[0]), "Done", "ada", webhook=False)
    linear.sandbox.move(str(ids[1]), "Canceled", "ben", webhook=False)
    before = len(linear.sandbox.requests("linear", "issues"))
    reconcile_linear()
    assert len(linear.sandbox.requests("linear", "issues")) == before + 1
    assert [linear.row(request_id).status for request_id in ids] == [
        "approved",
        "rejected",
        "pending",
    ]


def test_a_move_is_counted_once_however_often_it_is_read(linear: LinearWorld) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Done", "nora", webhook=False)
    reconcile_linear()
    reconcile_linear()
    linear.deliver()
    assert linear.facts(request_id) == ["request.opened", "vote.refused"]
    assert linear.issue(request_id)["state"] == "Todo"
    assert "is not linked to an approver" in linear.replies(request_id)[0]
    calls = len(linear.sandbox.requests("linear"))
    reconcile_linear()
    linear.deliver()
    assert len(linear.sandbox.requests("linear")) == calls + 1


def test_what_was_refused_stays_refused_when_the_right_comes_later(linear: LinearWorld) -> None:
    request_id = linear.opened()
    linear.ada().groups.clear()
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    reconcile_linear()
    linear.people()
    reconcile_linear()
    linear.deliver()
    assert linear.row(request_id).status == "pending"


def test_linear_being_down_is_left_to_the_next_tick(linear: LinearWorld) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    linear.sandbox.fault("linear", "status", status=503, times=1)
    reconcile_linear()
    assert linear.row(request_id).status == "pending"
    reconcile_linear()
    assert linear.row(request_id).status == "approved"


def test_a_long_history_is_read_to_its_end(linear: LinearWorld) -> None:
    request_id = linear.opened()
    for number in range(30):
        state = "In Progress" if number % 2 == 0 else "Todo"
        linear.sandbox.move(str(request_id), state, "ben", webhook=False)
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    linear.sandbox.move(str(request_id), "Todo", "ben", webhook=False)
    for _ in range(25):
        linear.sandbox.move(str(request_id), "Backlog", "ben", webhook=False)
        linear.sandbox.move(str(request_id), "Todo", "ben", webhook=False)
    reconcile_linear()
    assert linear.row(request_id).status == "approved"


def test_a_late_move_whose_webhook_was_lost_is_found_for_a_while(
    linear: LinearWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = linear.opened()
    actor = actors.user_actor(linear.ada(), Via.WEB)
    services.cast_vote(request_id, actor=actor, choice=Choice.REJECT, comment="no")
    linear.deliver()
    linear.sandbox.move(str(request_id), "Done", "ben", webhook=False)
    with monkeypatch.context() as long_after:
        long_after.setattr(reconcile, "ENDED_WITHIN", timedelta(0))
        reconcile_linear()
        linear.deliver()
    assert linear.issue(request_id)["state"] == "Done"
    reconcile_linear()
    linear.deliver()
    assert linear.issue(request_id)["state"] == "Canceled"
    assert linear.row(request_id).status == "rejected"
    calls = len(linear.sandbox.requests("linear"))
    reconcile_linear()
    linear.deliver()
    assert len(linear.sandbox.requests("linear")) == calls + 1


def odd(monkeypatch: pytest.MonkeyPatch, request_id: UUID) -> None:
    """Let Linear answer with an issue of the request that is not as its schema says."""

    def without_state(node: Any, *parts: Any) -> Any:
        return parse_issue(
            {**node, "state": None} if node["id"] == str(request_id) else node, *parts
        )

    monkeypatch.setattr(client, "parse_issue", without_state)


@pytest.mark.parametrize("fault", ["a request of another release", "an issue of another shape"])
@pytest.mark.parametrize("page", [1, 50])
def test_what_cannot_be_read_is_passed_over_and_all_others_are_heard(
    linear: LinearWorld,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: str,
    page: int,
) -> None:
    ids = sorted(linear.opened() for _ in range(3))
    break_it: dict[str, Callable[[UUID], None]] = {
        "a request of another release": write_policy_of_another_release,
        "an issue of another shape": lambda request_id: odd(monkeypatch, request_id),
    }
    break_it[fault](ids[0])
    for request_id in ids:
        linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    monkeypatch.setattr(reconcile, "PAGE", page)
    reconcile_linear()
    statuses = [linear.row(request_id).status for request_id in ids]
    assert statuses == ["pending", "approved", "approved"]
    (told,) = [record for record in caplog.records if record.exc_text]
    assert str(ids[0]) in told.getMessage()
    assert "TypeError" in (told.exc_text or "")


def test_a_database_that_is_gone_ends_the_reading(
    linear: LinearWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        linear.opened()
    asked = []

    def fails(*_: object) -> None:
        asked.append(1)
        raise OperationalError from psycopg.OperationalError("the connection is closed")

    monkeypatch.setattr(reconcile, "cast_unseen", fails)
    with pytest.raises(OperationalError):
        reconcile_linear()
    assert len(asked) == 1
