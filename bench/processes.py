"""What a process and its children use, read from /proc."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
MEGABYTE = 2**20


def family(pid: int) -> list[int]:
    """The process, its children and theirs; those that have ended are left out."""
    parents = dict(_parents())
    found, wanted = [pid], {pid}
    while wanted:
        wanted = {child for child, parent in parents.items() if parent in wanted}
        found += sorted(wanted)
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """What the processes have used of a processor since they began."""
    return sum(sum(map(int, _stat(pid)[11:13])) for pid in pids) / _TICKS


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory that is in use, with what the processes share counted once for each of them."""
    return sum(int((PROC / str(pid) / "statm").read_text().split()[1]) for pid in pids) * _PAGE


def proportional_bytes(pids: Iterable[int]) -> int:
    """Memory that is in use, what several share divided among them (PSS)."""
    return sum(_proportional(pid) for pid in pids)


def open_files(pids: Iterable[int]) -> int:
    """File descriptors that the processes have open, connections among them."""
    return sum(len(list((PROC / str(pid) / "fd").iterdir())) for pid in pids)


def _proportional(pid: int) -> int:
    for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup tells no Pss.")


def _parents() -> Iterator[tuple[int, int]]:
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                yield int(entry.name), int(_stat(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the name before may hold anything."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
