"""How retention goes about it: in batches, for a while, beside others, without waiting."""

import json
import logging
from collections.abc import Callable
from datetime import timedelta

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings
from redis import Redis

from approvals import services, tasks
from approvals.clock import clock
from approvals.models import AuditEntry, InboundWebhook
from hitl_project.celery import app
from hitl_project.embedded import OWNER, Postgres
from tests.approvals import long_ago
from tests.approvals.history import fill
from tests.approvals.long_ago import ended, kept, purge, told, webhook
from tests.approvals.scenes import at_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
together = pytest.mark.django_db(transaction=True)


def test_with_no_retention_everything_is_kept(settings: Settings) -> None:
    settings.HITL_RETENTION_DAYS = 0
    webhook(days=9000)
    request_id = ended(days=9000)
    assert not purge()
    assert (kept(), told(request_id)) == (1, 2)


def test_a_batch_is_no_larger_than_it_may_be_and_the_oldest_goes_first() -> None:
    ages = [webhook(days=days).pk for days in (91, 95, 93)]
    assert services.purge_webhook_bodies(clock(), 2) == 2
    assert InboundWebhook.objects.exclude(body="").get().pk == ages[0]
    requests = [ended(days=days) for days in (91, 95)]
    assert services.purge_deliveries(clock(), 1, going=[]) == 2
    assert [told(request_id) for request_id in requests] == [2, 0]


def test_batches_follow_each_other_until_nothing_is_left() -> None:
    for _ in range(5):
        webhook()
    requests = [ended() for _ in range(3)]
    assert not purge(batch=2)
    assert (kept(), told(*requests)) == (0, 0)


def test_the_kinds_take_turns(settings: Settings) -> None:
    settings.HITL_PURGES = [f"tests.approvals.long_ago.{name}" for name in ("spoons", "forks")]
    long_ago.taken.clear()
    long_ago.drawer[:] = ["fork", "spoon", "spoon", "fork"]
    assert not purge()
    assert long_ago.taken == ["spoon", "fork", "spoon", "fork"]


def test_it_stops_when_its_time_is_up() -> None:
    webhook(), webhook()
    assert services.purge_old(seconds=0, batch=1)
    assert kept() == 1
    assert not purge(batch=1)
    assert kept() == 0


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
    day = f"{clock() - timedelta(days=90):%Y-%m-%d}"
    assert lines == [
        f"Retention: emptied the bodies of 2 webhooks before {day}.",
        f"Retention: deleted 2 deliveries of 1 requests decided before {day}.",
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
    ("look", "indexes"),
    [
        (lambda: services.purge_webhook_bodies(clock(), 9), ["idx_webhook_body"]),
        (
            lambda: services.purge_deliveries(clock(), 9, going=["x"]),
            ["idx_delivery_untold", "idx_delivery_told"],
        ),
    ],
)
def test_an_idle_look_reads_only_the_index_of_what_is_left(
    look: Callable[[], int], indexes: list[str]
) -> None:
    # Of an empty table the planner may read anything.
    fill(500)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO approvals_delivery (request_id, channel, wanted, done, priority, attempts,"
            " last_error, told, reference, url, memory, not_before)"
            " SELECT id, 'linear', 1, 1, 0, 0, '', 1, '', '', '{}', now() + interval '1 h'"
            " FROM approval_requests"
        )
        cursor.execute("ANALYZE approvals_delivery")
    with CaptureQueriesContext(connection) as asked:
        assert look() == 0
    looked = [query["sql"] for query in asked if " FROM " in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for statement, index in zip(looked, indexes, strict=True):
            cursor.execute(f"EXPLAIN {statement}")
            assert index in "\n".join(line for (line,) in cursor.fetchall())
