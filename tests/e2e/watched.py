"""A gateway whose metrics are watched: what its tables say, beside what it tells."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from hitl_project.embedded import SUPERUSER
from tests.e2e.gateway import Gateway
from tests.e2e.metrics import Scrape, scrape, series

Row = dict[str, Any]
_COUNTER = re.compile(r"(?!hitl_approval_backlog_total)\w+(_total|_bucket|_count|_sum)\b")


@dataclass(frozen=True)
class Watched:
    """A gateway of two web servers and two workers; `urls` are the web servers'."""

    gateway: Gateway
    urls: tuple[str, ...]

    def count(self, query: str, *values: object) -> Counter[tuple[str, ...]]:
        """A count for each kind: the query's last column, by all the others."""
        rows = [list(row.values()) for row in self.gateway.stack.rows(query, *values)]
        return Counter({tuple(map(str, kind)): int(number) for *kind, number in rows})

    def scrape(self) -> Scrape:
        """What both web servers say, which has to be the same."""
        pages = [scrape(url) for url in self.urls]
        told = [{key(s): s.value for s in page.samples if _from_tables(s.name)} for page in pages]
        assert told[0] == told[1]
        return pages[0]

    def roll_up(self) -> None:
        """Have everything that is final rolled up, as if it had ended long enough ago for that.

        It ends just after what is rolled up already; waiting and deciding take as long as before.
        """
        stack = self.gateway.stack
        with stack.connection(SUPERUSER) as connection, connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute("SELECT FROM approvals_rollupmark FOR UPDATE")
            connection.execute(
                "UPDATE approval_requests SET created_at = created_at + (long_ago - decided_at),"
                " decided_at = long_ago FROM (SELECT coalesce("
                "  max(up_to_at) + interval '1 microsecond', clock_timestamp() - interval '1 h'"
                " ) AS long_ago FROM approvals_rollupmark) AS just_after"
                " WHERE decided_at > long_ago"
            )
        stack.send_task("approvals.tasks.roll_up_metrics", "sweeps")

    def roll_up_until(self, over: Event) -> None:
        """Roll up again and again until it is over."""
        while not over.wait(0.5):
            self.roll_up()

    def rolled_up(self) -> int:
        """How many requests scrapes no longer look at."""
        query = "SELECT coalesce(sum(count), 0) AS number FROM approvals_rolleduprequests"
        return int(self.gateway.stack.rows(query)[0]["number"])

    def age_heartbeat(self, part: str, age: str) -> None:
        """Let a part of the gateway have been seen at work so long ago."""
        with self.gateway.stack.connection() as connection:
            connection.execute(
                "UPDATE approvals_heartbeat SET seen_at = clock_timestamp() - %s::interval"
                " WHERE name = %s",
                [age, part],
            )

    @contextmanager
    def as_grafana(self) -> Iterator["psycopg.Connection[Row]"]:
        """A connection of the role that may read the table of what waits and nothing else."""
        stack = self.gateway.stack
        name, role = "watched_reader", sql.Identifier("watched_reader")
        owner_url = stack.postgres.url(SUPERUSER, stack.database)
        password = stack.manage("create_dashboard_role", name, DATABASE_OWNER_URL=owner_url)
        address = make_conninfo(owner_url, user=name, password=password)
        try:
            with psycopg.connect(address, row_factory=dict_row) as connection:
                yield connection
        finally:
            with stack.connection(SUPERUSER) as connection:
                connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(role))

    def standing(self, status: str) -> int:
        """How many requests have this status."""
        query = "SELECT count(*) AS number FROM approval_requests WHERE status = %s"
        return int(self.gateway.stack.rows(query, status)[0]["number"])


def key(sample: Any) -> tuple[str, frozenset[tuple[str, str]]]:
    """What tells a sample from the others."""
    return sample.name, frozenset(sample.labels.items())


def _from_tables(name: str) -> bool:
    """Whether two scrapes one after the other have to say the same while nothing happens."""
    return name.startswith("hitl_") and not re.search("age_seconds|heartbeat|expiring", name)


def watch(url: str, over: Event) -> tuple[list[str], int]:
    """Scrape until it is over: which counters fell in between, and how many scrapes that were."""
    fallen: list[str] = []
    last: dict[str, float] = {}
    scrapes = 0
    while not over.wait(0.5):
        now = {name: value for name, value in series(url).items() if _COUNTER.match(name)}
        fallen += [
            f"{name}: {last[name]} > {now.get(name)}"
            for name in last
            if now.get(name, -1) < last[name]
        ]
        last = now
        scrapes += 1
    return fallen, scrapes


def falls_of(watchers: Sequence["Future[tuple[list[str], int]]"]) -> tuple[list[str], int]:
    """What several of them saw together."""
    results = [watcher.result() for watcher in watchers]
    return [fall for fallen, _ in results for fall in fallen], sum(n for _, n in results)
