"""Releases that change what runs wait with: these go on as it was frozen, or stop loudly."""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph

from agents import checkpoints, fit, runtime, services
from agents.graphs import build_workflow
from agents.models import Run
from agents.registry import BUILT_IN_VERSION
from agents.roster import AGENTS
from agents.state import WorkflowState
from approvals.core.lifecycle import Actor, Choice
from approvals.models import AuditEntry, Delivery
from tests.agents import graphs_of_others as others
from tests.agents import scenes
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

ACTED = ["deployed to production"]


@pytest.fixture
def install(settings: Any) -> Any:
    """A function that installs a release of the one graph, under the same version."""

    def installed(release: str) -> None:
        settings.HITL_GRAPHS = {"shipping": (f"tests.agents.graphs_of_releases.{release}", "1")}

    return installed


def decided(worker: Worker, run: Run) -> Run:
    """The run once the first of its requests was approved."""
    worker.decide(worker.pending(run)[0])
    return scenes.fresh(run)


@pytest.mark.parametrize(
    ("release", "done"),
    [
        ("node_before", ["prepared", "approved", "deployed"]),
        ("node_after", ["prepared", "approved", "looked", "deployed"]),
        ("action_renamed", ["prepared", "approved", "deployed"]),
        ("reducer_changed", ["deployed"]),
    ],
)
def test_a_waiting_run_goes_on_in_a_graph_that_still_has_its_place(
    worker: Worker, install: Any, release: str, done: list[str]
) -> None:
    install("first")
    run = worker.start("shipping")
    install(release)
    run = decided(worker, run)
    assert (run.status, run.attention) == ("completed", "")
    assert run.result is not None
    assert run.result["values"]["done"] == done
    assert others.effects[-1:] == ACTED


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        ("first", "question_removed", "the node ask"),
        ("first", "question_renamed", "the node ask"),
        ("first", "value_removed", "the value target"),
        ("nested", "nested_renamed", "the node ask"),
        ("fanned", "fanned_renamed", "the node ask"),
        ("joined", "joined_renamed", "the edge look+ask:act"),
        ("pair", "pair_renamed", "the node right"),
    ],
)
def test_a_run_whose_place_has_gone_stops_loudly_and_keeps_its_decision(
    worker: Worker, operator: Actor, install: Any, before: str, after: str, missing: str
) -> None:
    install(before)
    run = worker.start("shipping")
    waiting, acted = len(worker.pending(run)), list(others.effects)
    install(after)
    stopped = decided(worker, run)
    assert stopped.status == "needs_attention"
    assert f"it has no longer {missing}" in stopped.attention
    assert others.effects == acted
    assert len(worker.pending(run)) == waiting - 1
    # A word alone does not help; with the release that it was started with, nothing was lost.
    services.settle_run(run.pk, "retry", actor=operator, reason="Try.")
    worker.turn()
    assert scenes.fresh(run).status == "needs_attention"
    install(before)
    services.settle_run(run.pk, "retry", actor=operator, reason="The old release is back.")
    worker.turn()
    for _ in range(waiting - 1):
        decided(worker, run)
    assert scenes.fresh(run).status == "completed"


@pytest.mark.parametrize("lost", ["put", "nothing"])
def test_a_run_between_two_nodes_stops_loudly_where_the_next_has_gone(
    worker: Worker, install: Any, lost: str
) -> None:
    install("first")
    run = worker.start("shipping")
    worker.vote(worker.pending(run)[0])
    others.asked["die"] = True

    if lost == "put":
        # What the question came to is written, and not yet the checkpoint that takes it in.
        scenes.die_before_checkpoint(worker)
    else:
        with pytest.raises(WorkerDied):
            worker.turn()
        checkpoints.disconnect()
        Delivery.objects.update(lease_until="2020-01-01T00:00:00Z")
    others.asked["die"] = False
    install("action_renamed")
    worker.turn()
    stopped = scenes.fresh(run)
    assert stopped.status == "needs_attention"
    assert "it has no longer the node act" in stopped.attention
    assert others.effects == []


def test_a_run_without_a_value_that_the_release_needs_stops_loudly(
    worker: Worker, install: Any
) -> None:
    install("first")
    run = worker.start("shipping")
    install("value_added")
    stopped = decided(worker, run)
    assert stopped.status == "needs_attention"
    assert "KeyError: 'region'" in stopped.attention
    assert others.effects == []


def test_what_a_release_asks_instead_is_asked_anew(worker: Worker, install: Any) -> None:
    install("first")
    run = worker.start("shipping")
    (old,) = worker.pending(run)
    install("question_changed")
    asking = decided(worker, run)
    assert (asking.status, others.effects) == ("waiting", [])
    (new,) = worker.pending(run)
    assert (new.pk != old.pk, new.task["with"]) == (True, "a migration")
    assert decided(worker, run).status == "completed"
    assert others.effects == ACTED


def test_what_a_release_asked_is_no_answer_to_what_the_one_before_asks(
    worker: Worker, install: Any
) -> None:
    """The way back is to install the old release: its node must not take the new one's approval."""
    install("first")
    run = worker.start("shipping")
    (old,) = worker.pending(run)
    install("question_changed")
    worker.decide(old, Choice.REJECT)
    (new,) = worker.pending(run)
    assert "with" in new.task
    install("first")
    # What was decided about its own question is the verdict that it gets.
    run = decided(worker, run)
    assert run.result is not None
    assert run.result["values"]["done"] == ["prepared", "rejected", "deployed"]
    assert AuditEntry.objects.filter(stream=new.pk, name="request.resume_refused").exists()


