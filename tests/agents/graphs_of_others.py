"""Graphs as a user would bring them: they know nothing of this project."""

from typing import Annotated, Any, TypedDict

import psycopg
from django.db import connection, transaction
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt

from agents import checkpoints
from tests.agents.executors_of_tests import WorkerDied
from tests.waiting import eventually

Graph = StateGraph[Any, Any, Any, Any]

# What the nodes did, in order; the tests read it and clear it.
effects: list[str] = []
# What the nodes ask for depends on this where a test changes its mind between two runs of a node.
asked: dict[str, Any] = {"version": "v1"}


def _join(left: list[str], right: list[str]) -> list[str]:
    return [*left, *right]


class State(TypedDict, total=False):
    """Everything that any of these graphs keeps."""

    operation: str
    environment: str
    done: Annotated[list[str], _join]


def _deploy(environment: str, **more: Any) -> dict[str, Any]:
    verdict = interrupt({"operation": "deploy", "environment": environment, **more})
    if verdict["status"] != "approved":
        return {"done": [f"{environment}: {verdict['status']}"]}
    effects.append(environment)
    return {"done": [environment]}


def one_interrupt() -> Graph:
    """Asks once, with no environment that any rule knows."""
    graph: Graph = StateGraph(State)
    graph.add_node("ask", lambda _: _deploy("production", version=asked["version"]))
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def asks_then_acts() -> Graph:
    """Asks in one node, and does in the next what was approved."""

    def ask(state: State) -> dict[str, Any]:
        verdict = interrupt({"operation": "deploy", "environment": "production"})
        return {"done": [verdict["status"]]}

    def act(state: State) -> dict[str, Any]:
        effects.append("acted")
        return {"done": ["acted"]}

    graph: Graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_node("act", act)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "act")
    graph.add_edge("act", END)
    return graph


def hangs_in_a_transaction() -> Graph:
    """Stands still in a transaction of Django's for longer than the database allows."""

    def act(state: State) -> dict[str, Any]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = '100ms'")
            if asked["version"] == "v1":
                _stand_still(connection.connection.info.backend_pid)
            cursor.execute("SELECT 1")
        return {"done": ["acted"]}

    graph: Graph = StateGraph(State)
    graph.add_node("act", act)
    graph.add_edge(START, "act")
    graph.add_edge("act", END)
    return graph


def _stand_still(session: int) -> None:
    """Do nothing until the database has ended this session."""
    with psycopg.connect(**checkpoints.address(connection), autocommit=True) as onlooker:
        query = "SELECT FROM pg_stat_activity WHERE pid = %s"
        eventually(
            lambda: onlooker.execute(query, [session]).fetchone() is None,
            "the database ends a session that stands still in a transaction",
        )


def parallel_interrupts() -> Graph:
    """Asks twice at the same time; the second payload changes with `asked`."""
    return _regions("left")


def three_interrupts() -> Graph:
    """Asks three times at the same time; the last payload changes with `asked`."""
    return _regions("left", "middle")


def _regions(*steady: str) -> Graph:
    graph: Graph = StateGraph(State)
    for region in steady:
        graph.add_node(region, lambda _, region=region: _deploy("production", region=region))
    graph.add_node(
        "right", lambda _: _deploy("production", region="right", version=asked["version"])
    )
    for name in (*steady, "right"):
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph


def looping_interrupts() -> Graph:
    """Asks three times in one node, with the same payload each time."""

    def node(state: State) -> dict[str, Any]:
        done = []
        for turn in range(3):
            verdict = interrupt({"operation": "deploy", "environment": "production"})
            done.append(f"{turn}: {verdict['status']}")
        effects.append("looped")
        return {"done": done}

    graph: Graph = StateGraph(State)
    graph.add_node("loop", node)
    graph.add_edge(START, "loop")
    graph.add_edge("loop", END)
    return graph


def nested_interrupts() -> Graph:
    """Asks inside a subgraph."""
    graph: Graph = StateGraph(State)
    graph.add_node("inner", one_interrupt().compile())
    graph.add_edge(START, "inner")
    graph.add_edge("inner", END)
    return graph


def unknown_payload() -> Graph:
    """Asks with a payload that is no task, and holds what a database refuses."""

    def node(state: State) -> dict[str, Any]:
        verdict = interrupt(["free the \x00 penguins", {"when": {1, 2}}])
        return {"done": [verdict["status"]]}

    graph: Graph = StateGraph(State)
    graph.add_node("ask", node)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def needs_nobody() -> Graph:
    """Asks for what the rules let through, then for what they do not."""

    def node(state: State) -> dict[str, Any]:
        first = interrupt({"operation": "update_docs", "environment": "development"})
        second = interrupt({"operation": "deploy", "environment": "production"})
        return {"done": [first["decided_by"], second["decided_by"]]}

    graph: Graph = StateGraph(State)
    graph.add_node("ask", node)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph


def dying() -> Graph:
    """Asks, acts, and takes its worker down with it, as long as `asked` says so."""

    def node(state: State) -> dict[str, Any]:
        done = _deploy("production")
        if asked.get("die", True):
            raise WorkerDied
        return done

    graph: Graph = StateGraph(State)
    graph.add_node("die", node)
    graph.add_edge(START, "die")
    graph.add_edge("die", END)
    return graph


def failing() -> Graph:
    """Does something, then fails."""

    def node(state: State) -> dict[str, Any]:
        effects.append("half")
        if asked.get("fail", True):
            raise ValueError("the penguins are loose")
        return {"done": ["whole"]}

    graph: Graph = StateGraph(State)
    graph.add_node("fail", node)
    graph.add_edge(START, "fail")
    graph.add_edge("fail", END)
    return graph
