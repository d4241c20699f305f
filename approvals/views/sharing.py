"""What many ask for while nothing happens in between, made once and given to each of them."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

# Longer than open pages take to ask in turns, even on a machine that is busy with something else.
SECONDS = 15.0
# Whoever asked just before something happened is answered just after it.
MOMENTS = 4

T = TypeVar("T")


@dataclass
class _Kept:
    """One thing; whoever asks while it is made waits for it."""

    lock: Lock = field(default_factory=Lock)
    values: list[Any] = field(default_factory=list)


@dataclass
class _Moment:
    """What was made between one thing that happened and the next."""

    ends_at: float
    kept: dict[Hashable, _Kept] = field(default_factory=dict)


# By what had happened; the oldest first.
_moments: dict[Hashable, _Moment] = {}
_looking = Lock()


def shared(happened: Hashable, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gave the first who asked with this key after what happened last, for seconds.

    `happened` tells that from everything before it; the key holds all else that it depends on, such
    as who asks, and for what.
    """
    now = time.monotonic()
    with _looking:
        if happened in _moments and _moments[happened].ends_at < now:
            del _moments[happened]
        moment = _moments.setdefault(happened, _Moment(now + SECONDS))
        if len(_moments) > MOMENTS:
            del _moments[next(iter(_moments))]
        one = moment.kept.setdefault(key, _Kept())
    with one.lock:
        if not one.values:
            one.values.append(make())
        value: T = one.values[0]
    return value


def forget() -> None:
    """Keep nothing of what was made."""
    with _looking:
        _moments.clear()
