"""A program that a test can stop in its middle: it takes effect, then waits at its gate.

Run as `python -m tests.e2e.program OPERATION LABEL`. The gate is a named pipe `gates/LABEL` in the
data folder; without one there is no wait. Whoever opens the pipe for writing opens the gate.
"""

import os
import sys
from pathlib import Path

from sandbox.program import record_effect


def gate_of(data_dir: Path, name: str) -> Path:
    """Where the gate of that name is, if there is one."""
    return data_dir / "gates" / name


def pass_gate(name: str) -> None:
    """Wait until the gate is opened; there may be none."""
    gate = gate_of(Path(os.environ["HITL_DATA_DIR"]), name)
    if gate.exists():
        gate.read_bytes()


def main(operation: str, label: str) -> None:
    """Take effect once, then wait."""
    record_effect(operation, {"label": label})
    pass_gate(label)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
