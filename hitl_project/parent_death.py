"""Ends a process when its parent ends; run as a file, it starts any program that way.

    parent_death.py --signal SIGINT [--parent PID] [--uid N --gid N [--keep CAP]] PROGRAM ARG...

A program of its own rather than a hook between fork and exec, because Python code in a forked
child of a process with threads may deadlock. Standard library only, so that it starts in 20 ms.
"""

import argparse
import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_CAPABILITY_VERSION_3 = 0x20080522
CAPABILITIES = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2}

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


def die_with_parent(death: signal.Signals, parent: int | None = None) -> None:
    """Have the kernel send `death` to this process once the thread that started it ends.

    `parent` is the expected parent's process id: where it is already gone, this process ends now.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, int(death), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if parent is not None and os.getppid() != parent:
        signal.raise_signal(signal.SIGKILL)


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def _become(uid: int, gid: int, keep: str | None) -> None:
    """Change to another user, who keeps one of root's capabilities if `keep` names it."""
    if keep is not None:
        # Else the capability would not count where a program asks by access(2), as initdb does.
        secured = _libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        _check(secured, "prctl(PR_SET_SECUREBITS), which needs CAP_SETPCAP")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if keep is None:
        return
    mask = 1 << CAPABILITIES[keep]
    header = _Header(_CAPABILITY_VERSION_3, 0)
    sets = (_Sets * 2)(_Sets(mask, mask, mask), _Sets(0, 0, 0))
    _check(_libc.capset(ctypes.byref(header), sets), f"capset({keep})")
    # Ambient, because exec by a user other than root drops every other kind.
    raised = _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, CAPABILITIES[keep], 0, 0)
    _check(raised, f"prctl(PR_CAP_AMBIENT_RAISE, {keep})")


def main(arguments: list[str]) -> None:
    """Replace this process with the program named by the arguments; OSError where it cannot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--signal", required=True, choices=[known.name for known in signal.Signals])
    parser.add_argument("--parent", type=int)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    parser.add_argument("--keep", choices=CAPABILITIES)
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(arguments)
    if chosen.uid is not None:
        _become(chosen.uid, chosen.gid, chosen.keep)
    # Last, because the kernel forgets the signal when a process changes its user.
    die_with_parent(signal.Signals[chosen.signal], chosen.parent)
    os.execvp(chosen.program, [chosen.program, *chosen.arguments])  # noqa: S606


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"Cannot start the program: {error}.")
