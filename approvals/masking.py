"""Hide the values of secret-looking keys wherever a task is shown or sent."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from approvals.policy import masked_keys

MASK = "••••••"
_SEPARATORS = re.compile(r"[-_.\s]")


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
    return any(fnmatchcase(_bare(str(key)), _bare(pattern)) for pattern in masked_keys())


def _bare(text: str) -> str:
    """A key as compared: api_key, X-Api-Key and apiKey are one word."""
    return _SEPARATORS.sub("", text.casefold())
