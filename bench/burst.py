"""Very many approvals at once, beside one at a time.

Runs wait for a decision; all are decided while no worker runs, and then the worker is started. What
it does a second is counted between its first and its last call of the executor. Afterwards every
approved operation must have been executed exactly once. The other side decides one, and waits until
it was executed, with the same number of worker processes.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

from agents.models import Execution, ExecutionStatus
from approvals import outbox
from approvals.core.events import WORKFLOW
from bench import processes, resuming
from bench.measure import Bound, Counts, Fact, Figures, Result
from bench.operation import called, calls
from bench.processes import MEGABYTE
from bench.stack import Gateway, Stack

# `together` are approved at once, `alone` one at a time.
FULL = Counts(rounds=1, alone=30, together=1_000, warm_up=0)
QUICK = Counts(rounds=1, alone=2, together=10, warm_up=0)
# With this many requests in a full gateway nobody is in a hurry, and a burst is a large one.
LARGE_SCALE, LARGE_BURST = 1_000_000, 5_000
PROCESSES = 2
WAIT_SECONDS = 1_200.0
SAMPLE_SECONDS = 0.5
GROWTH = "growth of the worker's memory"
WRONG = "operations not executed exactly once"


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Approve one by one, then all at once."""
    number = LARGE_BURST if stack.scale >= LARGE_SCALE else counts.together
    single, burst = Figures("one at a time"), Figures(f"{number:,} at once")
    with stack.gateway("burst") as place:
        with place.worker("runs", PROCESSES):
            single.add_times(resuming.gateway().alone(counts.alone))
            single.rates.append(counts.alone / sum(single.seconds))
            request_ids = resuming.waiting_requests(number, WAIT_SECONDS)
        for request_id in request_ids:
            resuming.approve(request_id)
        samples = _drain(place, number / 5)
        heard = calls()
        wrong = _wrong(request_ids, [key for key, _ in heard])
    moments = sorted(at for _, at in heard)
    burst.rates.append(number / (moments[-1] - moments[0]))
    warm = samples[0]
    facts = [
        Fact(WRONG, wrong, "operations"),
        Fact("memory of the worker after a fifth", warm / MEGABYTE, "MB"),
        Fact("memory of the worker at the end", samples[-1] / MEGABYTE, "MB"),
        Fact(GROWTH, (samples[-1] - warm) / MEGABYTE, "MB"),
    ]
    goals = [Bound(WRONG, 0, "operations"), Bound(GROWTH, 16, "MB")]
    yield Result(f"burst of {number:,} approvals -> executed", burst, single, goals, facts)


def _drain(place: Gateway, warm: float) -> list[int]:
    """Start a worker and let it execute everything; the memory it had, now and then.

    It counts from so many operations on: by then every process has loaded what it needs.
    """
    samples = []
    with place.worker("runs", PROCESSES) as worker:
        deadline = time.monotonic() + WAIT_SECONDS
        for _ in range(PROCESSES):
            outbox.hint(WORKFLOW)
        while True:
            done = resuming.at_rest()
            if done or called() >= warm:
                samples.append(processes.resident_bytes(processes.family(worker)))
            if done:
                return samples
            if time.monotonic() > deadline:
                raise resuming.RunsStuck(f"The burst was not done within {WAIT_SECONDS:.0f} s.")
            time.sleep(SAMPLE_SECONDS)


def _wrong(request_ids: Sequence[UUID], keys: Sequence[str]) -> int:
    """How many operations were not called and recorded once, whatever says so."""
    done = Execution.objects.filter(
        request_id__in=request_ids, status=ExecutionStatus.SUCCEEDED, attempts=1
    )
    recorded = Counter(done.values_list("request_id", flat=True))
    unrecorded = sum(recorded[request_id] != 1 for request_id in request_ids)
    times = Counter(keys)
    uncalled = abs(len(request_ids) - len(times))
    return max(unrecorded, uncalled + sum(number != 1 for number in times.values()))
