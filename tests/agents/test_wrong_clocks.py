"""Workers whose clocks differ move one thread: what was written last is what holds."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from langgraph.checkpoint.base import id as checkpoint_ids

from approvals.core.lifecycle import Choice
from tests.agents import executors_of_tests as executors
from tests.agents import graphs_of_others as others
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)
AHEAD_SECONDS = 120
Elsewhere = Callable[[float], None]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Lets this be a process of its own from now on, whose clock is off by so many seconds."""

    def go(seconds: float) -> None:
        # What a process remembers of its own ids, another one does not know.
        monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", None)
        wrong = SimpleNamespace(time_ns=lambda: time.time_ns() + int(seconds * 1e9))
        monkeypatch.setattr(checkpoint_ids, "time", wrong)

    return go


@pytest.fixture(autouse=True)
def _graphs(settings: Any) -> None:
    settings.HITL_GRAPHS = {
        "looping_interrupts": ("tests.agents.graphs_of_others.looping_interrupts", "1")
    }


@pytest.mark.parametrize("choice", [Choice.APPROVE, Choice.REJECT])
def test_a_run_goes_on_where_a_worker_whose_clock_is_ahead_has_left_it(
    worker: Worker, elsewhere: Elsewhere, choice: Choice
) -> None:
    elsewhere(AHEAD_SECONDS)
    run = worker.start("task")
    elsewhere(0)
    worker.decide(worker.pending(run)[0], choice)
    run.refresh_from_db()
    ended = "completed" if choice is Choice.APPROVE else "rejected"
    assert (run.status, run.attention) == (ended, "")
    assert len(executors.begun) == (choice is Choice.APPROVE)


def test_each_question_of_a_graph_is_asked_once_though_the_clocks_differ(
    worker: Worker, elsewhere: Elsewhere
) -> None:
    elsewhere(AHEAD_SECONDS)
    run = worker.start("looping_interrupts")
    for seconds in (0, -AHEAD_SECONDS, 0):
        elsewhere(seconds)
        for request in worker.pending(run):
            worker.decide(request)
    run.refresh_from_db()
    assert (run.status, run.attention) == ("completed", "")
    assert others.effects == sorted(set(others.effects))


def test_the_clock_of_the_ids_is_where_it_is_set(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not part of what LangGraph promises, so another release of it may keep it elsewhere."""
    elsewhere(0)
    ahead = checkpoint_ids.uuid6().time + 10_000_000 * AHEAD_SECONDS
    monkeypatch.setattr(checkpoint_ids, "_last_v6_timestamp", ahead)
    made = checkpoint_ids.uuid6()
    assert isinstance(made, UUID)
    assert made.time == ahead + 1
