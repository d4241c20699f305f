"""Changes to a document of mappings and lists, at any of its places."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st


def places(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where every part of a document stands."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*before, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*before, key))


def alter(
    draw: st.DrawFn, document: Any, values: st.SearchStrategy[Any], keys: st.SearchStrategy[Any]
) -> None:
    """Replace, take out, rename, copy or double something in the document."""
    found = list(places(document))
    if not found:
        return
    *path, key = draw(st.sampled_from(found))
    holder = document
    for step in path:
        holder = holder[step]
    match draw(st.sampled_from(("replace", "replace", "move", "remove", "rename", "double"))):
        case "remove":
            del holder[key]
        case "rename" if isinstance(holder, dict):
            holder[draw(keys)] = holder.pop(key)
        case "move":
            # What stands elsewhere is more often of a type that fits.
            other: Any = document
            for step in draw(st.sampled_from(found)):
                other = other[step]
            holder[key] = deepcopy(other)
        case "double" if isinstance(holder, list):
            holder.append(holder[key])
        case _:
            holder[key] = draw(values)
