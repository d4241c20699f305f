"""Graphs as a user would bring them: they interrupt, act on the verdict, and know nothing else."""

import os
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from sandbox.program import record_effect
from tests.e2e.program import pass_gate

QUESTIONS = 16


def _join(left: list[str], right: list[str]) -> list[str]:
    return [*left, *right]


class State(TypedDict, total=False):
    """The task that a run was started with, and what was done."""

    operation: str
    environment: str
    label: str
    done: Annotated[list[str], _join]


Graph = StateGraph[State, Any, Any, Any]


def _ask(state: State, place: str, **more: Any) -> dict[str, Any]:
    """Ask whether one place may be deployed to; the answer holds what was approved."""
    payload = {"operation": "deploy", "environment": "production", "label": state["label"]}
    verdict: dict[str, Any] = interrupt({**payload, "place": place, **more})
    return verdict


def _deploy(state: State, place: str, **more: Any) -> dict[str, Any]:
    verdict = _ask(state, place, **more)
    if verdict["status"] == "approved":
        approved = verdict["task"]
        record_effect("deploy", {"label": state["label"], "place": place, **_texts(approved)})
        pass_gate(f"{state['label']}-{place}")
    return {"done": [f"{place}: {verdict['status']}"]}


def _texts(task: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, value in task.items() if isinstance(value, str)}


def _version(label: str) -> str:
    """What would be deployed now: somebody may change it while people think."""
    file = Path(os.environ["HITL_DATA_DIR"]) / f"{label}.version"
    return file.read_text() if file.exists() else "v1"


def one_question() -> Graph:
    """Asks once."""
    graph = StateGraph(State)
    graph.add_node("ask", lambda state: _deploy(state, "here"))
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def same_question_twice() -> Graph:
    """Asks twice in one node, the second time with the same payload as the first."""

    def node(state: State) -> dict[str, Any]:
        return {"done": [_ask(state, "here")["status"] for _ in range(2)]}

    graph = StateGraph(State)
    graph.add_node("ask", node)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def two_regions() -> Graph:
    """Asks for two regions at once; what the right one would get may change."""
    graph = StateGraph(State)
    graph.add_node("left", lambda state: _deploy(state, "left"))
    graph.add_node("right", lambda state: _deploy(state, "right", version=_version(state["label"])))
    for name in ("left", "right"):
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph


def many_questions() -> Graph:
    """Asks so many things at once that writing the requests down takes a while."""
    graph = StateGraph(State)
    for number in range(QUESTIONS):
        place = f"place-{number}"
        graph.add_node(place, lambda state, place=place: _deploy(state, place))
        graph.add_edge(START, place)
        graph.add_edge(place, END)
    return graph
