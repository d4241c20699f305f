"""What an idle gateway holds in memory, and what each request leaves in the database.

Memory is that of web server, worker and beat after a few requests have gone their whole way, with
what processes share divided among them. A request's whole way is a run that asks, Linear told of
it, a signed webhook that approves it, the operation executed, and Linear told of that. Its bytes
are those of all tables and indexes, packed as tightly as they can be before and after, so that no
room counts that later rows will use.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import psycopg
from django.db.models import F
from psycopg import sql

from agents import retention as runs_retention
from approvals import services
from approvals.clock import clock
from approvals.models import Delivery
from bench import deciding, processes, resuming
from bench.load import send_all
from bench.measure import Counts, Fact, Result
from bench.operation import calls
from bench.processes import MEGABYTE
from bench.stack import ALL_QUEUES, Gateway, Stack

# `together` requests go their whole way to be counted, after `warm_up` others.
FULL = Counts(rounds=1, alone=0, together=200, warm_up=10)
QUICK = Counts(rounds=1, alone=0, together=4, warm_up=2)
# Of the one worker, which serves every queue.
PROCESSES = 2
IDLE_SECONDS = 20.0
TOLD_SECONDS = 300.0
PURGED_AT_ONCE = 200
LARGEST = 6
_SIZES = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Let requests go their whole way, and look at what that left in memory and on disk."""
    with stack.sandbox() as sandbox, stack.gateway("footprint", sandbox.settings) as place:
        with _everything(place) as pids:
            _live(place, counts.warm_up)
            # Fewer seconds where few requests are counted: that only looks whether it still works.
            time.sleep(min(IDLE_SECONDS, counts.together / 10))
            yield _memory(pids)
            # What retention will take later is then only what is counted.
            _purge()
            before, committed = _packed(place), _transactions(place)
            _live(place, counts.together)
            grown, committed = _sizes(place), _transactions(place) - committed
        # Nobody writes meanwhile: packing needs every table for itself.
        after = _packed(place)
        _purge()
        kept = _packed(place)
    yield _growth(counts.together, before, grown, after, kept)
    name = "transactions for each request"
    looking = "committed, with those that look for work"
    yield Result(name, facts=[Fact(looking, committed / counts.together, "transactions")])


@contextmanager
def _everything(place: Gateway) -> Iterator[dict[str, int]]:
    """Every process of a small installation, by its name."""
    with place.web() as web, place.worker(ALL_QUEUES, PROCESSES) as worker, place.beat() as beat:
        yield {"web server": web, "worker": worker, "beat": beat}


def _live(place: Gateway, number: int) -> None:
    """Let so many requests go their whole way."""
    request_ids: list[UUID] = resuming.waiting_requests(number)
    send_all(place.port, deciding.webhooks(request_ids), 200, concurrency=4)
    owed = Delivery.objects.filter(done__lt=F("wanted"))
    resuming.wait(
        lambda: resuming.at_rest() and not owed.exists(), "to tell everybody", TOLD_SECONDS
    )
    executed = len(calls())
    if executed != number:
        raise resuming.RunsStuck(f"Of {number} approved operations {executed} were executed.")


def _memory(pids: dict[str, int]) -> Result:
    families = {name: processes.family(pid) for name, pid in pids.items()}
    held = {name: processes.proportional_bytes(family) for name, family in families.items()}
    facts = [Fact(name, size / MEGABYTE, "MB") for name, size in held.items()]
    facts.append(Fact("together", sum(held.values()) / MEGABYTE, "MB"))
    return Result(f"idle memory (PSS), worker of {PROCESSES} processes", facts=facts)


def _growth(
    number: int,
    before: dict[str, int],
    grown: dict[str, int],
    after: dict[str, int],
    kept: dict[str, int],
) -> Result:
    each = {table: (size - before[table]) / number for table, size in after.items()}
    largest = sorted(each, key=lambda table: -each[table])[:LARGEST]
    facts = [
        Fact("as it grew, with room for later rows", _each(grown, before, number), "bytes"),
        Fact("packed", _each(after, before, number), "bytes"),
        Fact("packed, once retention has taken its part", _each(kept, before, number), "bytes"),
    ]
    for table in largest:
        stays = (kept[table] - before[table]) / number
        facts.append(Fact(f"of it {table}", each[table], f"bytes, of which {stays:,.0f} stay"))
    return Result("growth of the database for each request", facts=facts)


def _each(sizes: dict[str, int], before: dict[str, int], number: int) -> float:
    return (sum(sizes.values()) - sum(before.values())) / number


def _purge() -> None:
    """Take what retention takes of everything there is, as if it were old enough."""
    before = clock() + timedelta(days=1)
    for purge in (
        services.purge_webhook_bodies,
        runs_retention.purge_runs,
        runs_retention.purge_deliveries,
    ):
        while purge(before, PURGED_AT_ONCE):
            pass


def _sizes(place: Gateway) -> dict[str, int]:
    """The bytes of each table with its indexes."""
    with psycopg.connect(place.superuser_url) as connection:
        return {str(name): int(size) for name, size in connection.execute(_SIZES)}


def _transactions(place: Gateway) -> int:
    """How many this database has committed."""
    with psycopg.connect(place.superuser_url) as connection:
        ((number,),) = connection.execute(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        )
    return int(number)


def _packed(place: Gateway) -> dict[str, int]:
    """The bytes of each table with its indexes, without room for anything else."""
    names = _sizes(place)
    with psycopg.connect(place.superuser_url, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("VACUUM FULL {}").format(sql.Identifier(name)))
    return _sizes(place)
