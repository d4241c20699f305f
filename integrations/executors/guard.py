"""Starts one command and sees that nothing of it outlives its time, its end or the worker.

Run as a script, in a session of its own, with `-I -S` so that it starts in a few milliseconds:

    guard.py STATUS_FD WORKER_PID TIMEOUT_SECONDS GRACE_SECONDS PROGRAM [ARGUMENT]...

A signal at the death of a parent reaches only one child, and a process group only those that stay
in it. So this process asks for the signal, adopts every orphan below it, and ends them all. Then
it writes what happened to STATUS_FD as one line: the outcome (`exited`, `timed_out`, `stopped` or
`not_started`), the status (the exit code, or minus the number of a signal), and a reason in words.
It imports little, for every command waits for that.
"""

import ctypes
import os
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
AWAITED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> None:
    """Run the command to its end, then report it."""
    status_fd, worker_pid = int(arguments[0]), int(arguments[1])
    timeout_seconds, grace_seconds = float(arguments[2]), float(arguments[3])
    os.set_inheritable(status_fd, False)
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != worker_pid:
        return  # the worker died before it could be watched
    try:
        command = start(arguments[4:])
    except OSError as error:
        report(status_fd, "not_started", 0, error.strerror or str(error))
        return
    outcome, status = watch(command, timeout_seconds, grace_seconds)
    end_descendants()
    report(status_fd, outcome, status)


def start(argv: list[str]) -> int:
    """Start the command in a session of its own and give its pid; OSError where it cannot be."""
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            os.execvp(argv[0], argv)  # noqa: S606  # without a shell is the point
        except OSError as error:
            os.write(write_fd, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(write_fd)
    with os.fdopen(read_fd) as failure:
        if number := failure.read():
            os.waitpid(pid, 0)
            raise OSError(int(number), os.strerror(int(number)))
    return pid


def watch(command: int, timeout_seconds: float, grace_seconds: float) -> tuple[str, int]:
    """Wait for the command to end, ending it at its time limit or when told to stop."""
    outcome, deadline = "exited", time.monotonic() + timeout_seconds
    while True:
        received = signal.sigtimedwait(AWAITED, max(0.0, deadline - time.monotonic()))
        if (status := _reap(command)) is not None:
            return outcome, status
        if received is not None and received.si_signo == signal.SIGCHLD:
            continue
        if outcome == "exited":
            outcome = "timed_out" if received is None else "stopped"
            deadline = time.monotonic() + grace_seconds
            os.killpg(command, signal.SIGTERM)
        elif received is None:
            os.killpg(command, signal.SIGKILL)
            return outcome, os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])


def end_descendants() -> None:
    """Kill every process below this one, whatever group or session it has moved to."""
    while True:
        for pid in _children():
            os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def report(status_fd: int, outcome: str, status: int, detail: str = "") -> None:
    """Tell the worker how the command ended; a worker that is gone is told nothing."""
    try:
        os.write(status_fd, f"{outcome} {status} {detail}".encode())
    except BrokenPipeError:
        return


def _reap(command: int) -> int | None:
    """Collect the children that ended; the command's exit status if it is among them."""
    ended = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid == command:
            ended = os.waitstatus_to_exitcode(status)


def _children() -> list[int]:
    """The pids of this process's own children, adopted ones among them."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208  # pathlib takes longer to import than to use
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123  # as above
                stat = file.read()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        if int(stat.rpartition(b")")[2].split()[1]) == os.getpid():
            found.append(int(name))
    return found


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
