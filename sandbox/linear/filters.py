"""Linear's filters, ordering and cursor pages, over the dictionaries that a query returns."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sandbox.linear.errors import InputError

Json = dict[str, Any]
DATES = frozenset({"createdAt", "updatedAt"})
DEFAULT_PAGE = 50
LARGEST_PAGE = 250

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda value, wanted: value == wanted,
    "neq": lambda value, wanted: value != wanted,
    "in": lambda value, wanted: value in wanted,
    "nin": lambda value, wanted: value not in wanted,
    "gt": lambda value, wanted: value > wanted,
    "gte": lambda value, wanted: value >= wanted,
    "lt": lambda value, wanted: value < wanted,
    "lte": lambda value, wanted: value <= wanted,
    "contains": lambda value, wanted: wanted in value,
    "startsWith": lambda value, wanted: value.startswith(wanted),
    "endsWith": lambda value, wanted: value.endswith(wanted),
    "eqIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
}


def matches(entity: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Whether an entity passes a filter; every condition in it must hold."""
    if entity is None:
        return wanted.get("null") is True
    for name, condition in wanted.items():
        if name == "and":
            passed = all(matches(entity, part) for part in condition)
        elif name == "or":
            passed = any(matches(entity, part) for part in condition)
        elif name == "null":
            passed = condition is not True
        elif isinstance(value := entity[name], Mapping) or value is None:
            passed = matches(value, condition)
        else:
            passed = _compare(name, value, condition)
        if not passed:
            return False
    return True


def _compare(name: str, value: object, condition: Mapping[str, Any]) -> bool:
    if name in DATES:
        value = _moment(str(value))
        condition = {operator: _moment(wanted) for operator, wanted in condition.items()}
    return all(COMPARISONS[operator](value, wanted) for operator, wanted in condition.items())


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            "Argument Validation Error", f"{text!r} is no ISO 8601 time (durations: not here)."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def connection(entities: Sequence[Json], arguments: Mapping[str, Any]) -> Json:
    """One page of the entities that pass the filter.

    The newest comes first, by `createdAt` unless `orderBy` says `updatedAt`; of two of the same
    moment the one listed first. Archived ones are left out unless `includeArchived` asks for them.
    """
    found = [
        entity
        for entity in entities
        if (arguments.get("includeArchived") or not entity.get("archivedAt"))
        and matches(entity, arguments.get("filter") or {})
    ]
    order = arguments.get("orderBy") or "createdAt"
    found.sort(key=lambda entity: str(entity[order]), reverse=True)
    start, end = _window([entity["id"] for entity in found], arguments)
    page = found[start:end]
    return {
        "nodes": page,
        "edges": [{"cursor": entity["id"], "node": entity} for entity in page],
        "pageInfo": {
            "hasPreviousPage": start > 0,
            "hasNextPage": end < len(found),
            "startCursor": page[0]["id"] if page else None,
            "endCursor": page[-1]["id"] if page else None,
        },
    }


def page_size(arguments: Mapping[str, Any]) -> int:
    """How many entities a page asks for. Raises InputError above Linear's limit."""
    size = arguments.get("first")
    if size is None:
        size = arguments.get("last")
    if size is None:
        return DEFAULT_PAGE
    if not 1 <= size <= LARGEST_PAGE:
        raise InputError(
            "Argument Validation Error", f"A page holds from 1 to {LARGEST_PAGE} entities."
        )
    return int(size)


def _window(ids: Sequence[str], arguments: Mapping[str, Any]) -> tuple[int, int]:
    low, high = 0, len(ids)
    try:
        if arguments.get("after"):
            low = ids.index(arguments["after"]) + 1
        if arguments.get("before"):
            high = ids.index(arguments["before"])
    except ValueError as error:
        raise InputError("Argument Validation Error", "The cursor names no entity.") from error
    size = page_size(arguments)
    if arguments.get("last") is not None and arguments.get("first") is None:
        return max(low, high - size), high
    return low, min(high, low + size)
