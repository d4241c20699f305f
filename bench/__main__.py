"""Measure the hot paths, each beside its floor in the same run, and print one table.

    python -m bench [--quick] [--json FILE]

Everything is started for this run, with data in a temporary folder: a durable PostgreSQL, a Redis,
`manage.py web`, one worker for runs, and the floor's server. Both sides are warmed up and measured
in turn. Latency is that of one operation at a time; "per second" comes from 16 connections at once,
or for resumes from as many decisions as a round has, made at once for one worker process.

1. Signed webhook: from sending it until its 200. Included are HTTP, the signature, the vote, the
   decision with its log, what Linear and the run are then owed, and the hints to Redis. No worker
   runs meanwhile. The floor is a bare ASGI handler on the same server, with floor.sql.
2. Decision committed: from the commit until the executor is called in the worker, by way of Redis,
   Celery and LangGraph. Every decision meets an idle worker. The floor is `Command(resume)` of the
   same graph, compiled once, until the same call; nothing there claims or records the operation.
3. Request opened by API: from sending it until its 201, with the token, the rules, the log and what
   Linear is owed. The floor is the inserts of floor.sql by this process, without HTTP.

The load comes from this process, whose own cost is a part of every time on both sides.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import django

from bench.load import UnexpectedAnswer
from bench.measure import Counts, Result, compare, table
from bench.stack import Stack, StackFailed, running_stack
from hitl_project.embedded import EmbeddedServerError

FULL = {
    "http": Counts(rounds=5, alone=50, together=96, warm_up=30),
    "resume": Counts(rounds=5, alone=10, together=10, warm_up=5),
}
QUICK = {
    "http": Counts(rounds=1, alone=10, together=32, warm_up=5),
    "resume": Counts(rounds=1, alone=3, together=4, warm_up=1),
}


def measure(stack: Stack, counts: Mapping[str, Counts]) -> list[Result]:
    """Run the three measures; Django must be set up for the stack."""
    # These need the loaded settings, which need the addresses of the stack.
    from bench import deciding, opening, people, resuming  # noqa: PLC0415

    people.create_people()
    # First, because what the others leave owed to runs would be in the worker's way.
    with stack.worker(), resuming.bare() as bare:
        resumed = compare(resuming.NAME, resuming.gateway(), bare, counts["resume"])
    port, floor_port = stack.web_port, stack.floor_port
    return [
        compare(deciding.NAME, deciding.gateway(port), deciding.bare(floor_port), counts["http"]),
        resumed,
        compare(opening.NAME, opening.gateway(port), opening.bare(), counts["http"]),
    ]


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table and write the figures; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the hot paths.")
    parser.add_argument("--quick", action="store_true", help="few iterations: does it still run?")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=Path(__file__).with_name("results.json"),
        help="where the figures go; default bench/results.json",
    )
    chosen = parser.parse_args(arguments)
    counts = QUICK if chosen.quick else FULL
    began = time.monotonic()
    try:
        with running_stack() as stack:
            os.environ.clear()
            os.environ.update(stack.environment)
            django.setup()
            try:
                results = measure(stack, counts)
            except UnexpectedAnswer as error:
                raise StackFailed(f"{error}\n{stack.last_words('web')}") from error
    except (StackFailed, EmbeddedServerError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    seconds = time.monotonic() - began
    report = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_seconds": round(seconds, 1),
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "counts": {name: asdict(count) for name, count in counts.items()},
        "measures": [result.to_json() for result in results],
    }
    chosen.json.write_text(json.dumps(report, indent=1))
    sys.stdout.write(f"{table(results)}\n\n{seconds:.0f} s; figures in {chosen.json}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
