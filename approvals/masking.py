"""Hide the values of secret-looking keys wherever a task is shown or sent."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from approvals.policy import masked_keys

MASK = "••••••"


def masked(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which every value under a secret-looking key, at any depth, is a mask."""
    return {key: MASK if _secret(key) else _masked(item) for key, item in value.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return masked(value)
    if isinstance(value, (list, tuple)):
        return [_masked(item) for item in value]
    return value


def _secret(key: str) -> bool:
    return any(fnmatchcase(str(key).casefold(), pattern.casefold()) for pattern in masked_keys())
