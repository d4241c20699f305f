"""Whether a release's graph has a place for everything that a thread, begun by another one, holds.

LangGraph passes over what it does not know: a run that waits in a node which has gone looks as if
it had ended. A subgraph that its node builds only when it runs cannot be looked into.
"""

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.types import Send, StateSnapshot

_TO = "branch:to:"
_JOIN = "join:"
_SENDS = "__pregel_tasks"


def source(path: str, graph: Any) -> str:
    """What tells the source of a graph, its builder at `path`, from that of another release.

    The files that define the builder and the functions of the nodes; not what these import.
    """
    graphs = [graph, *(subgraph for _, subgraph in graph.get_subgraphs(recurse=True))]
    nodes = [node.bound for each in graphs for node in each.nodes.values()]
    functions = [_function(node) for node in nodes]
    modules = {path.rpartition(".")[0], *(getattr(one, "__module__", "") for one in functions)}
    text = hashlib.sha256(path.encode())
    for name in sorted(module for module in modules if module in sys.modules):
        file = getattr(sys.modules[name], "__file__", None)
        if file and not name.startswith("langgraph."):
            text.update(Path(file).read_bytes())
    return text.hexdigest()


def _function(node: Any) -> Any:
    function = getattr(node, "func", None) or getattr(node, "afunc", None)
    while isinstance(function, partial):
        function = function.func
    return function


def missing(stored: CheckpointTuple, graph: Any, config: RunnableConfig) -> list[str]:
    """What the compiled graph, or a subgraph at work, has no place for, in words; sorted."""
    found = set(_missing(stored, graph))
    if inner := dict(graph.get_subgraphs(recurse=True)):
        for state in _at_work(graph.get_state(config, subgraphs=True)):
            space = state.config["configurable"]["checkpoint_ns"]
            subgraph = inner.get(_path(space))
            held = graph.checkpointer.get_tuple(state.config)
            if subgraph is not None and held is not None:
                found.update(_missing(held, subgraph))
    return sorted(found)


def _missing(stored: CheckpointTuple, graph: Any) -> Iterator[str]:
    values = stored.checkpoint["channel_values"]
    # Writes of a node that has ended, which a crash kept out of the checkpoint that follows.
    writes = [(channel, value) for _, channel, value in stored.pending_writes or []]
    for channel in {*values, *(channel for channel, _ in writes)}.difference(graph.channels):
        if channel.startswith(_TO):
            yield f"the node {channel.removeprefix(_TO)}"
        elif channel.startswith(_JOIN):
            yield f"the edge {channel.removeprefix(_JOIN)}"
        elif not channel.startswith("__"):
            yield f"the value {channel}"
    sends = [*values.get(_SENDS, []), *(value for channel, value in writes if channel == _SENDS)]
    for send in sends:
        if isinstance(send, Send) and send.node not in graph.nodes:
            yield f"the node {send.node}"


def _at_work(state: StateSnapshot) -> Iterator[StateSnapshot]:
    for task in state.tasks:
        if isinstance(task.state, StateSnapshot):
            yield task.state
            yield from _at_work(task.state)


def _path(space: str) -> str:
    """Where a subgraph is, without the ids of the tasks at work: `outer:123|inner:456`."""
    parts = [part.partition(":")[0] for part in space.split("|")]
    return "|".join(part for part in parts if not part.isdigit())
