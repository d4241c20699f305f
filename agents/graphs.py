"""The graphs that can run: the built-in workflow, and those that the settings register."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from langgraph.graph import END, START, StateGraph

from agents import nodes
from agents.roster import AGENTS
from agents.state import WorkflowState

AnyGraph = StateGraph[Any, Any, Any, Any]

BUILT_IN = "workflow"
# Raise it when nodes or the state change so that a waiting run could not go on as it was meant to.
BUILT_IN_VERSION = "1"


@dataclass(frozen=True)
class GraphSpec:
    """How to build a graph, and which version of it that is."""

    name: str
    version: str
    build: Callable[[], AnyGraph]


def build_workflow() -> AnyGraph:
    """The built-in workflow: a supervisor, six agents, and one gate before every effect."""
    graph: AnyGraph = StateGraph(WorkflowState)
    graph.add_node("supervisor", nodes.supervisor)
    workers = [agent for agent in AGENTS if agent != "supervisor"]
    for agent in workers:
        graph.add_node(agent, nodes.make_agent(agent))
        graph.add_conditional_edges(agent, nodes.proposed, ["assess", "supervisor"])
    graph.add_node("assess", nodes.assess)
    graph.add_node("approval", nodes.approval)
    graph.add_node("execute", nodes.execute)
    graph.add_edge(START, "supervisor")
    graph.add_conditional_edges(
        "supervisor", nodes.next_agent, {**{name: name for name in workers}, nodes.FINISH: END}
    )
    graph.add_conditional_edges("assess", nodes.should_request_approval, ["approval", "execute"])
    graph.add_edge("approval", "execute")
    graph.add_edge("execute", "supervisor")
    return graph


def graph_spec(name: str) -> GraphSpec | None:
    """The graph of that name, or None."""
    if name == BUILT_IN:
        return GraphSpec(BUILT_IN, BUILT_IN_VERSION, build_workflow)
    if name not in settings.HITL_GRAPHS:
        return None
    path, version = settings.HITL_GRAPHS[name]
    try:
        build = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"The graph {name!r} cannot be loaded: {error}") from error
    return GraphSpec(name, str(version), cast("Callable[[], Any]", build))
