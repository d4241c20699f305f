"""Starts our own programs as forks of a process that has loaded their libraries already.

Loading takes a second of a processor, the rest of a start a quarter of one. Each program is a
process of its own all the same: in a session of its own, with an environment, a folder and files
that it shares with nobody, killed when the tests end in whatever way.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, TypeAlias

from hitl_project import children

ROOT = Path(__file__).resolve().parent.parent
LONGEST_ORDER = 1_000_000
# Elsewhere than on Linux, programs are started as by anybody.
POSSIBLE = sys.platform == "linux"


class Forked:
    """A process that was forked for us; what a Popen has, as far as tests need it."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery
        # Until somebody asks how it ended, the id belongs to it, and this to the id.
        self._handle = os.pidfd_open(pid)
        self._asking = Lock()

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """How it ended, once it has; TimeoutExpired after so many seconds."""
        status = self._ended(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def _ended(self, seconds: float | None) -> int | None:
        with self._asking:
            if self.returncode is None:
                waiting = select.poll()
                waiting.register(self._handle, select.POLLIN)
                if waiting.poll(None if seconds is None else seconds * 1000):
                    self.returncode = self._nursery.status_of(self.pid)
                    os.close(self._handle)
            return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


Process: TypeAlias = "subprocess.Popen[bytes] | Forked"


class Nursery:
    """The process that has loaded what the others need; it ends with this one."""

    def __init__(self) -> None:
        self._orders, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ordering = Lock()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.nursery"],
                cwd=ROOT,
                env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                stdin=there.fileno(),
            )

    def start(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        files: Sequence[IO[bytes]],
    ) -> Forked:
        """Start a program with these files as its input, its output and its errors."""
        order = {"arguments": arguments, "environment": environment}
        numbers = [file.fileno() for file in files]
        with self._ordering:
            socket.send_fds(self._orders, [json.dumps(order).encode()], numbers)
            return Forked(self, self._answer())

    def status_of(self, pid: int) -> int:
        """How a process that has ended did so; after this its id may be somebody else's."""
        with self._ordering:
            self._orders.send(json.dumps({"ended": pid}).encode())
            return self._answer()

    def _answer(self) -> int:
        answer = self._orders.recv(100)
        if not answer:
            raise RuntimeError("What starts the tests' programs has ended; it said why.")
        return int(answer)


@cache
def _nursery() -> Nursery:
    return Nursery()


def start(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start `python ARGUMENT...` in the project's folder; what it writes goes to the log's end."""
    if not POSSIBLE:
        return children.spawn([sys.executable, *arguments], log=log, cwd=ROOT, env=environment)
    private = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with Path(os.devnull).open("rb") as nothing, os.fdopen(private, "wb") as output:
        return _nursery().start(arguments, environment, (nothing, output, output))


def run(
    arguments: Sequence[str], environment: Mapping[str, str], given: str, seconds: float
) -> "subprocess.CompletedProcess[str]":
    """Run `python ARGUMENT...` in the project's folder to its end, with this as its input."""
    if not POSSIBLE:
        return subprocess.run(  # noqa: S603 - our own programs
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    with (
        tempfile.TemporaryFile() as read,
        tempfile.TemporaryFile() as printed,
        tempfile.TemporaryFile() as complained,
    ):
        read.write(given.encode())
        read.seek(0)
        process = _nursery().start(arguments, environment, (read, printed, complained))
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        for file in (printed, complained):
            file.seek(0)
        said, errors = printed.read().decode(), complained.read().decode()
        return subprocess.CompletedProcess(arguments, status, said, errors)


def end(process: Process, seconds: float) -> None:
    """Wait until a process that was asked to has ended, and kill it after so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
