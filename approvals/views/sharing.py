"""What many ask for while nothing happens in between, made once and given to each of them."""

import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

# Longer than open pages take to ask in turns, even on a machine that is busy with something else.
SECONDS = 15.0
# More than a few hundred open pages ask for. Whoever thinks up one filter after another, of each of
# which a page of 60 kB is kept, must not fill the memory.
MOST = 1000

T = TypeVar("T")

# The last asked for comes last; whoever asks for something that is being made waits for it.
_kept: dict[Hashable, "Future[Any]"] = {}
_looking = Lock()


def shared(happened: Hashable, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gave the first who asked with this key after what happened last, for seconds.

    `happened` tells that from everything before it; the key holds all else that it depends on, such
    as who asks, and for what. Where `make` raises, whoever waited for it raises the same.
    """
    # All that is kept ends at the same time: what is made of other things is as old as they are.
    place = (happened, time.monotonic() // SECONDS, key)
    mine: Future[T] = Future()
    with _looking:
        one = _kept[place] = _kept.pop(place, mine)
        if len(_kept) > MOST:
            del _kept[next(iter(_kept))]
    if one is mine:
        try:
            mine.set_result(make())
        except BaseException as error:
            with _looking:
                if _kept.get(place) is mine:
                    del _kept[place]
            # They are not left to try one after another, each for as long as this took.
            mine.set_exception(error)
            raise
    value: T = one.result()
    return value