def test_what_needed_nobody_is_no_answer_to_what_a_release_asks_instead(
    worker: Worker, install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker died when its node had asked, and another release's worker takes over."""

    def dies(_: Any) -> None:
        raise WorkerDied

    install("little_asked")
    with monkeypatch.context() as patched:
        patched.setattr(runtime._Thread, "settle_down", dies)  # noqa: SLF001
        with pytest.raises(WorkerDied):
            worker.start("shipping")
    checkpoints.disconnect()
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    install("first")
    worker.turn()
    run = Run.objects.get()
    assert (run.status, others.effects) == ("waiting", [])
    assert decided(worker, run).status == "completed"
    assert others.effects == ACTED


def test_a_graph_that_is_registered_no_more_stops_its_runs_loudly(
    worker: Worker, operator: Actor, install: Any, settings: Any
) -> None:
    install("first")
    run = worker.start("shipping")
    settings.HITL_GRAPHS = {}
    stopped = decided(worker, run)
    assert stopped.status == "needs_attention"
    assert "No graph named 'shipping'" in stopped.attention
    install("first")
    services.settle_run(run.pk, "retry", actor=operator, reason="Registered again.")
    worker.turn()
    assert (scenes.fresh(run).status, others.effects) == ("completed", ACTED)


def test_a_version_that_is_kept_takes_the_runs_it_began_to_their_end(
    worker: Worker, install: Any, settings: Any
) -> None:
    install("first")
    old = worker.start("shipping")
    releases = "tests.agents.graphs_of_releases"
    renamed = (f"{releases}.question_renamed", "2", {"1": f"{releases}.first"})
    settings.HITL_GRAPHS = {"shipping": renamed}
    new = worker.start("shipping")
    for run, version in ((old, "1"), (new, "2")):
        done = decided(worker, run)
        assert (done.status, done.graph_version) == ("completed", version)
    assert others.effects == ACTED * 2
    # Without the one that it waits in, it stops as ever.
    settings.HITL_GRAPHS = {"shipping": (f"{releases}.first", "1")}
    waiting = worker.start("shipping")
    settings.HITL_GRAPHS = {"shipping": (renamed[0], "2", {"0": f"{releases}.first"})}
    stopped = decided(worker, waiting)
    assert "was started with version 1 of 'shipping', but" in stopped.attention


SHIPPING = """
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from tests.agents.graphs_of_others import State, effects


def ask(state):
    effects.append("looked")
    verdict = interrupt({{"operation": "deploy", "environment": "production"{more}}})
    effects.append("shipped {what}")
    return {{"done": [verdict["status"]]}}


def shipping():
    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph
"""


@pytest.mark.parametrize(
    ("more", "what"), [("", "the baskets"), (', "with": "a migration"', "more than was asked")]
)
def test_a_node_whose_source_has_changed_says_once_more_what_it_asks(
    worker: Worker,
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    more: str,
    what: str,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    settings.HITL_GRAPHS = {"shipping": ("shipping_of_tests.shipping", "1")}
    file = tmp_path / "shipping_of_tests.py"

    def install(more: str, what: str) -> None:
        file.write_text(SHIPPING.format(more=more, what=what))
        importlib.invalidate_caches()
        sys.modules.pop("shipping_of_tests", None)
        runtime._blank.cache_clear()  # noqa: SLF001 - stands for the process of the new release

    install("", "baskets")
    run = worker.start("shipping")
    (old,) = worker.pending(run)
    install(more, what)
    run = decided(worker, run)
    if more:
        old.refresh_from_db()
        assert (run.status, others.effects) == ("waiting", ["looked"] * 2)
        assert AuditEntry.objects.filter(stream=old.pk, name="request.resume_refused").exists()
        run = decided(worker, run)
    assert run.status == "completed"
    assert others.effects[-1] == f"shipped {what}"
    # The same source is not asked twice: what stands before the question costs what it always did.
    again = worker.start("shipping")
    others.effects.clear()
    decided(worker, again)
    assert others.effects == ["looked", f"shipped {what}"]


def test_a_change_of_a_node_with_fixed_arguments_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "nodes_of_tests.py"
    file.write_text("def ask(state, place):\n    return {}\n")
    importlib.invalidate_caches()
    ask = importlib.import_module("nodes_of_tests").ask
    graph = StateGraph(others.State)
    graph.add_node("ask", partial(ask, place="production"))
    graph.add_edge(START, "ask")
    before = fit.source("tests.agents.graphs_of_others.shipping", graph.compile())
    file.write_text("def ask(state, place):\n    return {'done': [place]}\n")
    after = fit.source("tests.agents.graphs_of_others.shipping", graph.compile())
    assert after != before


def test_the_built_in_graph_is_what_runs_of_its_version_wait_in() -> None:
    """Whoever changes this raises BUILT_IN_VERSION: a run would not go on as it was meant to."""
    graph = build_workflow().compile()
    edges = {(edge.source, edge.target) for edge in graph.get_graph().edges}
    agents = set(AGENTS) - {"supervisor"}
    assert BUILT_IN_VERSION == "1"
    assert set(WorkflowState.__annotations__) == {
        *("run_id", "facts", "steps", "position", "proposal", "requires_approval", "verdict"),
        *("results", "outcome"),
    }
    assert edges == {
        ("__start__", "supervisor"),
        ("supervisor", "__end__"),
        *(("supervisor", agent) for agent in agents),
        *((agent, after) for agent in agents for after in ("assess", "supervisor")),
        *(("assess", after) for after in ("approval", "execute")),
        ("approval", "execute"),
        ("execute", "supervisor"),
    }
