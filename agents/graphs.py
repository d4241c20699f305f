"""The built-in workflow as a graph; `registry` holds its version."""

from typing import Any

from langgraph.graph import END, START, StateGraph

from agents import nodes
from agents.roster import AGENTS
from agents.state import WorkflowState

AnyGraph = StateGraph[Any, Any, Any, Any]


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
