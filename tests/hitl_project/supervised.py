"""The real supervisor over stand-ins: `python -m tests.hitl_project.supervised FOLDER SPEC...`.

A SPEC is NAME:BEHAVIOUR:GROUP:STOP_SECONDS.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path

from hitl_project import children
from hitl_project.supervisor import Spec, Supervisor, run_until_stopped


def spec(folder: Path, wanted: str) -> Spec:
    """Return the stand-in that an argument describes."""
    name, behaviour, group, stop_seconds = wanted.split(":")
    log = folder / f"{name}.log"
    standin = Path(__file__).with_name("standin.py")
    arguments = [sys.executable, "-I", str(standin), name, str(folder / "notes"), behaviour]

    def start() -> "subprocess.Popen[bytes]":
        return children.spawn(arguments, log=log)

    return Spec(name, start, log, group, stop_seconds=float(stop_seconds))


def run(supervisor: Supervisor) -> None:
    """Start the stand-ins and keep them running."""
    for wanted in sys.argv[2:]:
        supervisor.start(spec(Path(sys.argv[1]), wanted))
    supervisor.run(until=lambda: False)


if __name__ == "__main__":
    sys.exit(run_until_stopped(run, partial(print, flush=True)))
