"""Graphs as a later release of their author has them, each beside the one that came before."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import add
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt

from tests.agents.executors_of_tests import WorkerDied
from tests.agents.graphs_of_others import Graph, asked, effects


class State(TypedDict, total=False):
    """What the first release keeps."""

    operation: str
    environment: str
    target: str
    done: Annotated[list[str], add]


def prepare(_: Any) -> Mapping[str, Any]:
    """Say where to."""
    return {"target": "production", "done": ["prepared"]}


def ask(state: Any) -> Mapping[str, Any]:
    """Ask for a deployment there."""
    verdict = interrupt({"operation": "deploy", "environment": state.get("target")})
    return {"done": [str(verdict["status"])]}


def act(state: Any) -> Mapping[str, Any]:
    """Deploy there, unless the worker dies first."""
    if asked.get("die"):
        raise WorkerDied
    effects.append(f"deployed to {state.get('target')}")
    return {"done": ["deployed"]}


def look(_: Any) -> Mapping[str, Any]:
    """Look around, as later releases do."""
    effects.append("looked")
    return {"done": ["looked"]}


def _in_a_row(*nodes: tuple[str, Any], state: Any = State) -> Graph:
    graph: Graph = StateGraph(state)
    names = [START, *(name for name, _ in nodes), END]
    for name, node in nodes:
        graph.add_node(name, node)
    for before, after in pairwise(names):
        graph.add_edge(before, after)
    return graph


PREPARE: tuple[str, Any] = ("prepare", prepare)
ASK: tuple[str, Any] = ("ask", ask)
ACT: tuple[str, Any] = ("act", act)
LOOK: tuple[str, Any] = ("look", look)


def first() -> Graph:
    """Prepares, asks and acts."""
    return _in_a_row(PREPARE, ASK, ACT)


def node_before() -> Graph:
    """A node more before the question."""
    return _in_a_row(PREPARE, LOOK, ASK, ACT)


def node_after() -> Graph:
    """A node more after the question."""
    return _in_a_row(PREPARE, ASK, LOOK, ACT)


def question_removed() -> Graph:
    """Asks nobody any more."""
    return _in_a_row(PREPARE, ACT)


def question_renamed() -> Graph:
    """Asks in a node of another name."""
    return _in_a_row(PREPARE, ("approval", ask), ACT)


def action_renamed() -> Graph:
    """Acts in a node of another name."""
    return _in_a_row(PREPARE, ASK, ("deploy", act))


class WithoutTarget(TypedDict, total=False):
    """The state with a value less."""

    operation: str
    environment: str
    done: Annotated[list[str], add]


def value_removed() -> Graph:
    """Keeps a value less."""
    return _in_a_row(PREPARE, ASK, ACT, state=WithoutTarget)


class WithRegion(State, total=False):
    """The state with a value more."""

    region: str


def value_added() -> Graph:
    """Keeps a value more, that no run of the first release has."""

    def act_there(state: Any) -> Mapping[str, Any]:
        effects.append(f"deployed to {state['region']}")
        return {}

    return _in_a_row(PREPARE, ASK, ("act", act_there), state=WithRegion)


def _newest(_: Any, new: Any) -> Any:
    return new


class Reduced(TypedDict, total=False):
    """The state with another way to join what is done."""

    operation: str
    environment: str
    target: str
    done: Annotated[list[str], _newest]


def reducer_changed() -> Graph:
    """Keeps only what was done last."""
    return _in_a_row(PREPARE, ASK, ACT, state=Reduced)


def question_changed() -> Graph:
    """Asks for something else in the same node."""

    def ask_more(state: Any) -> Mapping[str, Any]:
        verdict = interrupt(
            {"operation": "deploy", "environment": state["target"], "with": "a migration"}
        )
        return {"done": [str(verdict["status"])]}

    return _in_a_row(PREPARE, ("ask", ask_more), ACT)


def little_asked() -> Graph:
    """Asks in the same node for what needs nobody."""

    def ask_little(_: Any) -> Mapping[str, Any]:
        verdict = interrupt({"operation": "update_docs", "environment": "development"})
        return {"done": [str(verdict["status"])]}

    return _in_a_row(PREPARE, ("ask", ask_little), ACT)


def nested() -> Graph:
    """Asks in a subgraph."""
    return _in_a_row(("inner", first().compile()))


def nested_renamed() -> Graph:
    """Asks in a subgraph, in a node of another name."""
    return _in_a_row(("inner", question_renamed().compile()))


def _fanned(name: str) -> Graph:
    graph: Graph = StateGraph(State)
    places: Sequence[str] = ("production", "staging")
    graph.add_node(*PREPARE)
    graph.add_node(name, ASK[1])
    graph.add_edge(START, "prepare")
    graph.add_conditional_edges(
        "prepare", lambda _: [Send(name, {"target": place}) for place in places], [name]
    )
    graph.add_edge(name, END)
    return graph


def fanned() -> Graph:
    """Sends each place to the question."""
    return _fanned("ask")


def fanned_renamed() -> Graph:
    """Sends each place to a question of another name."""
    return _fanned("approval")


def _joined(last: str) -> Graph:
    graph: Graph = StateGraph(State)
    graph.add_node(*LOOK)
    graph.add_node(*ASK)
    graph.add_node(last, ACT[1])
    for name in ("look", "ask"):
        graph.add_edge(START, name)
    graph.add_edge(["look", "ask"], last)
    graph.add_edge(last, END)
    return graph


def joined() -> Graph:
    """Acts once two nodes have ended, of which one asks."""
    return _joined("act")


def joined_renamed() -> Graph:
    """Acts then in a node of another name."""
    return _joined("deploy")


def pair() -> Graph:
    """Asks twice at the same time."""
    return _beside("left", "right")


def pair_renamed() -> Graph:
    """Asks twice, in one node of another name."""
    return _beside("left", "east")


def _beside(*names: str) -> Graph:
    graph: Graph = StateGraph(State)
    for name in names:
        graph.add_node(name, ASK[1])
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph
