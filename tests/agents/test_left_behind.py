"""An action whose worker died after its run was cancelled is not said to be at work for ever."""

import pytest

from agents import services, turns
from agents.models import Execution, Run
from approvals.core.lifecycle import Actor
from approvals.models import ClockTimestamp
from tests.agents import scenes
from tests.agents.worker import Worker

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


def test_what_is_at_work_in_a_run_that_goes_on_is_left_to_its_turn(worker: Worker) -> None:
    run = scenes.at_work(worker)
    Execution.objects.update(lease_until=ClockTimestamp())
    turns.flag_left_behind()
    assert Execution.objects.get(run=run).status == "started"
