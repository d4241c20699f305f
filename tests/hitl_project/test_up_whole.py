"""`manage.py up` as a person starts it, and the commands it consists of."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from shutil import which

import psycopg
import pytest

from tests.processes import descendants, runs
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]


def environment(**given: str) -> dict[str, str]:
    """Return an environment in which nothing of the gateway is set but what is given."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **given}


def manage(*arguments: str, **given: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=environment(**given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def get(port: int, path: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Up:
    """One `manage.py up` in a data folder, without the demo, but with more of the environment."""

    def __init__(self, data_dir: Path, port: int, **more: str) -> None:
        self.data_dir = data_dir
        self.port = port
        self._said = data_dir.parent / f"said-{port}"
        with self._said.open("w") as said:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, str(ROOT / "manage.py"), "up"],
                env=environment(HITL_DATA_DIR=str(data_dir), PORT=str(port), HITL_DEMO="0", **more),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def said(self) -> str:
        return self._said.read_text()

    def wait_until_ready(self) -> None:
        ready = f"Ready: http://127.0.0.1:{self.port}\n"

        def decided() -> bool:
            return ready in self.said() or self.process.poll() is not None

        eventually(decided, "`up` is ready", seconds=120)
        assert ready in self.said(), self.said()

    def exported(self) -> dict[str, str]:
        """Return what `. environment` gives a shell."""
        shell = ["/bin/sh", "-c", f". '{self.data_dir}/environment'; env -0"]
        shown = subprocess.run(  # noqa: S603
            shell, env=environment(), capture_output=True, text=True, check=True
        )
        return dict(line.split("=", 1) for line in shown.stdout.split("\0") if line)

    def command(self, part: str) -> int:
        """Return the process id of the child with this in its command."""
        found = descendants(self.process.pid)
        return next(pid for pid, command in found.items() if part in command)

    def runs(self, part: str) -> bool:
        return any(part in command for command in descendants(self.process.pid).values())


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """A function that starts `up` on a folder of the test's own; killed when the test ends."""
    started: list[Up] = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def start(**more: str) -> Up:
        started.append(Up(tmp_path / "a data folder", port, **more))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


@pytest.mark.timeout(400)
def test_it_starts_outlives_crashes_keeps_its_data_and_leaves_nothing_behind(
    up: Callable[..., Up],
) -> None:
    first = up()
    first.wait_until_ready()
    assert get(first.port, "/readyz")[0] == 200
    exported = first.exported()
    # Its stand-in is on this machine.
    assert exported["HITL_PRIVATE_NETWORKS"] == "127.0.0.1/32"
    with psycopg.connect(exported["DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO auth_group (name) VALUES ('kept')")
    closed = {path.stat().st_mode & 0o077 for path in first.data_dir.glob("*.json")}
    assert closed == {(first.data_dir / "environment").stat().st_mode & 0o077} == {0}

    # A killed worker takes its pool with it, and comes back.
    worker = first.command("worker --queues runs")
    pool = descendants(worker)
    assert len(pool) == 4
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: not any(map(runs, pool)), "the pool of the killed worker ended")
    eventually(lambda: first.runs("worker --queues runs"), "the worker started again", 30)

    everything = descendants(first.process.pid)
    first.process.kill()
    first.process.wait()
    eventually(lambda: not any(map(runs, everything)), f"all of {everything} ended")

    # Prometheus ends with the rest, where it is there to be started.
    second = up(
        HITL_PROMETHEUS="1" if which("prometheus") else "0", HITL_PRIVATE_NETWORKS="10.0.0.0/8"
    )
    second.wait_until_ready()
    again = second.exported()
    assert again["HITL_PRIVATE_NETWORKS"] == "10.0.0.0/8,127.0.0.1/32"
    assert again["SECRET_KEY"] == exported["SECRET_KEY"]
    with psycopg.connect(again["DATABASE_URL"]) as connection:
        found = connection.execute("SELECT 1 FROM auth_group WHERE name = 'kept'").fetchone()
        assert found == (1,)
    everything = descendants(second.process.pid)
    second.process.terminate()
    assert second.process.wait(60) == 0
    assert not any(map(runs, everything))


def test_a_port_in_use_is_named_with_a_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = manage("up", PORT=str(port), HITL_DATA_DIR=str(tmp_path))
    assert ended.returncode == 1
    assert f"Error: Port {port} is in use by another program" in ended.stderr


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"PORT": "http"}, "Error: PORT must be a number from 1 to 65535, not 'http'."),
        ({"HITL_DEMO": "no"}, "Error: HITL_DEMO must be 0 or 1, not 'no'."),
    ],
)
def test_a_value_that_does_not_fit_ends_up_with_a_sentence(
    tmp_path: Path, given: dict[str, str], sentence: str
) -> None:
    ended = manage("up", HITL_DATA_DIR=str(tmp_path), **given)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.strip() == sentence


@pytest.mark.parametrize("command", ["web", "worker", "beat", "migrate"])
def test_in_production_a_missing_secret_stops_each_command_with_its_name(command: str) -> None:
    ended = manage(command)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: Set SECRET_KEY: ")
    assert len(ended.stderr.splitlines()) == 1
