"""The executor of commands: a program without a shell, ended with all it started."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from agents.actions import ActionResult, NotBegun, OutcomeUnknown
from integrations.executors.output import Credentials, Tail

GRACE_SECONDS = 3.0
# How long the guard may take beyond the time limit and the grace before it counts as stuck.
_MARGIN_SECONDS = 10.0
_GUARD = Path(__file__).with_name("guard.py")
_INHERITED = ("PATH", "HOME", "LANG")


def run_command(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Run the action's argv and give its exit status and the end of what it printed.

    The command sees PATH, HOME, LANG, HITL_DATA_DIR, HITL_IDEMPOTENCY_KEY and what `pass_env`
    names, nothing else of the worker's environment. Every process it leaves behind is killed when
    it ends, at the time limit, and when the worker dies. What it prints of those values is not
    kept. NotBegun where it could not be started, OutcomeUnknown where it was cut off from outside.
    """
    names = [*action["pass_env"]]
    if missing := [name for name in names if name not in os.environ]:
        raise _not_started(f"set {missing[0]} for the workers")
    environ = {
        "LANG": "C.UTF-8",
        **{name: os.environ[name] for name in (*_INHERITED, *names) if name in os.environ},
        "HITL_DATA_DIR": str(Path(settings.HITL_DATA_DIR).resolve()),
        "HITL_IDEMPOTENCY_KEY": idempotency_key,
    }
    with _guarded(action, environ) as command:
        output = Tail(Credentials(environ[name] for name in names))
        return _result(command, output, float(action["timeout_seconds"]))


def _not_started(reason: str) -> NotBegun:
    return NotBegun(f"The command was not started: {reason}.")


@dataclass(frozen=True)
class _Guarded:
    """A guard that is running, and the pipe on which it reports."""

    process: subprocess.Popen[bytes]
    report_fd: int


@contextmanager
def _guarded(action: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[_Guarded]:
    program, *arguments = action["argv"]
    # The frozen action says `python`, which reads well and is the same on every machine.
    program = sys.executable if program == "python" else program
    report_fd, guards_fd = os.pipe()
    limits = [str(action["timeout_seconds"]), str(GRACE_SECONDS)]
    guard = [sys.executable, "-I", "-S", str(_GUARD), str(guards_fd), str(os.getpid()), *limits]
    try:
        try:
            process = subprocess.Popen(  # noqa: S603  # no shell, and the action was approved
                [*guard, program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=settings.BASE_DIR / action["cwd"],
                start_new_session=True,
                pass_fds=[guards_fd],
            )
        except OSError as error:
            raise _not_started(error.strerror or str(error)) from error
        finally:
            os.close(guards_fd)
        with process:
            try:
                yield _Guarded(process, report_fd)
            finally:
                # An exception such as a time limit of the worker ends the command as well.
                if process.poll() is None:
                    process.terminate()
    finally:
        os.close(report_fd)


def _result(command: _Guarded, output: Tail, timeout_seconds: float) -> ActionResult:
    deadline = time.monotonic() + timeout_seconds + GRACE_SECONDS + _MARGIN_SECONDS
    if not _drain(command, output, deadline):
        command.process.kill()
        raise OutcomeUnknown("The command did not end at its time limit and could not be ended.")
    command.process.wait()
    report = os.read(command.report_fd, 4096)
    if not report:
        raise OutcomeUnknown("The process that watched over the command was killed.")
    outcome, code, detail = report.decode().split(" ", 2)
    match outcome:
        case "not_started":
            raise _not_started(detail)
        case "timed_out":
            summary = f"was ended at its time limit of {timeout_seconds:g} s"
            return ActionResult(False, summary, output.text(), {"timed_out": True})
        case "stopped":
            raise OutcomeUnknown("The command was stopped from outside while it worked.")
    status = int(code)
    if status < 0:
        summary = f"was ended by signal {-status} ({signal.strsignal(-status)})"
        return ActionResult(False, summary, output.text(), {"signal": -status})
    return ActionResult(status == 0, f"exited {status}", output.text(), {"exit_code": status})


def _drain(command: _Guarded, output: Tail, deadline: float) -> bool:
    """Read all output until the guard reports or dies; False where it does neither in time."""
    if command.process.stdout is None:
        raise ValueError("The process was started without a pipe for its output.")
    printed_fd = command.process.stdout.fileno()
    os.set_blocking(printed_fd, False)
    poll = select.poll()
    poll.register(printed_fd, select.POLLIN)
    # Only the guard holds the other end; the output's may be held by what a dead guard left.
    poll.register(command.report_fd, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0:
        ready = {descriptor for descriptor, _ in poll.poll(left * 1000)}
        if printed_fd in ready and not _read_available(printed_fd, output):
            poll.unregister(printed_fd)
        if command.report_fd in ready:
            _read_available(printed_fd, output)
            return True
    return False


def _read_available(descriptor: int, output: Tail) -> bool:
    """Read what is there; False at the end of the stream."""
    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        output.add(chunk)
