"""What many ask for in the same moment, made once and given to each of them."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

# Longer than open pages take to ask in turns, and much shorter than it takes to decide something.
SECONDS = 3.0

T = TypeVar("T")


@dataclass
class _Kept:
    """One thing; whoever asks while it is made waits for it."""

    made_at: float = field(default_factory=time.monotonic)
    lock: Lock = field(default_factory=Lock)
    values: list[Any] = field(default_factory=list)


# The oldest first.
_kept: dict[Hashable, _Kept] = {}
_looking = Lock()


def shared(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gave whoever asked with the same key in the last seconds, else what it gives now.

    The key holds everything that it depends on: who asks, for what, and what there is to see.
    """
    with _looking:
        while _kept and next(iter(_kept.values())).made_at < time.monotonic() - SECONDS:
            del _kept[next(iter(_kept))]
        one = _kept.setdefault(key, _Kept())
    with one.lock:
        if not one.values:
            one.values.append(make())
        value: T = one.values[0]
    return value


def forget() -> None:
    """Keep nothing of what was made."""
    with _looking:
        _kept.clear()
