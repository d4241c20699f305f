"""Which graphs can run: the built-in workflow, and those that the settings register.

Knows them by name alone: langgraph is imported when a graph is built, in the workers that run it.
"""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

BUILT_IN = "workflow"
# Raise it when nodes or the state change so that a waiting run could not go on as it was meant to.
BUILT_IN_VERSION = "1"


@dataclass(frozen=True)
class GraphSpec:
    """Where a graph's builder is, and which version of the graph it builds."""

    name: str
    version: str
    path: str

    def build(self) -> Any:
        """The uncompiled graph; ImproperlyConfigured where its builder cannot be imported."""
        try:
            return import_string(self.path)()
        except ImportError as error:
            raise ImproperlyConfigured(
                f"The graph {self.name!r} cannot be loaded: {error}"
            ) from error


def graph_spec(name: str) -> GraphSpec | None:
    """The graph of that name, as new runs are started with it, or None."""
    if name == BUILT_IN:
        return GraphSpec(BUILT_IN, BUILT_IN_VERSION, "agents.graphs.build_workflow")
    if name not in settings.HITL_GRAPHS:
        return None
    path, version, *_ = settings.HITL_GRAPHS[name]
    return GraphSpec(name, str(version), path)


def kept_spec(name: str, version: str) -> GraphSpec | None:
    """An earlier version of a registered graph that is kept for the runs it began, or None."""
    _, _, *kept = settings.HITL_GRAPHS.get(name, ("", ""))
    paths = {str(each): path for each, path in kept[0].items()} if kept else {}
    return GraphSpec(name, version, paths[version]) if version in paths else None
