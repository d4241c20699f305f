"""What a query costs by Linear's published rule, and the most that one query may cost.

A scalar field costs 0.1 points, an object 1 point; a connection multiplies what it holds by the
page size asked for, 50 where none is. Above 10,000 points Linear refuses the query.
"""

import math
from collections.abc import Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    VariableNode,
)

from sandbox.linear.filters import DEFAULT_PAGE

MOST_POINTS = 10_000
CONNECTIONS = frozenset({
    "attachments", "comments", "history", "issueLabels", "issues", "labels", "projects",
    "states", "teams", "users", "webhooks", "workflowStates",
})  # fmt: skip
# The wrapping of a page is no entity of its own.
WRAPPING = frozenset({"nodes", "edges", "node", "pageInfo"})


def points_of(document: DocumentNode, variables: Mapping[str, Any]) -> int:
    """The points of the most expensive operation of a document, rounded up."""
    fragments = {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }
    costs = [
        _cost(node.selection_set, fragments, variables)
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
    ]
    return math.ceil(round(max(costs, default=0.0), 6))


def _cost(
    selected: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: Mapping[str, Any],
) -> float:
    total = 0.0
    for node in selected.selections:
        match node:
            case FieldNode(selection_set=None):
                total += 0.1
            case FieldNode(selection_set=SelectionSetNode() as inner):
                inside = _cost(inner, fragments, variables)
                if node.name.value in CONNECTIONS:
                    total += _page(node, variables) * (1 + inside)
                else:
                    total += inside + (0 if node.name.value in WRAPPING else 1)
            case InlineFragmentNode():
                total += _cost(node.selection_set, fragments, variables)
            case FragmentSpreadNode():
                fragment = fragments[node.name.value]
                total += _cost(fragment.selection_set, fragments, variables)
    return total


def _page(node: FieldNode, variables: Mapping[str, Any]) -> int:
    for argument in node.arguments or ():
        if argument.name.value in {"first", "last"}:
            if isinstance(argument.value, IntValueNode):
                return int(argument.value.value)
            if isinstance(argument.value, VariableNode):
                value = variables.get(argument.value.name.value)
                if isinstance(value, int):
                    return value
    return DEFAULT_PAGE
