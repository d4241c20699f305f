# noqa: INP001 - Python finds it by its name, in a folder that is on its path
"""Loaded by each Python whose clock is wrong, before anything else: lets it sleep.

libfaketime that is told to leave the monotonic clock alone refuses Python's own sleep as an invalid
argument, and with it whoever waits a moment before trying again. A real wrong clock does not.
"""

import select
import time
from typing import Any


def _sleep(seconds: Any) -> None:
    select.select((), (), (), seconds)


time.sleep = _sleep
