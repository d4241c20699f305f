"""A gateway whose metrics are watched: what its tables say, beside what it tells."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hitl_project.embedded import SUPERUSER
from tests.e2e.gateway import Gateway
from tests.e2e.metrics import Scrape, scrape


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

    def rolled_up(self) -> int:
        """How many requests scrapes no longer look at."""
        query = "SELECT coalesce(sum(count), 0) AS number FROM approvals_rolleduprequests"
        return int(self.gateway.stack.rows(query)[0]["number"])

    def standing(self, status: str) -> int:
        """How many requests have this status."""
        query = "SELECT count(*) AS number FROM approval_requests WHERE status = %s"
        return int(self.gateway.stack.rows(query, status)[0]["number"])


def key(sample: Any) -> tuple[str, frozenset[tuple[str, str]]]:
    """What tells a sample from the others."""
    return sample.name, frozenset(sample.labels.items())


def _from_tables(name: str) -> bool:
    """Whether two scrapes one after the other have to say the same while nothing happens."""
    return name.startswith("hitl_approval_") and "age_seconds" not in name
