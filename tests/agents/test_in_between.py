"""What comes between a decision and its effect: a cancellation, a failure beside it, old age."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from agents import runtime, services, turns
from agents.models import Run
from approvals import outbox
from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest, AuditEntry
from approvals.services import cancel_request, open_request
from tests.agents import graphs_of_others as others
from tests.agents import scenes
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.test_executions import leases_end
from tests.agents.worker import Worker
from tests.approvals.scenes import unguarded

pytestmark = pytest.mark.django_db(transaction=True)

PRODUCTION = {"operation": "deploy", "environment": "production"}


def one_branch_fails() -> others.Graph:
    """Asks twice at the same time; the left side acts once it is approved, and then fails."""

    def left(state: others.State) -> dict[str, Any]:
        interrupt({**PRODUCTION, "region": "left"})
        others.effects.append("left")
        raise ValueError("the left side broke")

    def right(state: others.State) -> dict[str, Any]:
        interrupt({**PRODUCTION, "region": "right"})
        others.effects.append("right")
        return {"done": ["right"]}

    graph: others.Graph = StateGraph(others.State)
    for name, node in (("left", left), ("right", right)):
        graph.add_node(name, node)
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph


def asks_again() -> others.Graph:
    """Asks twice, one after the other."""

    def ask(state: others.State) -> dict[str, Any]:
        return {"done": [str(interrupt({**PRODUCTION, "number": len(state.get("done", []))}))]}

    graph: others.Graph = StateGraph(others.State)
    graph.add_node("first", ask)
    graph.add_node("second", ask)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    return graph


def broken_builder() -> others.Graph:
    """Cannot be built."""
    raise ValueError("no penguins here")


@pytest.fixture(autouse=True)
def _graphs(settings: Any) -> None:
    settings.HITL_GRAPHS = {
        "one_interrupt": ("tests.agents.graphs_of_others.one_interrupt", "1"),
        "asks_again": (f"{__name__}.asks_again", "1"),
        "one_branch_fails": (f"{__name__}.one_branch_fails", "1"),
        "broken_builder": (f"{__name__}.broken_builder", "1"),
        "no_builder": (f"{__name__}.no_builder", "1"),
    }


@pytest.fixture
def before_the_lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """A function that lets something happen after a worker read its run, before it locks it."""

    def arrange(happens: Callable[[], None]) -> None:
        open_thread = runtime._thread  # noqa: SLF001 - the moment cannot be met from outside

        def late(thread_id: str) -> Any:
            monkeypatch.setattr(runtime, "_thread", open_thread)
            happens()
            return open_thread(thread_id)

        monkeypatch.setattr(runtime, "_thread", late)

    return arrange


@pytest.fixture
def after_the_lock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """A function that lets something happen as soon as a worker lets go of a thread."""

    def arrange(happens: Callable[[], None]) -> None:
        resume = runtime.resume

        def watched(*given: Any) -> str:
            monkeypatch.setattr(runtime, "resume", resume)
            try:
                return resume(*given)
            finally:
                happens()

        monkeypatch.setattr(runtime, "resume", watched)

    return arrange


def test_a_foreign_node_does_nothing_after_its_run_was_cancelled(
    worker: Worker, before_the_lock: Callable[[Callable[[], None]], None]
) -> None:
    run = worker.start("one_interrupt")
    worker.vote(worker.pending(run)[0])
    asker = user_actor(worker.requester, Via.API)
    before_the_lock(lambda: services.cancel_run(run.pk, actor=asker, reason="Stop."))
    worker.turn()
    run.refresh_from_db()
    assert run.status == "cancelled"
    assert others.effects == []


def cancelled_and_left(worker: Worker, run: Run) -> None:
    """Take a turn that asks for a run which is cancelled just before, and dies right after."""
    ask, asker = turns._open, user_actor(worker.requester, Via.API)  # noqa: SLF001 - as above

    def late(*given: Any) -> Any:
        services.cancel_run(run.pk, actor=asker, reason="Stop.")
        return ask(*given)

    def dies(*_: Any) -> None:
        raise WorkerDied

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(turns, "_open", late)
        patched.setattr(turns, "_record", dies)
        with pytest.raises(WorkerDied):
            worker.turn()
    assert len(worker.pending(run)) == 1
    leases_end()


def test_what_a_dead_worker_asked_for_an_ended_run_is_taken_back_at_its_next_turn(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = user_actor(worker.requester, Via.API)
    run = services.start_run(actor=asker, workflow="one_interrupt", task=PRODUCTION)
    cancelled_and_left(worker, run)

    def dies(*_: Any, **__: Any) -> None:
        raise WorkerDied

    # Whoever dies before that is done leaves it to somebody else.
    monkeypatch.setattr("approvals.services.withdraw_request", dies)
    with pytest.raises(WorkerDied):
        worker.turn()
    monkeypatch.undo()
    leases_end()
    worker.turn()
    assert worker.pending(run) == []
    run.refresh_from_db()
    assert run.status == "cancelled"


def test_what_a_dead_worker_asked_for_an_ended_run_is_taken_back_when_it_is_resumed(
    worker: Worker,
) -> None:
    run = worker.start("asks_again")
    worker.vote(worker.pending(run)[0])
    cancelled_and_left(worker, run)
    worker.turn()
    assert worker.pending(run) == []
    run.refresh_from_db()
    assert run.status == "cancelled"


def test_what_was_asked_for_an_ended_run_is_taken_back_where_the_next_question_is_refused(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker = user_actor(worker.requester, Via.API)
    run = services.start_run(actor=asker, workflow="one_branch_fails", task=PRODUCTION)
    ask = turns._open  # noqa: SLF001 - as above

    def late(*given: Any) -> Any:
        if not worker.pending(run):
            services.cancel_run(run.pk, actor=asker, reason="Stop.")
            return ask(*given)
        raise InvalidInput("task", "It is too large.")

    monkeypatch.setattr(turns, "_open", late)
    worker.turn()
    assert worker.pending(run) == []
    run.refresh_from_db()
    assert run.status == "cancelled"


def test_a_branch_that_failed_does_not_act_again_when_the_other_is_decided(
    worker: Worker, after_the_lock: Callable[[Callable[[], None]], None]
) -> None:
    run = worker.start("one_branch_fails")
    left, right = sorted(worker.pending(run), key=lambda row: row.task["region"])
    worker.vote(left)

    def decide_right() -> None:
        worker.vote(right)
        turns.resume_run(ApprovalRequest.objects.get(pk=right.pk).snapshot())

    after_the_lock(decide_right)
    worker.turn()
    run.refresh_from_db()
    assert (run.status, run.attention) == (
        "needs_attention",
        "The graph failed with ValueError: the left side broke",
    )
    assert others.effects == ["left"]


@pytest.mark.parametrize("name", ["broken_builder", "no_builder"])
def test_a_graph_that_cannot_be_built_needs_a_person_at_once(worker: Worker, name: str) -> None:
    run = worker.start(name)
    assert run.status == "needs_attention"
    assert "cannot be" in run.attention


def stopped_by_its_age(worker: Worker) -> Run:
    """A run of a foreign graph that needs a person, since its approval grew old unused."""
    run = worker.start("one_interrupt")
    (request,) = worker.pending(run)
    worker.vote(request)
    scenes.let_approval_grow_old(request)
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert others.effects == []
    return run


def test_a_person_may_let_an_old_approval_of_a_foreign_graph_count(
    worker: Worker, operator: Actor
) -> None:
    run = stopped_by_its_age(worker)
    services.settle_run(run.pk, "retry", actor=operator, reason="Still wanted.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert others.effects == ["production"]


def test_a_persons_word_for_an_old_approval_of_a_foreign_graph_grows_old_too(
    worker: Worker, operator: Actor
) -> None:
    run = stopped_by_its_age(worker)
    services.settle_run(run.pk, "retry", actor=operator, reason="Still wanted.")
    unguarded(
        "UPDATE approvals_auditentry SET at = at - interval '2 days' WHERE name = 'run.settled'",
    )
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert others.effects == []
    services.settle_run(run.pk, "retry", actor=operator, reason="Wanted even now.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert others.effects == ["production"]


def test_a_verdict_that_nothing_waits_for_any_more_is_told(worker: Worker) -> None:
    run = worker.start("one_interrupt")
    (request,) = worker.pending(run)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM checkpoint_writes WHERE thread_id = %s", [run.thread_id])
    worker.vote(request)
    resumed = ApprovalRequest.objects.get(pk=request.pk).snapshot()
    turns.resume_run(resumed)
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert others.effects == []


def test_a_request_from_outside_says_nothing_about_the_run_whose_thread_it_names(
    worker: Worker,
) -> None:
    run = worker.start("one_interrupt")
    (request,) = worker.pending(run)
    mallory = user_actor(User.objects.create_user("mallory"), Via.API)
    foreign = open_request(
        workflow_id=str(run.pk),
        thread_id=run.thread_id,
        task=PRODUCTION,
        agent_name="elsewhere",
        actor=mallory,
    ).request_id
    other = open_request(
        workflow_id="w-1",
        thread_id=run.thread_id,
        task=PRODUCTION,
        agent_name="elsewhere",
        actor=mallory,
    ).request_id
    assert foreign is not None
    assert other is not None
    worker.vote(request)
    cancel_request(foreign, actor=mallory, reason="no longer wanted")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "completed"
    assert ApprovalRequest.objects.get(pk=other).status == "pending"
    assert not AuditEntry.objects.filter(stream=other, name="request.superseded").exists()
    assert outbox.deliver_next("workflow") is False
