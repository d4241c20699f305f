"""What retention takes of runs that have ended, and that it lets live ones be."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from agents import retention, services, turns
from agents.models import Execution, Run
from approvals import outbox
from approvals.actors import user_actor
from approvals.clock import clock
from approvals.core.lifecycle import Actor, Via
from approvals.models import AuditEntry, Delivery
from approvals.services import create_token, purge_old
from hitl_project.embedded import OWNER, Postgres
from tests.agents import executors_of_tests as executors
from tests.agents import graphs_of_others as others
from tests.agents.worker import Worker
from tests.application_role import as_application
from tests.approvals.pages import signed_in
from tests.approvals.plans import rows_read
from tests.approvals.scenes import at_once

pytestmark = pytest.mark.django_db(transaction=True)
TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


@pytest.fixture(autouse=True)
def _graphs(settings: Any) -> None:
    path = "tests.agents.graphs_of_others.three_interrupts"
    settings.HITL_GRAPHS = {"three_interrupts": (path, "1")}


def rows(run: Run) -> list[int]:
    """How many rows the run's thread has in each of the checkpointer's tables."""
    counts = []
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                f"SELECT count(*) FROM {table} WHERE thread_id = %s",  # noqa: S608 - its own names
                [run.thread_id],
            )
            counts.append(cursor.fetchone()[0])
    return counts


def ended(worker: Worker, days: float = 100) -> Run:
    """A run that was approved, executed, and ended so many days ago."""
    run = worker.start("task")
    worker.decide(worker.pending(run)[0])
    run.refresh_from_db()
    assert run.status == "completed"
    long_ago = timedelta(days=days)
    Run.objects.filter(pk=run.pk).update(
        created_at=F("created_at") - long_ago, ended_at=F("ended_at") - long_ago
    )
    return run


def purge_everything() -> int:
    """Purge every run that has ended by now."""
    return retention.purge_runs(clock(), 100)


@contextmanager
def somebody(postgres: Postgres, runs: Sequence[Run]) -> Iterator[None]:
    """Another process holds the threads of these runs."""
    address = postgres.url(OWNER, str(connection.settings_dict["NAME"]))
    with psycopg.connect(address) as other:
        for run in runs:
            other.execute(
                "SELECT pg_advisory_lock(hashtextextended(%s, 0))",
                [f"hitl-thread:{run.thread_id}"],
            )
        yield


def test_checkpoints_and_output_of_an_old_run_go_and_its_record_stays(worker: Worker) -> None:
    old, young = ended(worker, days=91), ended(worker, days=89)
    before = {row["run_id"]: row for row in Execution.objects.values()}
    log = list(AuditEntry.objects.order_by("pk").values())
    assert min(rows(old)) > 0
    assert not purge_old(seconds=60)
    assert (rows(old), min(rows(young)) > 0) == ([0, 0, 0], True)
    after = {row["run_id"]: row for row in Execution.objects.values()}
    assert after == {**before, old.pk: {**before[old.pk], "output": ""}}
    assert before[old.pk]["output"] == "fine"
    assert (after[old.pk]["summary"], after[old.pk]["status"]) == ("exited 0", "succeeded")
    assert list(AuditEntry.objects.order_by("pk").values()) == log
    old.refresh_from_db()
    young.refresh_from_db()
    assert (old.purged_at is not None, young.purged_at) == (True, None)
    assert old.status == "completed"


def test_a_run_without_its_checkpoints_is_shown_as_before(
    worker: Worker, client: Any, operator: Actor
) -> None:
    run = ended(worker)
    headers = {"Authorization": f"Bearer {create_token('rosa', scope='request')}"}
    before = client.get(f"/api/workflows/{run.pk}", headers=headers).json()
    assert purge_everything() == 1
    answer = client.get(f"/api/workflows/{run.pk}", headers=headers)
    assert (answer.status_code, answer.json()) == (200, before)
    staff = signed_in(operator, staff=True)
    for path in (f"run/{run.pk}", f"execution/{Execution.objects.get().pk}"):
        assert staff.get(f"/admin/agents/{path}/change/").status_code == 200


@pytest.mark.parametrize("attention", [False, True])
def test_a_live_run_is_never_touched_however_old_it_is(
    worker: Worker, operator: Actor, attention: bool
) -> None:
    run = worker.start("task")
    if attention:
        executors.next_outcomes.append("unknown")
        worker.decide(worker.pending(run)[0])
    Run.objects.update(created_at=F("created_at") - timedelta(days=4000))
    before = rows(run), Delivery.objects.count()
    assert min(before[0]) > 0
    assert purge_everything() == 0
    assert retention.purge_deliveries(clock(), 100) == 0
    assert (rows(run), Delivery.objects.count()) == before
    if attention:
        services.settle_run(run.pk, "retry", actor=operator, reason="Once more.")
        worker.turn()
    else:
        worker.decide(worker.pending(run)[0])
    run.refresh_from_db()
    assert (run.status, run.purged_at) == ("completed", None)


def test_what_a_live_run_was_told_stays_until_it_has_ended(worker: Worker) -> None:
    run = worker.start("three_interrupts")
    worker.decide(worker.pending(run)[0])
    workflow = Delivery.objects.filter(channel="workflow", wanted__gt=0, done=F("wanted"))
    assert workflow.count() == 1
    assert retention.purge_deliveries(clock(), 100) == 0
    outbox.nudge_thread(run.thread_id)
    worker.turn()
    assert workflow.get().done == 2
    while pending := worker.pending(run):
        worker.decide(pending[0])
    run.refresh_from_db()
    assert run.status == "completed"
    assert retention.purge_deliveries(clock(), 100) == 3
    assert not Delivery.objects.exists()


def test_a_purged_run_never_starts_anew(worker: Worker, requester: Any) -> None:
    run = ended(worker)
    begun = list(executors.begun)
    snapshot = Delivery.objects.get().request.snapshot()
    assert purge_everything() == 1
    Run.objects.filter(pk=run.pk).update(wanted=F("wanted") + 1)
    worker.turn()
    turns.resume_run(snapshot)
    run.refresh_from_db()
    assert (run.status, rows(run)) == ("completed", [0, 0, 0])
    assert (executors.begun, others.effects) == (begun, [])


def test_a_thread_that_somebody_holds_is_left_for_another_time(
    worker: Worker, postgres_server: Postgres
) -> None:
    held, free = ended(worker), ended(worker)
    with somebody(postgres_server, [held]):
        assert purge_everything() == 1
        assert (min(rows(held)) > 0, rows(free)) == (True, [0, 0, 0])
        assert Execution.objects.get(run=held).output == "fine"
    assert purge_everything() == 1
    assert rows(held) == [0, 0, 0]


def test_a_run_whose_row_somebody_holds_is_not_waited_for(
    worker: Worker, postgres_server: Postgres
) -> None:
    held, free = ended(worker), ended(worker)
    address = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    with psycopg.connect(address) as other:
        other.execute("SELECT 1 FROM agents_run WHERE id = %s FOR NO KEY UPDATE", [held.pk])
        assert purge_everything() == 1
    assert (min(rows(held)) > 0, rows(free)) == (True, [0, 0, 0])


def test_a_batch_takes_so_many_runs_the_oldest_first_and_none_twice(worker: Worker) -> None:
    runs = [ended(worker, days=days) for days in (91, 95, 93)]
    counts = [retention.purge_runs(clock(), 2) for _ in range(3)]
    assert counts == [2, 1, 0]
    purged = Run.objects.order_by("purged_at").values_list("pk", flat=True)
    assert purged.last() == runs[0].pk


def test_a_run_cancelled_before_it_had_a_thread_is_purged_too(
    worker: Worker, requester: Any
) -> None:
    actor = user_actor(requester, Via.API)
    task = {"operation": "deploy", "environment": "production"}
    run = services.start_run(actor=actor, workflow="task", task=task)
    services.cancel_run(run.pk, actor=actor, reason="Not today.")
    assert [purge_everything(), purge_everything()] == [1, 0]


def test_two_at_once_share_the_runs(worker: Worker) -> None:
    runs = [ended(worker) for _ in range(6)]
    before = clock()

    def work() -> int:
        taken = 0
        while count := retention.purge_runs(before, 1):
            taken += count
        return taken

    assert sum(at_once(work, work)) == 6
    assert [rows(run) for run in runs] == [[0, 0, 0]] * 6


def test_an_idle_look_passes_by_all_that_was_purged() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agents_run (id, workflow, graph, graph_version, thread_id, task, input,"
            " status, attention, in_invocation, may_continue, steps, requested_by, pr_url,"
            " github_repo, idempotency_key, idempotency_digest, wanted, done, priority, attempts,"
            " last_error, created_at, ended_at, purged_at)"
            " SELECT gen_random_uuid(), 'task', 'task', '1', number::text, '{}', '{}', 'completed',"
            " '', false, false, '[]', '', '', '', '', '', 1, 1, 0, 0, '', long_ago, long_ago, now()"
            " FROM generate_series(1, 5000) AS number,"
            " (SELECT now() - interval '1 y' AS long_ago)"
        )
        cursor.execute("ANALYZE agents_run")
    before = rows_read("agents_run")
    with CaptureQueriesContext(connection) as asked:
        assert purge_everything() == 0
    assert [query["sql"] for query in asked if "UPDATE agents" in query["sql"]] == []
    assert rows_read("agents_run") - before < 100


def test_the_application_s_role_may_do_it(worker: Worker, postgres_server: Postgres) -> None:
    run = ended(worker)
    with as_application(postgres_server):
        assert purge_everything() == 1
        assert retention.purge_deliveries(clock(), 100) == 1
    assert rows(run) == [0, 0, 0]
    assert Execution.objects.get().output == ""
