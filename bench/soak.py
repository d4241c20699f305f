"""A steady load through everything for an hour, and whether anything grows that should not.

    python -m bench.soak [--minutes N] [--json FILE]

Runs ask, Linear is told of them and its signed webhooks approve them, operations are executed,
people look at pages while tabs stand open, and /metrics is read. Now and then each process is
looked at: its memory, its open files, what it has used of a processor; and the database: its size
and who is connected. The exit status is 1 where the memory or the open files of a process grow over
the second half of the time, as a straight line through the samples has it.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from bench import processes
from bench.load import UnexpectedAnswer, http_get, send_all
from bench.processes import MEGABYTE
from bench.stack import Gateway, Stack, StackFailed, running_stack
from hitl_project.embedded import EmbeddedServerError

if TYPE_CHECKING:
    from uuid import UUID

MINUTES = 60.0
# A round is a few lives, pages and a scrape; one begins so often.
ROUND_SECONDS = 5.0
LIVES = 4
TABS = 20
SAMPLES = 60
LEAST_SAMPLES = 8
QUEUES = {"runs": 2, "channels": 2, "sweeps": 1}
# Of the second half; a process that keeps this much an hour more is full within weeks.
GROWTH_MB_AN_HOUR = 8.0
# Where the time is so short that noise would be an hour's growth.
NOISE_MB = 4.0
FILES = 10.0
_DATABASE = """
SELECT pg_database_size(current_database()),
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Sample:
    """One look at one process, or at the database with `files` as its connections."""

    minute: float
    name: str
    resident_mb: float
    proportional_mb: float
    files: int
    cpu_seconds: float


def soak(stack: Stack, minutes: float) -> list[Sample]:
    """Load everything for so long and return what was seen of each process, in order."""
    # These need the settings, which need the addresses of the stack.
    from bench.browser import Tab, Tabs  # noqa: PLC0415
    from bench.people import logged_in  # noqa: PLC0415

    samples: list[Sample] = []
    with ExitStack() as running:
        sandbox = running.enter_context(stack.sandbox())
        place = running.enter_context(stack.gateway("soak", sandbox.settings))
        pids = {"web server": running.enter_context(place.web())}
        for queue, number in QUEUES.items():
            pids[f"worker {queue}"] = running.enter_context(place.worker(queue, number))
        pids["beat"] = running.enter_context(place.beat())
        running.enter_context(Tabs.opened(place.port, [Tab(logged_in())] * TABS, quiet=True))
        began = time.monotonic()
        every = minutes * 60 / SAMPLES
        waiting: list[UUID] = []
        while (passed := time.monotonic() - began) < minutes * 60:
            waiting = _round(place, waiting)
            if passed >= every * len(samples) / (len(pids) + 1):
                samples += _look(place, pids, passed / 60)
            time.sleep(max(ROUND_SECONDS - (time.monotonic() - began - passed), 0))
        samples += _look(place, pids, minutes)
    return samples


def _round(place: Gateway, waiting: "list[UUID]") -> "list[UUID]":
    """Approve what the last round asked for, ask for more, and look at pages."""
    from agents.services import start_run  # noqa: PLC0415
    from agents.templates import SINGLE_TASK  # noqa: PLC0415
    from approvals.core.lifecycle import Status  # noqa: PLC0415
    from approvals.models import ApprovalRequest  # noqa: PLC0415
    from bench import deciding, operation  # noqa: PLC0415
    from bench.people import asking, asking_token, logged_in  # noqa: PLC0415

    operation.calls()
    if waiting:
        send_all(place.port, deciding.webhooks(waiting), 200, concurrency=2)
    for _ in range(LIVES):
        start_run(actor=asking(), workflow=SINGLE_TASK, task=operation.TASK)
    headers = {**logged_in(), "Authorization": f"Bearer {asking_token()}"}
    paths = ["/", "/history/?text=deploy", "/api/approvals", "/metrics", "/insights/"]
    paths += [f"/approvals/{request_id}/" for request_id in waiting]
    send_all(place.port, [http_get(path, headers) for path in paths], 200, concurrency=2)
    pending = ApprovalRequest.objects.filter(status=Status.PENDING)
    return list(pending.values_list("pk", flat=True))


def _look(place: Gateway, pids: Mapping[str, int], minute: float) -> Iterator[Sample]:
    for name, pid in pids.items():
        family = processes.family(pid)
        yield Sample(
            round(minute, 2),
            name,
            processes.resident_bytes(family) / MEGABYTE,
            processes.proportional_bytes(family) / MEGABYTE,
            processes.open_files(family),
            processes.cpu_seconds(family),
        )
    with psycopg.connect(place.superuser_url) as connection:
        row = connection.execute(_DATABASE).fetchone()
        size, connections = row if row is not None else (0, 0)
    yield Sample(round(minute, 2), "database", size / MEGABYTE, size / MEGABYTE, connections, 0.0)


def table(samples: Sequence[Sample]) -> str:
    """Each process when it was looked at first, in the middle and last."""
    heads = ("minute", "RSS MB", "PSS MB", "files", "CPU s")
    lines = [f"{'':20}" + "".join(f"{head:>10}" for head in heads)]
    for name, of_it in _by_name(samples).items():
        for sample in (of_it[0], of_it[len(of_it) // 2], of_it[-1]):
            memory = f"{sample.resident_mb:10.1f}{sample.proportional_mb:10.1f}"
            rest = f"{sample.files:10}{sample.cpu_seconds:10.1f}"
            lines.append(f"{name:20}{sample.minute:10.1f}{memory}{rest}")
    return "\n".join(lines)


def grown(samples: Sequence[Sample]) -> list[str]:
    """A sentence for each process whose memory or open files grew over the second half."""
    found = []
    for name, of_it in _by_name(samples).items():
        half = of_it[len(of_it) // 2 :]
        if name == "database" or len(half) < LEAST_SAMPLES:
            continue
        minutes = [sample.minute for sample in half]
        hours = (minutes[-1] - minutes[0]) / 60
        memory, _ = statistics.linear_regression(minutes, [one.proportional_mb for one in half])
        more = memory * 60 * hours
        if more > max(GROWTH_MB_AN_HOUR * hours, NOISE_MB):
            found.append(f"The memory of {name} grew by {more:.1f} MB in {hours * 60:.0f} min.")
        files, _ = statistics.linear_regression(minutes, [float(one.files) for one in half])
        if files * 60 * hours > FILES:
            found.append(f"{name} had {files * 60 * hours:.0f} more files open at the end.")
    return found


def _by_name(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.name, []).append(sample)
    return found


def main(arguments: Sequence[str]) -> int:
    """Soak, print what was seen and write it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Load for an hour.")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"default {MINUTES:g}")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=Path(__file__).with_name("soak.json"),
        help="where the samples go; default bench/soak.json",
    )
    chosen = parser.parse_args(arguments)
    try:
        with running_stack(0) as stack:
            stack.set_up()
            try:
                samples = soak(stack, chosen.minutes)
            except UnexpectedAnswer as error:
                raise StackFailed(f"{error}\n{stack.last_words()}") from error
    except (StackFailed, EmbeddedServerError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    chosen.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=1))
    sys.stdout.write(f"{table(samples)}\n\n")
    faults = grown(samples)
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    if not faults:
        sys.stdout.write("Nothing grew over the second half.\n")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
