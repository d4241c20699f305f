"""What runs on this machine, by process id, read from /proc."""

from pathlib import Path


def runs(pid: int) -> bool:
    """Say whether a process is alive; one that has ended and waits to be collected is not."""
    return _status(pid) is not None


def descendants(pid: int) -> dict[int, str]:
    """Return the living children of a process, their children and so on, with their commands."""
    parents = {
        int(entry.name): status
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and (status := _status(int(entry.name))) is not None
    }
    found: dict[int, str] = {}
    wanted = {pid}
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted}
        found |= {child: _command(child) for child in wanted}
    return found


def _status(pid: int) -> int | None:
    """Return the parent of a living process."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in {"Z", "X"} else int(parent)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
