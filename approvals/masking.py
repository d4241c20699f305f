"""Hide the values of secret-looking keys wherever a task is shown or sent."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from approvals.policy import masked_keys

MASK = "••••••"
# A shorter text is too common a part of others to be hidden wherever it stands.
_SHORTEST_SECRET = 4
_SEPARATORS = re.compile(r"[-_.\s]")


def masked(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which every value under a secret-looking key, at any depth, is a mask."""
    return {key: MASK if is_secret(key) else _masked(item) for key, item in value.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, (list, tuple)):
        return [_masked(item) for item in value]
    return value


def is_secret(key: str) -> bool:
    """Whether the values under a key are never shown."""
    return any(fnmatchcase(_bare(str(key)), _bare(pattern)) for pattern in masked_keys())


def _bare(text: str) -> str:
    """A key as compared: api_key, X-Api-Key and apiKey are one word."""
    return _SEPARATORS.sub("", text.casefold())


def masked_action(task: Mapping[str, Any], action: Mapping[str, Any]) -> dict[str, Any]:
    """The action without the values that are masked in its task, wherever they were filled in."""
    secrets = sorted(set(_hidden(task, masked(task))), key=len, reverse=True)
    return {key: _without(value, secrets) for key, value in masked(action).items()}


def masked_text(task: Mapping[str, Any], text: str) -> str:
    """The text without the values that are masked in the task, wherever something repeats them."""
    return str(masked_action(task, {"text": text})["text"])


def _hidden(value: Any, shown: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and isinstance(shown, Mapping):
        for key, item in value.items():
            yield from _hidden(item, shown[key])
    elif isinstance(value, (list, tuple)) and isinstance(shown, list):
        for item, shown_item in zip(value, shown, strict=True):
            yield from _hidden(item, shown_item)
    elif shown == MASK and len(text := str(value)) >= _SHORTEST_SECRET:
        yield text


def _without(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, Mapping):
        return {key: _without(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without(item, secrets) for item in value]
    return value
