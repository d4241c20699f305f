"""What is not kept for ever goes when it is old, and nothing else goes with it."""

import json
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from redis import Redis

from approvals import outbox, services, tasks
from approvals.models import ApprovalRequest, AuditEntry, Delivery, InboundWebhook, Vote
from hitl_project.celery import app
from hitl_project.embedded import OWNER, Postgres
from tests.application_role import as_application
from tests.approvals.channels import Notebook, fails
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import DOCS, at_once, cancel, manager, opened, unguarded, vote
from tests.hitl_project.test_settings import manage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
Channels = Mapping[str, Notebook]
PURGES = ["approvals.services.purge_webhook_bodies", "agents.retention.purge_deliveries"]
together = pytest.mark.django_db(transaction=True)


def webhook(days: float = 100, **facts: Any) -> InboundWebhook:
    """A message that came so many days ago."""
    name = str(uuid4())
    pk = services.record_webhook(
        source="linear", delivery_id=name, body=b"body of " + name.encode()
    )
    assert pk is not None
    services.finish_webhook(pk, outcome="ignored", reason="why", happened_at=outbox.clock())
    received_at = outbox.clock() - timedelta(days=days)
    InboundWebhook.objects.filter(pk=pk).update(received_at=received_at, **facts)
    return InboundWebhook.objects.get(pk=pk)


def kept() -> int:
    """How many webhooks still have their bodies."""
    return InboundWebhook.objects.exclude(body="").count()


def tell(*names: str) -> None:
    """Deliver whatever these channels are owed."""
    for name in names:
        while outbox.deliver_next(name):
            pass


def ended(days: float = 100, **facts: Any) -> UUID:
    """A request that was approved, and told to everybody, so many days ago."""
    request_id = opened(**facts)
    vote(request_id)
    tell("linear", "github", "chat", "workflow")
    age(request_id, days)
    return request_id


def age(request_id: UUID, days: float) -> None:
    """Let everything about a request have happened so many days earlier."""
    unguarded(
        "approval_requests",
        "request_is_guarded",
        "UPDATE approval_requests SET created_at = created_at - make_interval(days => %s),"
        " decided_at = decided_at - make_interval(days => %s) WHERE id = %s",
        [days, days, request_id],
    )
    moved = outbox.clock() - timedelta(days=days)
    Delivery.objects.filter(request=request_id).update(not_before=moved)


def told(*request_ids: UUID) -> int:
    """How many deliveries these requests still have."""
    return Delivery.objects.filter(request__in=request_ids).count()


def purge(**facts: Any) -> bool:
    """One call of the verb, with time enough."""
    return services.purge_old(seconds=60, **facts)


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
    assert services.purge_deliveries(outbox.clock(), 10, going=[]) == 2
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
    chat.filter(request=at_work).update(gave_up_at=None, done=1, lease_token=uuid4())
    for request_id in (owed, given_up, at_work):
        age(request_id, 400)
    assert not purge()
    assert [told(request_id) for request_id in (owed, given_up, at_work)] == [2, 2, 2]


def test_a_request_of_a_run_that_still_goes_on_keeps_its_deliveries() -> None:
    going, over = ended(thread_id="going", interrupt_id="i"), ended(interrupt_id="i")
    assert services.purge_deliveries(outbox.clock(), 10, going={"going"}) == 3
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
    assert (first.created, again.created, again.status) == (True, False, first.status)


# How it goes about it


def test_with_no_retention_everything_is_kept(settings: Settings) -> None:
    settings.HITL_RETENTION_DAYS = 0
    webhook(days=9000)
    request_id = ended(days=9000)
    assert not purge()
    assert (kept(), told(request_id)) == (1, 2)


def test_a_batch_is_no_larger_than_it_may_be_and_the_oldest_goes_first() -> None:
    ages = [webhook(days=days).pk for days in (91, 95, 93)]
    assert services.purge_webhook_bodies(outbox.clock(), 2) == 2
    assert InboundWebhook.objects.exclude(body="").get().pk == ages[0]
    requests = [ended(days=days) for days in (91, 95)]
    assert services.purge_deliveries(outbox.clock(), 1, going=[]) == 2
    assert [told(request_id) for request_id in requests] == [2, 0]


