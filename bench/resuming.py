"""From the commit of a decision to the call of the executor, beside a bare resume of the graph."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import psycopg
from django.db import connection, transaction
from django.db.models import F
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.types import Command
from psycopg.rows import dict_row

from agents import executions
from agents.checkpoints import address
from agents.executions import Ended
from agents.graphs import build_workflow
from agents.models import Run, RunStatus
from agents.services import start_run
from agents.templates import SINGLE_TASK, single_step
from approvals.core.events import WORKFLOW
from approvals.core.lifecycle import Choice
from approvals.models import ApprovalRequest, Delivery
from approvals.services import cast_vote
from bench.load import Load
from bench.measure import Counts, Ratio, Result, Side, compare
from bench.operation import TASK, next_call, unheard
from bench.people import asking, deciding
from bench.stack import Stack

NAME = "decision committed -> operation executed"
FULL = Counts(rounds=5, alone=10, together=10, warm_up=5)
QUICK = Counts(rounds=1, alone=2, together=2, warm_up=1)
GOALS = (Ratio("p50_ms", 2, plus_ms=5), Ratio("p95_ms", 2))
WAIT_SECONDS = 60.0
POLL_SECONDS = 0.02
# A worker that has just ended its task needs a moment until it listens to its queue again.
IDLE_SECONDS = 0.05


class RunsStuck(Exception):
    """The worker did not bring the runs to where they were awaited."""


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Decide what runs wait for, with one worker process, and resume a bare graph."""
    # One process, like for like with the one process of the floor.
    with stack.gateway("resuming") as place, place.worker("runs"), bare() as floor:
        yield compare(NAME, gateway(), floor, counts, GOALS)


def gateway(label: str = "gateway") -> Side:
    """Runs that wait for a decision, and the worker that resumes them."""
    return Side(label, alone=_resume_alone, together=_resume_together)


@contextmanager
def bare() -> Iterator[Side]:
    """`Command(resume)` of the built-in graph, compiled once; its operation is not even recorded.

    Both sides are measured up to the moment in which the operation begins.
    """
    calls: list[float] = []

    def note_call(*_: object) -> Ended:
        calls.append(time.monotonic())
        return Ended("succeeded", "Nothing was done.")

    with (
        psycopg.connect(
            **address(connection), autocommit=True, prepare_threshold=0, row_factory=dict_row
        ) as saving,
        patch.object(executions, "run_approved", note_call),
    ):
        graph: Any = build_workflow().compile(checkpointer=PostgresSaver(saving))

        def resume(count: int) -> list[tuple[float, float]]:
            spans = []
            for config in [_waiting_thread(graph) for _ in range(count)]:
                began = time.monotonic()
                graph.invoke(Command(resume=_VERDICT), config, durability="sync")
                spans.append((began, calls.pop()))
            return spans

        def together(count: int) -> Load:
            spans = resume(count)
            return _load(spans, spans[-1][1] - spans[0][0])

        yield Side("floor", alone=lambda count: _load(resume(count)), together=together)


_VERDICT = {
    "status": "approved",
    "request_id": str(uuid4()),
    "task": TASK,
    "decided_by": "ada",
    "reason": "",
}


def _waiting_thread(graph: Any) -> dict[str, Any]:
    """Bring a new thread of the graph to its approval; the configuration that names it."""
    config = {"configurable": {"thread_id": str(uuid4())}}
    begin = {
        "run_id": str(uuid4()),
        "facts": {},
        "steps": single_step(TASK),
        "position": 0,
        "results": [],
    }
    graph.invoke(begin, config, durability="sync")
    return config


def _load(spans: Sequence[tuple[float, float]], elapsed_seconds: float | None = None) -> Load:
    """What resumes took that each began and called the executor at these moments."""
    seconds = [called - began for began, called in spans]
    return Load(seconds, sum(seconds) if elapsed_seconds is None else elapsed_seconds)


def _resume_alone(count: int) -> Load:
    spans = []
    requests = waiting_requests(count)
    # Each start left a hint, and all but the first of them find nothing to do.
    wait(lambda: unheard() == 0, "to have heard every hint")
    time.sleep(IDLE_SECONDS)
    for request_id in requests:
        committed_at = approve(request_id)
        spans.append((committed_at, next_call()[1]))
        wait(at_rest, "to have nothing left to do")
        time.sleep(IDLE_SECONDS)
    return _load(spans)


def _resume_together(count: int) -> Load:
    began = [approve(request_id) for request_id in waiting_requests(count)]
    # Which call belongs to which decision does not matter: only the whole of them is timed.
    spans = list(zip(began, [next_call()[1] for _ in began], strict=True))
    wait(at_rest, "to have nothing left to do")
    return _load(spans, max(called for _, called in spans) - min(began))


def waiting_requests(count: int, seconds: float = WAIT_SECONDS) -> list[UUID]:
    """Start runs and return the requests they wait for, within so many seconds."""
    runs = [start_run(actor=asking(), workflow=SINGLE_TASK, task=TASK).pk for _ in range(count)]
    waiting = Run.objects.filter(pk__in=runs, status=RunStatus.WAITING)
    wait(lambda: waiting.count() == count and at_rest(), "to have started its runs", seconds)
    requests = ApprovalRequest.objects.filter(workflow_id__in=map(str, runs))
    return list(requests.values_list("pk", flat=True))


def approve(request_id: UUID) -> float:
    """Decide, and return the moment of the commit, before anybody was told."""
    moments: list[float] = []
    with transaction.atomic():
        # Callbacks run in the order they were registered in: this one before the hints.
        transaction.on_commit(lambda: moments.append(time.monotonic()))
        cast_vote(request_id, actor=deciding(), choice=Choice.APPROVE)
    return moments[0]


def at_rest() -> bool:
    """Whether no run is owed anything."""
    deliveries = Delivery.objects.filter(channel=WORKFLOW, done__lt=F("wanted"))
    return not deliveries.exists() and not Run.objects.filter(done__lt=F("wanted")).exists()


def wait(condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until the workers have come so far. Raises RunsStuck."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RunsStuck(f"The worker was given {seconds:.0f} s {what}, and was not done.")
        # What may take long is asked for less often, since asking takes time from the worker.
        time.sleep(POLL_SECONDS * seconds / WAIT_SECONDS)
