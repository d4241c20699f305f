"""Programs started in the foreground that end with the thread that started them."""

import errno
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hitl_project import parent_death

# Below what Linux gives to outgoing connections by default.
_PORTS = range(20_000, 32_000)
_TRIES = 100


@dataclass(frozen=True)
class User:
    """Whom root becomes for a program, by number."""

    uid: int
    gid: int


def spawn(
    arguments: Sequence[str | Path],
    *,
    log: Path,
    output: Path | None = None,
    death: signal.Signals = signal.SIGKILL,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    user: User | None = None,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own and append what it writes to `log`.

    Its standard output goes to `output` instead where one is named. `death` is the signal it gets
    when this thread ends in whatever way. `user` is whom root becomes for it. Without `env` it
    inherits ours.
    """
    launcher = [sys.executable, "-I", "-S", parent_death.__file__]
    launcher += ["--signal", death.name, "--parent", str(os.getpid())]
    if user is not None:
        launcher += ["--uid", str(user.uid), "--gid", str(user.gid)]
        if keep := _capability(user, Path(arguments[0]), cwd or Path.cwd()):
            launcher += ["--keep", keep]
    with (
        open(log, "ab", opener=_private) as errors,
        open(output or log, "ab", opener=_private) as printed,
    ):
        return subprocess.Popen(  # noqa: S603
            [*launcher, *map(str, arguments)],
            stdin=stdin,
            stdout=printed,
            stderr=errors,
            cwd=cwd,
            env=env,
            pass_fds=pass_fds,
            start_new_session=True,
        )


def end(
    process: subprocess.Popen[bytes], ask: signal.Signals, force: signal.Signals, seconds: float
) -> None:
    """Ask a process to end, and force it where it has not after so many seconds."""
    for number in (ask, force, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float
) -> bool:
    """Poll until the condition holds; False once the process has ended or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def free_port() -> int:
    """Return a port of this machine's loopback address that nobody listens on now.

    It is none of those that the system gives to connections which programs open: one of them could
    take it before whoever asked listens there. Raises OSError where none is free.
    """
    for port in random.sample(_PORTS, _TRIES):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, f"None of {_TRIES} ports of 127.0.0.1 is free")


def last_lines(log: Path, count: int = 5) -> str:
    """Return the end of a log for an error message."""
    with log.open("rb") as output:
        output.seek(max(0, output.seek(0, os.SEEK_END) - 4096))
        lines = output.read().decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-count:])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _capability(user: User, program: Path, folder: Path) -> str | None:
    """Return what the user needs to run the program there, with folders closed to it on the way."""
    if not _may_pass(user, program.resolve()):
        return "CAP_DAC_OVERRIDE"
    above = {*program.resolve().parents, *folder.resolve().parents}
    if not all(_may_pass(user, closed) for closed in above):
        return "CAP_DAC_READ_SEARCH"
    return None


def _may_pass(user: User, path: Path) -> bool:
    """Say whether the path's mode lets the user enter the folder or run the program."""
    status = path.stat()
    if status.st_uid == user.uid:
        return bool(status.st_mode & 0o100)
    if status.st_gid == user.gid:
        return bool(status.st_mode & 0o010)
    return bool(status.st_mode & 0o001)
