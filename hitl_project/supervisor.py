"""Keeps a set of processes running: in order, started again after a crash, all stopped together."""

import itertools
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from hitl_project.children import last_lines

CRASHES = 5
WITHIN_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.5
POLL_SECONDS = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StartFailedError(RuntimeError):
    """A process could not be started or kept running; the message says which and why."""


@dataclass(frozen=True)
class Spec:
    """One process to keep running.

    `start` starts it, first or anew, and returns once others may rely on it; it raises
    StartFailedError. Those of one `group` are stopped together; `stopped` cleans up after it.
    """

    name: str
    start: Callable[[], "subprocess.Popen[bytes]"]
    log: Path
    group: str = ""
    ask: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    stopped: Callable[[], None] | None = None


@dataclass
class _Child:
    spec: Spec
    process: "subprocess.Popen[bytes] | None" = None
    crashes: deque[float] = field(default_factory=deque)
    due_at: float = 0.0


class Supervisor:
    """The processes of one machine; `say` takes sentences for the person at the terminal."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._children: list[_Child] = []

    def start(self, spec: Spec) -> None:
        """Start a process and keep it; StartFailedError when it does not start at all."""
        child = _Child(spec)
        self._children.append(child)
        child.process = spec.start()

    def run(self, until: Callable[[], bool]) -> None:
        """Keep everything running until the condition holds.

        Raises StartFailedError when a process ends again and again.
        """
        while not until():
            for child in self._children:
                self._attend(child)
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Stop everything, the last started group first; kill what does not end in its time."""
        latest_first = reversed(self._children)
        for _, members in itertools.groupby(latest_first, lambda child: child.spec.group):
            group = list(members)
            for child in group:
                if child.process is not None and child.process.poll() is None:
                    child.process.send_signal(child.spec.ask)
            deadline = time.monotonic() + max(child.spec.stop_seconds for child in group)
            for child in group:
                self._finish(child, deadline)

    def _finish(self, child: _Child, deadline: float) -> None:
        if child.process is not None:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._say(f"{child.spec.name} did not stop in time and is killed.")
                child.process.kill()
                child.process.wait()
        if child.spec.stopped is not None:
            child.spec.stopped()

    def _attend(self, child: _Child) -> None:
        if child.process is not None:
            status = child.process.poll()
            if status is None:
                return
            child.process = None
            self._crashed(child, _ended(status))
        if time.monotonic() < child.due_at:
            return
        try:
            child.process = child.spec.start()
        except StartFailedError as error:
            self._crashed(child, f"did not start again ({error})")

    def _crashed(self, child: _Child, what: str) -> None:
        now = time.monotonic()
        child.crashes.append(now)
        while now - child.crashes[0] > WITHIN_SECONDS:
            child.crashes.popleft()
        name, log, times = child.spec.name, child.spec.log, len(child.crashes)
        if times >= CRASHES:
            raise StartFailedError(
                f"{name} {what}, for the {times}th time within {WITHIN_SECONDS:.0f} s, so"
                f" everything stops. The end of {log}:\n{last_lines(log, 20)}"
            )
        wait = FIRST_WAIT_SECONDS * 2 ** (times - 1)
        child.due_at = now + wait
        self._say(f"{name} {what}; it starts again in {wait:g} s. Its log is {log}.")


def _ended(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"


class _StopRequested(BaseException):
    """A signal asked everything to stop; no Exception, so that nothing takes it for a failure."""


def run_until_stopped(run: Callable[[Supervisor], None], say: Callable[[str], None]) -> int:
    """Run until a signal comes (returns 0) or something fails (says why, returns 1).

    Either way everything that `run` gave the supervisor is stopped before this returns.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    supervisor = Supervisor(say)
    try:
        run(supervisor)
    except _StopRequested as request:
        say(f"Stopping, as {request} asked")
    except StartFailedError as error:
        _ignore_stop_signals()
        sys.stderr.write(f"Error: {error}\n")
        return 1
    finally:
        _ignore_stop_signals()
        supervisor.stop()
    return 0


def _stop(number: int, _frame: FrameType | None) -> None:
    # A second signal must not interrupt the stopping, which is bounded anyway.
    _ignore_stop_signals()
    raise _StopRequested(signal.Signals(number).name)


def _ignore_stop_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
