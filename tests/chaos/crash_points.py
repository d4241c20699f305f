"""Kill the gateway at every point where a process can die, where `make test` takes some of them.

    python -m tests.chaos.crash_points [WORD]...

With words, only the scenarios whose names hold one of them. It prints the number of points of each.
"""

import os
import sys
from pathlib import Path

import pytest

EVERY_POINT = "CRASH_AT_EVERY_POINT"
TESTS = Path(__file__).with_name("test_crash_points.py")


if __name__ == "__main__":
    os.environ[EVERY_POINT] = "1"
    named = ["-k", " or ".join(sys.argv[1:])] if sys.argv[1:] else []
    sys.exit(pytest.main(["-q", "-s", str(TESTS), *named]))
