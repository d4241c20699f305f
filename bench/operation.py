"""The operation that is approved, and the executor that does nothing but say when it was called."""

import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

import redis
from django.conf import settings

from agents.actions import ActionResult

# Critical by the rules that are shipped: one release manager decides.
TASK = {
    "operation": "deploy",
    "environment": "production",
    "description": "Deploy v2.5.0: saved baskets, faster search",
    "arguments": {"version": "v2.5.0", "service": "shop"},
}
AGENT = "cicd"
_CALLS = "bench-calls"
_CALL_SECONDS = 30


@cache
def _redis() -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_URL)


def do_nothing(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Succeed at once, and leave the key and the moment of the call for the benchmark."""
    del action
    # The monotonic clock counts from the start of the machine, so all processes share it.
    called_at = time.monotonic()
    _redis().rpush(_CALLS, json.dumps([idempotency_key, called_at]))
    return ActionResult(succeeded=True, summary="Nothing was done.")


def next_call() -> tuple[str, float]:
    """The oldest call that nobody has heard of yet: its key and moment; TimeoutError."""
    found = cast("tuple[bytes, bytes] | None", _redis().blpop([_CALLS], timeout=_CALL_SECONDS))
    if found is None:
        raise TimeoutError(f"No operation was executed within {_CALL_SECONDS} s of its approval.")
    key, called_at = json.loads(found[1])
    return key, called_at


def called() -> int:
    """How many calls there were that nobody has heard of yet."""
    return _redis().llen(_CALLS)


def unheard() -> int:
    """How many hints no worker for runs has taken from their queue yet."""
    return _redis().llen("runs")


def calls() -> list[tuple[str, float]]:
    """The key and moment of every call that nobody has heard of yet; they are heard of now."""
    with _redis().pipeline() as both:
        both.lrange(_CALLS, 0, -1)
        both.delete(_CALLS)
        found, _ = both.execute()
    return [(key, called_at) for key, called_at in map(json.loads, found)]
