"""A process for the supervisor's tests: `python standin.py NAME NOTES BEHAVIOUR`.

It notes what happens to it, and runs, crashes at once, or ignores the request to stop.
"""

import signal
import sys
from pathlib import Path

NAME, NOTES, BEHAVIOUR = sys.argv[1:]


def note(what: str) -> None:
    """Append a line to the notes that all stand-ins share."""
    with Path(NOTES).open("a") as notes:
        notes.write(f"{NAME} {what}\n")


def stop(*_: object) -> None:
    """End as asked."""
    note("stopped")
    sys.exit(0)


signal.signal(signal.SIGTERM, signal.SIG_IGN if BEHAVIOUR == "stays" else stop)
note("started")
if BEHAVIOUR == "crashes":
    sys.exit("no luck today")
while True:
    signal.pause()
