"""Waits for what another process does, with a bound."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

LONGEST_SECONDS = 10.0
LOOK_EVERY_SECONDS = 0.02


def when(read: Callable[[], Found], true: Callable[[Found], bool] = bool) -> Found:
    """What `read` gives once it fulfils the condition. Raises AssertionError after a while."""
    deadline = time.monotonic() + LONGEST_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = read()
        if true(found):
            return found
        pause.wait(LOOK_EVERY_SECONDS)
    raise AssertionError(f"The condition did not come true; the last reading: {read()}")
