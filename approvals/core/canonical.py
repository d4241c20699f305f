"""One spelling of a JSON value, so that equal values have equal digests."""

import hashlib
import json
from decimal import Decimal
from typing import Any


def canonical_json(value: Any) -> str:
    """The value as JSON, keys sorted, no spaces; TypeError or ValueError when it is not JSON."""
    return json.dumps(
        _stored(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def digest(value: Any) -> str:
    """sha256 of the canonical JSON, as 64 lowercase hex digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()


def _stored(value: Any) -> Any:
    """The value with whole floats as integers: jsonb gives 1e16 and -0.0 back as other texts."""
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    if isinstance(value, dict):
        return {key: _stored(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stored(item) for item in value]
    return value


def proposal_digest(task: Any, agent_name: str, action: Any) -> str:
    """What an approval is bound to: the task, the agent that asks, and the action that runs."""
    return digest([task, agent_name, action])
