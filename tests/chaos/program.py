"""An operation that takes effect, then takes its time, so that it can be killed in its middle.

Run as `python -m tests.chaos.program OPERATION LABEL`.
"""

import sys
import time
import zlib

from sandbox.program import record_effect

LONGEST_SECONDS = 0.6


def main(operation: str, label: str) -> None:
    """Take effect once, then go on for as long as the label says."""
    record_effect(operation, {"label": label})
    time.sleep(LONGEST_SECONDS * (zlib.crc32(label.encode()) % 100) / 100)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
