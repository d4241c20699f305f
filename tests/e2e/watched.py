"""A gateway whose metrics are watched: what its tables say, beside what it tells."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

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
