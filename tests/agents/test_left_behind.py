"""An action whose worker died after its run was cancelled is not said to be at work for ever."""

import psycopg
import pytest
from django.db import connection

from agents import checkpoints, services, turns
from agents.models import Execution, Run
from approvals.core.lifecycle import Actor
from approvals.models import ClockTimestamp
from tests.agents import scenes
from tests.agents.worker import Worker
from tests.approvals.pages import page_of, signed_in
from tests.approvals.scenes import manager

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def left(worker: Worker, operator: Actor) -> Run:
    """A run that was cancelled while its action was at work, whose worker has died."""
    run = scenes.at_work(worker)
    services.cancel_run(run.pk, actor=operator, reason="Not during the sale.")
    return run


def test_what_came_of_it_is_said_to_be_unknown_once_its_time_is_over(left: Run) -> None:
    turns.flag_left_behind()
    row = Execution.objects.get(run=left)
    assert row.status == "started"
    Execution.objects.update(lease_until=ClockTimestamp())
    turns.flag_left_behind()
    row.refresh_from_db()
    assert row.status == "unknown"
    assert "cancelled" in row.summary
    assert scenes.fresh(left).status == "cancelled"
    assert row.request_id is not None
    page = page_of(signed_in(manager("maria")), row.request_id).text
    assert "Whether the operation happened is not known." in page
    assert "is being carried out" not in page
    assert "The run was cancelled." in page


def test_who_records_the_end_just_now_has_the_last_word(left: Run) -> None:
    Execution.objects.update(lease_until=ClockTimestamp())
    with psycopg.connect(**checkpoints.address(connection)) as recording:
        recording.execute("SELECT FROM agents_run WHERE id = %s FOR UPDATE", [left.pk])
        turns.flag_left_behind()
    assert Execution.objects.get(run=left).status == "started"


def test_what_is_at_work_in_a_run_that_goes_on_is_left_to_its_turn(worker: Worker) -> None:
    run = scenes.at_work(worker)
    Execution.objects.update(lease_until=ClockTimestamp())
    turns.flag_left_behind()
    assert Execution.objects.get(run=run).status == "started"