def test_batches_follow_each_other_until_nothing_is_left() -> None:
    for _ in range(5):
        webhook()
    requests = [ended() for _ in range(3)]
    assert not purge(batch=2)
    assert (kept(), told(*requests)) == (0, 0)


def test_each_kind_has_its_turn_before_the_time_is_up(settings: Settings) -> None:
    settings.HITL_PURGES = PURGES
    webhook(), webhook()
    request_id = ended()
    assert services.purge_old(seconds=0, batch=1)
    assert (kept(), told(request_id)) == (1, 2)
    assert not purge(batch=1)
    assert (kept(), told(request_id)) == (0, 0)


def test_a_task_whose_time_is_up_goes_back_to_its_queue(
    monkeypatch: pytest.MonkeyPatch, transactional_db: None
) -> None:
    queue: Redis = Redis.from_url(settings.REDIS_URL)
    webhook(), webhook()
    queue.delete("sweeps")
    tasks.purge_old()
    assert queue.llen("sweeps") == 0
    webhook()
    monkeypatch.setattr(tasks, "PURGE_SECONDS", -1.0)
    tasks.purge_old()
    messages = [json.loads(text)["headers"]["task"] for text in queue.lrange("sweeps", 0, -1)]
    assert messages == ["approvals.tasks.purge_old"]
    queue.delete("sweeps")


def test_beat_asks_for_it_every_hour_on_the_queue_of_the_sweeps() -> None:
    entry = app.conf.beat_schedule["purge-old"]
    assert (entry["task"], entry["schedule"]) == (tasks.purge_old.name, 3600.0)
    assert app.amqp.router.route({}, entry["task"])["queue"].name == "sweeps"


def test_it_leaves_one_line_a_batch_and_no_audit_entry(caplog: pytest.LogCaptureFixture) -> None:
    webhook(), webhook()
    ended()
    entries = AuditEntry.objects.count()
    with caplog.at_level(logging.INFO):
        purge()
        lines = [record.getMessage() for record in caplog.records if record.name.endswith("tion")]
        purge()
    assert [line.split(" from ")[0].split(" that ")[0] for line in lines] == [
        "Retention emptied the bodies of 2 webhooks",
        "Retention deleted 2 deliveries of 1 requests",
    ]
    assert [record for record in caplog.records if record.name.endswith("tion")][2:] == []
    assert AuditEntry.objects.count() == entries


@together
def test_two_at_once_share_the_work() -> None:
    for _ in range(20):
        webhook()
    requests = [ended() for _ in range(6)]
    assert at_once(*[lambda: purge(batch=2)] * 3) == [False, False, False]
    assert (kept(), told(*requests)) == (0, 0)


@together
def test_what_somebody_holds_is_left_for_another_time(postgres_server: Postgres) -> None:
    held, free = webhook(), webhook()
    decided, other = ended(), ended()
    address = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    with psycopg.connect(address) as somebody:
        somebody.execute(
            "SELECT 1 FROM approvals_inboundwebhook WHERE id = %s FOR UPDATE", [held.pk]
        )
        somebody.execute(
            "SELECT 1 FROM approval_requests WHERE id = %s FOR NO KEY UPDATE", [decided]
        )
        purge()
        assert set(InboundWebhook.objects.filter(body="")) == {free}
        assert (told(decided), told(other)) == (2, 0)
    purge()
    assert (kept(), told(decided)) == (0, 0)


@pytest.mark.parametrize(
    ("look", "index"),
    [
        (lambda: services.purge_webhook_bodies(outbox.clock(), 9), "idx_webhook_body"),
        (lambda: services.purge_deliveries(outbox.clock(), 9, going=["x"]), "idx_delivery_told"),
    ],
)
def test_an_idle_look_reads_only_the_index_of_what_is_left(
    look: Callable[[], int], index: str
) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert look() == 0
    statement = next(q["sql"] for q in asked if index.split("_")[1] in q["sql"])
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {statement}")
        assert index in "\n".join(line for (line,) in cursor.fetchall())


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
        services.finish_webhook(webhook_id, outcome="recorded", request_id=request_id)
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
