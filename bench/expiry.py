"""Very many requests whose deadline passes at once, beside one UPDATE of as many rows.

The worker's sweep ends them as it ends one: with an audit entry each, and with what its channels
are owed. Timed is from the hint that wakes the worker until none is left, so that the work of both
the worker and the database is in it. Meanwhile somebody looks at a request's page again and again.
"""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg

from approvals import outbox
from approvals.clock import clock
from approvals.core.lifecycle import Status
from approvals.core.queues import Queue
from approvals.models import ApprovalRequest
from bench import processes
from bench.filling import add_waiting
from bench.load import Load, begin_sending, http_get, send_all
from bench.measure import Bound, Counts, Fact, Figures, Ratio, Result
from bench.people import logged_in
from bench.processes import MEGABYTE
from bench.sizes import large
from bench.stack import Gateway, Stack

# Of `alone` requests a round; `together` is how many pages are looked at before each.
FULL = Counts(rounds=2, alone=10_000, together=60, warm_up=500)
QUICK = Counts(rounds=1, alone=300, together=5, warm_up=100)
WAIT_SECONDS = 120.0
POLL_SECONDS = 0.05
LOOKS = 3
SLOWEST, GROWTH = "slowest round", "growth of the worker's memory"
_UPDATE = """
UPDATE approval_requests SET status = 'expired', decided_at = clock_timestamp(),
    decided_by = 'gateway', decision_reason = 'Nobody decided before the deadline.'
WHERE status = 'pending' AND expires_at <= clock_timestamp()
"""


class NotExpired(Exception):
    """The worker did not expire what was overdue."""


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Let both sides end as many requests in turn, and look at a page before and meanwhile."""
    place = large(stack)
    ours, bare = Figures("the worker's sweep"), Figures("one UPDATE")
    meanwhile, before = Figures("while they expire"), Figures("before")
    with place.web(), place.current(), place.worker("sweeps") as worker:
        page = _page()
        _sweep(place, counts.warm_up, lambda: None)
        workers = processes.family(worker)
        send_all(place.port, [page] * LOOKS, 200, concurrency=1)
        at_first = highest = processes.resident_bytes(workers)
        for _ in range(counts.rounds):
            bare.add_rate(_update(place, counts.alone))
            bare.seconds.append(counts.alone / bare.rates[-1])
            before.add_times(send_all(place.port, [page] * counts.together, 200, concurrency=1))

            def look() -> None:
                nonlocal highest
                looking = begin_sending(place.port, [page] * LOOKS, 200, concurrency=1)
                meanwhile.add_times(looking.result())
                highest = max(highest, processes.resident_bytes(workers))

            ours.add_rate(_sweep(place, counts.alone, look))
            ours.seconds.append(counts.alone / ours.rates[-1])
    facts = [
        Fact(SLOWEST, max(ours.seconds), "s"),
        Fact("memory of the worker before", at_first / MEGABYTE, "MB"),
        Fact("highest memory of the worker", highest / MEGABYTE, "MB"),
        Fact(GROWTH, (highest - at_first) / MEGABYTE, "MB"),
    ]
    name = f"expiry of {counts.alone:,} overdue at once"
    yield Result(name, ours, bare, [Bound(SLOWEST, 10, "s"), Bound(GROWTH, 16, "MB")], facts)
    yield Result(f"request page, {name}", meanwhile, before, [Ratio("p95_ms", 1.3)])


def _page() -> bytes:
    decided = ApprovalRequest.objects.filter(status=Status.APPROVED).latest("decided_at")
    return http_get(f"/approvals/{decided.pk}/", logged_in())


def _update(place: Gateway, count: int) -> Load:
    _pass_deadlines(place, count)
    with psycopg.connect(place.environment["DATABASE_URL"]) as connection:
        began = time.perf_counter()
        changed = connection.execute(_UPDATE).rowcount
        connection.commit()
        elapsed = time.perf_counter() - began
    if changed != count:
        raise NotExpired(f"Of {count} overdue requests the UPDATE ended {changed}.")
    return Load([elapsed] * count, elapsed)


def _sweep(place: Gateway, count: int, meanwhile: Callable[[], None]) -> Load:
    _pass_deadlines(place, count)
    overdue = ApprovalRequest.objects.filter(status=Status.PENDING, expires_at__lte=clock())
    began = time.perf_counter()
    outbox.hint_task("approvals.tasks.expire_overdue", Queue.SWEEPS)
    while overdue.exists():
        if time.perf_counter() - began > WAIT_SECONDS:
            raise NotExpired(f"{overdue.count()} of {count} still wait after {WAIT_SECONDS:g} s.")
        meanwhile()
        time.sleep(POLL_SECONDS)
    elapsed = time.perf_counter() - began
    return Load([elapsed] * count, elapsed)


def _pass_deadlines(place: Gateway, count: int) -> None:
    add_waiting(place.superuser_url, count, clock() - timedelta(minutes=1))
