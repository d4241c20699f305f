"""Measure the gateway, each measure beside its floor in the same run, and print one table.

    python -m bench [--quick] [--only NAME]... [--scale N] [--strict] [--json FILE]
    python -m bench --markdown [--json FILE]

Everything is started for this run, with data in a temporary folder: a durable PostgreSQL, a Redis,
and for each measure a gateway of its own, of whose processes those run that are measured. Both
sides are warmed up and measured in turn. Latency is that of one operation at a time; "per second"
comes from many at once. HTTP loads come from a process of their own, whose cost the table shows.
What each measure holds and what it leaves out is said in docs/performance.md. A goal that is missed
is shown as missed; with --strict it makes the exit status 1.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from bench import report
from bench.load import UnexpectedAnswer
from bench.measure import Result
from bench.stack import Stack, StackFailed, running_stack
from hitl_project.embedded import EmbeddedServerError

# Each is a module with `measure(stack, counts)`, and counts for a run in full and a quick one.
MEASURES = (
    "deciding",
    "resuming",
    "opening",
    "linear",
    "pages",
    "expiry",
    "tabs",
    "burst",
    "footprint",
)
SCALE = 100_000
QUICK_SCALE = 1_500


def measure(stack: Stack, names: Sequence[str], *, quick: bool) -> Iterator[tuple[str, Result]]:
    """Take the measures in turn; Django must be set up for the stack."""
    for name in names:
        # Each needs the loaded settings, which need the addresses of the stack.
        module = import_module(f"bench.{name}")
        for result in module.measure(stack, module.QUICK if quick else module.FULL):
            yield name, result


def run(names: Sequence[str], scale: int, *, quick: bool) -> dict[str, Any]:
    """Measure and return the figures as JSON; StackFailed where something did not work."""
    began = time.monotonic()
    measured: list[dict[str, Any]] = []
    took: dict[str, float] = {}
    with running_stack(scale) as stack:
        stack.set_up()
        last = time.monotonic()
        try:
            for name, result in measure(stack, names, quick=quick):
                sys.stderr.write(f"{time.monotonic() - began:4.0f} s  {result.name}\n")
                measured.append({"name": name, **result.to_json()})
                took[name] = took.get(name, 0.0) + time.monotonic() - last
                last = time.monotonic()
        except UnexpectedAnswer as error:
            raise StackFailed(f"{error}\n{stack.last_words()}") from error
    modules = {name: sys.modules[f"bench.{name}"] for name in names}
    counts = {name: module.QUICK if quick else module.FULL for name, module in modules.items()}
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_seconds": round(time.monotonic() - began, 1),
        "took_seconds_each": {name: round(seconds, 1) for name, seconds in took.items()},
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        "scale": scale,
        "counts": {name: asdict(count) for name, count in counts.items()},
        "measures": measured,
    }


def main(arguments: Sequence[str]) -> int:
    """Measure, print the table and write the figures; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    if chosen.markdown:
        if not chosen.json.exists():
            sys.stderr.write(f"{chosen.json} is not there: measure first, with `make bench`.\n")
            return 1
        sys.stdout.write(report.markdown(json.loads(chosen.json.read_text())) + "\n")
        return 0
    names = [name for name in MEASURES if name in (chosen.only or MEASURES)]
    scale = chosen.scale or (QUICK_SCALE if chosen.quick else SCALE)
    try:
        figures = run(names, scale, quick=chosen.quick)
    except (StackFailed, EmbeddedServerError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    chosen.json.write_text(json.dumps(figures, indent=1))
    sys.stdout.write(report.text(figures))
    sys.stdout.write(f"\n\n{figures['took_seconds']:.0f} s; figures in {chosen.json}\n")
    goals = [goal for one in figures["measures"] for goal in one["goals"]]
    return int(chosen.strict and not all(goal["met"] for goal in goals))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the gateway.")
    parser.add_argument("--quick", action="store_true", help="few iterations: does it still run?")
    parser.add_argument(
        "--only", action="append", choices=MEASURES, help="take this measure; may be repeated"
    )
    parser.add_argument(
        "--scale",
        type=int,
        metavar="N",
        help=f"requests in a full gateway, default {SCALE:,}",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    parser.add_argument(
        "--markdown", action="store_true", help="measure nothing: print the figures' tables"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=Path(__file__).with_name("results.json"),
        help="where the figures go, or come from; default bench/results.json",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
