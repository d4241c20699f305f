"""`manage.py up` keeps its processes running, and leaves none behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import descendants, runs
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]

DATABASE = "database:runs:first:5"
WORKERS = ("one:runs:workers:5", "two:runs:workers:5")


class Supervised:
    """A supervisor in a process of its own, over stand-ins that note what happens to them."""

    def __init__(self, folder: Path, *wanted: str) -> None:
        self._notes = folder / "notes"
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "tests.hitl_project.supervised", str(folder), *wanted],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def happened(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    def wait_for(self, *lines: str) -> None:
        eventually(lambda: set(lines) <= set(self.happened()), f"it is noted that {lines}")

    def ended(self) -> tuple[int, str]:
        """Return the exit status and everything it said."""
        said = self.process.communicate(timeout=60)[0]
        return self.process.returncode, said


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    """A function that starts a supervisor over stand-ins; it is killed when the test ends."""
    started: list[Supervised] = []

    def start(*wanted: str) -> Supervised:
        started.append(Supervised(tmp_path, *wanted))
        return started[-1]

    yield start
    for supervised in started:
        if supervised.process.poll() is None:
            supervised.process.kill()
        supervised.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_reverse_order_and_exits_0(
    supervise: Callable[..., Supervised], number: signal.Signals
) -> None:
    supervised = supervise(DATABASE, *WORKERS)
    supervised.wait_for("database started", "one started", "two started")
    supervised.process.send_signal(number)
    status, said = supervised.ended()
    assert (status, said) == (0, f"Stopping, as {number.name} asked\n")
    stopped = [line for line in supervised.happened() if line.endswith("stopped")]
    assert stopped[-1] == "database stopped"
    assert set(stopped) == {"database stopped", "one stopped", "two stopped"}


def test_a_signal_to_the_group_of_the_terminal_reaches_only_the_supervisor(
    supervise: Callable[..., Supervised],
) -> None:
    supervised = supervise(DATABASE, *WORKERS)
    supervised.wait_for("database started", "one started", "two started")
    groups = {
        Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[2]
        for pid in [supervised.process.pid, *descendants(supervised.process.pid)]
    }
    assert len(groups) == 4


def test_killing_the_supervisor_leaves_nothing_running(
    supervise: Callable[..., Supervised],
) -> None:
    supervised = supervise(DATABASE, *WORKERS, "stubborn:stays:last:5")
    supervised.wait_for("database started", "one started", "two started", "stubborn started")
    left = descendants(supervised.process.pid)
    assert len(left) == 4
    supervised.process.kill()
    supervised.ended()
    eventually(lambda: not any(map(runs, left)), f"all of {left} ended")


def test_what_ignores_the_request_to_stop_is_killed_after_its_time(
    supervise: Callable[..., Supervised],
) -> None:
    supervised = supervise("stubborn:stays:last:0.2")
    supervised.wait_for("stubborn started")
    left = descendants(supervised.process.pid)
    supervised.process.terminate()
    status, said = supervised.ended()
    assert status == 0
    assert "stubborn did not stop in time and is killed" in said
    assert not any(map(runs, left))


def test_a_crashed_process_is_started_again_and_the_others_stay(
    supervise: Callable[..., Supervised],
) -> None:
    supervised = supervise(DATABASE, *WORKERS)
    supervised.wait_for("database started", "one started", "two started")
    victim = next(
        pid for pid, command in descendants(supervised.process.pid).items() if " one " in command
    )
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: supervised.happened().count("one started") == 2, "one started again")
    assert supervised.happened().count("two started") == 1
    supervised.process.terminate()
    status, said = supervised.ended()
    assert status == 0
    assert "one was ended by SIGKILL; it starts again in 0.5 s" in said


def test_a_process_that_crashes_again_and_again_ends_everything_with_its_last_words(
    supervise: Callable[..., Supervised],
) -> None:
    supervised = supervise(DATABASE, "unlucky:crashes:workers:5")
    status, said = supervised.ended()
    assert status == 1
    assert "Error: unlucky ended with exit status 1, for the 5th time within 60 s" in said
    assert said.rstrip().endswith("no luck today")
    assert supervised.happened().count("unlucky started") == 5
    assert supervised.happened()[-1] == "database stopped"
