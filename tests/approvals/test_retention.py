"""What is not kept for ever goes when it is old, and nothing else goes with it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.utils import timezone
from pytest_django import Settings

from approvals import outbox, services, tasks
from approvals.clock import clock
from approvals.core.events import Hearing
from approvals.models import ApprovalRequest, AuditEntry, Delivery, InboundWebhook, Vote
from hitl_project.embedded import Postgres
from tests.application_role import as_application
from tests.approvals.channels import Notebook, fails
from tests.approvals.long_ago import age, ended, kept, purge, tell, told, webhook
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import DOCS, cancel, manager, opened, vote
from tests.hitl_project.test_settings import manage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
Channels = Mapping[str, Notebook]
together = pytest.mark.django_db(transaction=True)


# Webhooks


def test_an_old_body_goes_and_what_makes_a_replay_harmless_stays() -> None:
    old, young = webhook(days=91), webhook(days=89)
    body = old.body.encode()
    assert not purge()
    before = {**old.__dict__, "body": ""}
    after = InboundWebhook.objects.get(pk=old.pk).__dict__
    assert {**after, "_state": None} == {**before, "_state": None}
    assert InboundWebhook.objects.get(pk=young.pk).body == young.body
    for delivery_id, replayed in ((old.delivery_id, b"other"), ("other", body)):
        again = services.record_webhook(source="linear", delivery_id=delivery_id, body=replayed)
        assert again is None


def test_what_was_said_about_a_pending_request_stays_whole() -> None:
    request_id = opened()
    said = webhook(request_id=request_id)
    purge()
    assert kept() == 1
    cancel(request_id)
    purge()
    assert (kept(), InboundWebhook.objects.get().request_id) == (0, said.request_id)


# Logins


@together
@pytest.mark.parametrize("days", [90, 0])
def test_logins_that_are_over_go_and_others_stay(
    postgres_server: Postgres, settings: Settings, days: int
) -> None:
    settings.HITL_RETENTION_DAYS = days
    now = timezone.now()
    for name, seconds in (("over", -1), ("also over", -86_400), ("open", 60)):
        Session.objects.create(
            session_key=name, session_data="", expire_date=now + timedelta(seconds=seconds)
        )
    with as_application(postgres_server):
        tasks.purge_old()
    assert set(Session.objects.values_list("session_key", flat=True)) == {"open"}


# Deliveries


def test_deliveries_of_what_was_final_for_long_go_and_the_rest_of_it_stays() -> None:
    old, young = ended(days=91, pr_number=7), ended(days=89)
    requests = list(ApprovalRequest.objects.order_by("pk").values())
    votes, log = list(Vote.objects.values()), list(AuditEntry.objects.order_by("pk").values())
    assert (told(old), told(young)) == (3, 2)
    assert not purge()
    assert (told(old), told(young)) == (0, 2)
    assert list(ApprovalRequest.objects.order_by("pk").values()) == requests
    assert list(Vote.objects.values()) == votes
    assert list(AuditEntry.objects.order_by("pk").values()) == log


def test_the_log_is_whole_and_the_page_of_the_request_still_there() -> None:
    request_id = ended(days=0)
    assert services.purge_deliveries(clock(), 10, going=[]) == 2
    call_command("verify_audit")
    shown = signed_in(manager("grace")).get(f"/approvals/{request_id}/")
    assert shown.status_code == 200
    assert "approved" in read(shown).text.lower()


def test_a_pending_request_keeps_its_deliveries_however_old_it_is() -> None:
    request_id = opened()
    tell("linear", "chat")
    age(request_id, 400)
    assert not purge()
    assert told(request_id) == 2
    vote(request_id)
    tell("linear")
    assert Delivery.objects.get(request=request_id, channel="linear").done == 2


def test_all_deliveries_stay_while_one_is_owed_given_up_or_at_work(channels: Channels) -> None:
    owed, given_up, at_work = opened(), opened(), opened()
    for request_id in (owed, given_up, at_work):
        vote(request_id)
    channels["chat"].answer = fails(permanent=True)
    tell("linear", "chat")
    chat = Delivery.objects.filter(channel="chat")
    chat.filter(request=owed).update(gave_up_at=None)
    chat.filter(request=at_work).update(gave_up_at=None, lease_token=uuid4())
    for request_id in (owed, given_up, at_work):
        age(request_id, 400)
    assert not purge()
    assert [told(request_id) for request_id in (owed, given_up, at_work)] == [2, 2, 2]


def test_one_that_has_to_stay_does_not_keep_those_behind_it(channels: Channels) -> None:
    channels["chat"].answer = fails(permanent=True)
    stuck = ended(days=95)
    channels["chat"].answer = channels["linear"].answer
    free = ended(days=91)
    assert not purge(batch=1)
    assert (told(stuck), told(free)) == (2, 0)


def test_what_is_owed_in_the_last_moment_keeps_all_of_the_request() -> None:
    request_id = ended()

    def nudge_first(execute: Any, sql: str, *rest: Any) -> Any:
        if "FOR NO KEY UPDATE" in sql:
            outbox.nudge(request_id, "chat")
        return execute(sql, *rest)

    with connection.execute_wrapper(nudge_first):
        assert services.purge_deliveries(clock(), 10, going=[]) == 0
    assert told(request_id) == 2


def test_what_was_retried_lately_stays_as_long_again() -> None:
    request_id = ended()
    outbox.nudge(request_id, "chat")
    tell("chat")
    Delivery.objects.filter(request=request_id, channel="linear").delete()
    assert not purge()
    assert told(request_id) == 1


def test_a_request_of_a_run_that_still_goes_on_keeps_its_deliveries() -> None:
    going, over = ended(thread_id="going", interrupt_id="i"), ended(interrupt_id="i")
    assert services.purge_deliveries(clock(), 10, going={"going"}) == 3
    assert (told(going), told(over)) == (3, 0)


def test_nothing_that_is_raised_later_misses_a_delivery_that_went() -> None:
    request_id = ended()
    purge()
    outbox.nudge(request_id, "linear")
    assert not outbox.deliver_next("linear")
    assert told(request_id) == 0


# Keys


def test_an_old_idempotency_key_gives_the_same_answer_for_ever() -> None:
    asked: dict[str, Any] = {"workflow_id": "w", "thread_id": "t", "agent_name": "documentation"}
    asked |= {"task": DOCS, "idempotency_key": "k"}
    first = services.open_request(**asked)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE approvals_sparedrequest SET created_at = '2001-01-01'")
    purge()
    again = services.open_request(**asked)
    assert again == first
    assert AuditEntry.objects.filter(name="request.not_required").count() == 1


# Who may


@together
def test_the_application_s_role_may_do_it_and_no_more(postgres_server: Postgres) -> None:
    old = webhook()
    request_id = ended()
    services.open_request(
        task=DOCS, workflow_id="w", thread_id="t", agent_name="cicd", idempotency_key="k"
    )
    with as_application(postgres_server):
        assert not purge()
        assert (kept(), told(request_id)) == (0, 0)
        # Receiving one is as before.
        webhook_id = services.record_webhook(source="linear", delivery_id="new", body=b"new")
        assert webhook_id is not None
        services.finish_webhook(webhook_id, outcome=Hearing.RECORDED, request_id=request_id)
        for statement in (
            "DELETE FROM approvals_inboundwebhook",
            "UPDATE approvals_inboundwebhook SET delivery_id = 'other'",
            "UPDATE approvals_inboundwebhook SET body_digest = 'other'",
            "DELETE FROM approvals_sparedrequest",
            "DELETE FROM approval_requests",
            "DELETE FROM approvals_vote",
            "DELETE FROM approvals_auditentry",
        ):
            with pytest.raises(DatabaseError, match="permission denied"), connection.cursor() as on:
                on.execute(statement)
    assert InboundWebhook.objects.get(pk=old.pk).delivery_id == old.delivery_id


# The setting


@pytest.mark.parametrize("days", ["6", "-1", "3 weeks", "36501", "9" * 5000])
def test_a_retention_that_is_no_safe_number_of_days_stops_the_start(days: str) -> None:
    stopped = manage("check", HITL_RETENTION_DAYS=days)
    assert stopped.returncode != 0
    assert "HITL_RETENTION_DAYS must be 0, to keep everything, or from 7 to 36500" in stopped.stderr


def test_a_retention_of_a_week_is_the_shortest() -> None:
    assert manage("check", HITL_RETENTION_DAYS="7").returncode == 0
