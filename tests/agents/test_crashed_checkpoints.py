"""A worker that dies between two writes of its checkpoints leaves no thread that looks ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

import pytest
from langgraph.checkpoint.postgres import PostgresSaver

from agents import checkpoints
from agents.models import Run
from approvals.core.lifecycle import Choice
from approvals.models import ApprovalRequest, Delivery
from tests.agents import executors_of_tests as executors
from tests.agents import graphs_of_others as others
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = "2020-01-01T00:00:00Z"
MOST_WRITES = 60


class Dying:
    """Lets the worker die around one of the checkpointer's writes; it writes nothing more."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.died = False

    def around(self, write: Callable[..., Any]) -> Callable[..., Any]:
        """The write, which is never begun, or is done and never answered, once it is time."""

        def written(*args: Any, **options: Any) -> Any:
            self._pass()
            result = write(*args, **options)
            self._pass()
            return result

        return written

    def _pass(self) -> None:
        self._left -= 1
        if self.died or self._left < 0:
            self.died = True
            raise WorkerDied


@contextmanager
def dying(at: int) -> Iterator[Dying]:
    """A worker that dies at that point, if it comes so far; who comes after it finds no lease."""
    death = Dying(at)
    with pytest.MonkeyPatch.context() as patch, suppress(WorkerDied):
        for name in ("put", "put_writes"):
            patch.setattr(PostgresSaver, name, death.around(getattr(PostgresSaver, name)))
        yield death
    checkpoints.disconnect()
    for rows in (Delivery.objects, Run.objects):
        rows.update(lease_until=LONG_AGO)


@pytest.fixture(autouse=True)
def _graphs(settings: Any) -> None:
    settings.HITL_GRAPHS = {
        name: (f"tests.agents.graphs_of_others.{name}", "1")
        for name in ("one_interrupt", "parallel_interrupts")
    }


def lives(worker: Worker, at: int, workflow: str, task: dict[str, Any]) -> bool:
    """Lead a run from its start to its end with one death; whether it died at all.

    Whatever the moment, people are asked, and what they approve is done once; or a person is told.
    """
    executors.begun.clear()
    others.effects.clear()
    with dying(at) as death:
        run = worker.start(workflow, **task)
        decide_everything(worker)
    if death.died:
        worker.turn()
        decide_everything(worker)
    run = Run.objects.latest("created_at")
    requests = ApprovalRequest.objects.filter(workflow_id=str(run.pk))
    asked = 2 if workflow == "parallel_interrupts" else 1
    done = len(executors.begun) if workflow == "task" else len(others.effects)
    if run.status == "needs_attention":
        # What a foreign node was at when its worker died, nobody can tell.
        assert workflow != "task", at
        assert "A worker died while" in run.attention, at
        assert done <= asked, at
    else:
        assert run.status == "completed", at
        assert [row.status for row in requests] == ["approved"] * asked, at
        assert done == asked, at
    return death.died


def decide_everything(worker: Worker) -> None:
    """Approve what is asked, and let the runs go on."""
    for request in ApprovalRequest.objects.filter(status="pending"):
        worker.decide(request, Choice.APPROVE)


@pytest.mark.parametrize(
    ("workflow", "task"),
    [
        ("task", {"operation": "rollback", "arguments": {"service": "web"}}),
        ("one_interrupt", {}),
        ("parallel_interrupts", {}),
    ],
)
def test_a_death_around_any_write_of_a_checkpoint_ends_no_run(
    worker: Worker, workflow: str, task: dict[str, Any]
) -> None:
    for at in count():
        assert at < MOST_WRITES
        if not lives(worker, at, workflow, task):
            assert at > 10
            return
