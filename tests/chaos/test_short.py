"""The short form of `make chaos`: a minute of faults, every invariant, and checks that can fail."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.__main__ import run
from tests.tools import require_tool

pytestmark = pytest.mark.timeout(400)
RUNS = 60
# The faults get through their one round; what is struck outside may be met by no call any more.
STRUCK = {
    *("kill worker", "kill web", "kill beat", "freeze", "Redis", "PostgreSQL"),
    *("linear: ", "wrong signature"),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path that is short enough for a socket of PostgreSQL."""
    made = Path(tempfile.mkdtemp(prefix="hitl-chaos-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def test_under_faults_nothing_is_lost_and_nothing_happens_twice(folder: Path) -> None:
    require_tool("faketime", "apt-get install faketime")
    report = run(folder, seed=20, runs=RUNS, every_seconds=1.0, most_rounds=1, at_once=12)
    assert report.skew
    assert {part for part in STRUCK if any(part in name for name in report.struck)} == STRUCK
    assert report.held, report.text()
