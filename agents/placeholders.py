"""Placeholders such as {environment} or {arguments.version}: paths into the task, nothing more."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Value = str | int | bool

_TOKEN = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?)\}|[{}]")


def placeholders(template: object) -> Iterator[str]:
    """The paths that a template (a text, or lists and mappings of texts) refers to.

    ValueError where a brace opens no placeholder; a literal brace is written twice.
    """
    if isinstance(template, str):
        for token in _TOKEN.finditer(template):
            if token[0] in {"{", "}"}:
                raise ValueError(
                    f"{template!r} holds a single {token[0]!r} that belongs to no placeholder;"
                    " write it twice to mean the character"
                )
            if token[1]:
                yield token[1]
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from placeholders(value)
    elif isinstance(template, (list, tuple)):
        for item in template:
            yield from placeholders(item)


def fill(template: str, values: Mapping[str, Value], quote: Callable[[str], str] = str) -> str:
    """The text with every placeholder replaced once: what a value holds is never expanded."""
    return _TOKEN.sub(
        lambda token: quote(as_text(values[token[1]])) if token[1] else token[0][0], template
    )


def fill_json(template: Any, values: Mapping[str, Value]) -> Any:
    """The JSON template filled; a text that is one placeholder becomes the value, type and all."""
    if isinstance(template, str):
        whole = _TOKEN.fullmatch(template)
        return values[whole[1]] if whole and whole[1] else fill(template, values)
    if isinstance(template, Mapping):
        return {key: fill_json(value, values) for key, value in template.items()}
    if isinstance(template, (list, tuple)):
        return [fill_json(item, values) for item in template]
    return template


def as_text(value: Value) -> str:
    """The value as it is written in JSON, texts without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)
