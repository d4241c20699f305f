"""A process whose clock is wrong differs from the others in nothing else."""

import os
import subprocess
import sys
import time

import pytest

from tests.chaos.stage import wrong_clock
from tests.tools import require_tool

# What a process does to wait: it sleeps, and it waits for another thread.
WAIT = """
import threading, time
began = time.monotonic()
time.sleep(0.2)
threading.Event().wait(0.2)
print(time.time(), time.monotonic() - began)
"""


@pytest.mark.parametrize("by", [-120, 120])
def test_it_waits_as_long_as_any_other(by: int) -> None:
    require_tool("faketime", "apt-get install faketime")
    waited = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", WAIT],
        env={"PATH": os.defpath, **wrong_clock(by)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    now, seconds = map(float, waited.stdout.split())
    assert now - time.time() == pytest.approx(by, abs=10)
    assert 0.4 <= seconds < 10
