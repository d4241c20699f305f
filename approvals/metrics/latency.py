"""How long decisions took, as whole numbers that can be added up in any order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

# For good: what is rolled up was counted up to each of these and cannot be sorted anew.
BUCKETS_SECONDS = (30, 60, 300, 600, 1800, 3600, 7200, 14_400, 28_800, 86_400)

# Of final requests, over the column `took` below. A sum of intervals is exact.
MICROSECONDS = "(extract(epoch FROM sum(took)) * 1000000)::bigint"
WITHIN = (
    "ARRAY["
    + ", ".join(f"count(*) FILTER (WHERE took <= interval '{b} s')" for b in BUCKETS_SECONDS)
    + "]"
)
# A clock that was set back must not make a sum shrink.
TOOK = "greatest(decided_at - created_at, interval '0')"


@dataclass
class Latency:
    """Observations of one label set; `within` counts those up to each bound."""

    count: int = 0
    microseconds: int = 0
    within: list[int] = field(default_factory=lambda: [0] * len(BUCKETS_SECONDS))

    def add(self, count: int, microseconds: int, within: Sequence[int]) -> None:
        """Add the observations of a group."""
        self.count += count
        self.microseconds += microseconds
        self.within = [mine + more for mine, more in zip(self.within, within, strict=True)]

    def buckets(self) -> list[tuple[str, float]]:
        """The cumulated buckets, as Prometheus names them."""
        bounds = [str(float(bound)) for bound in BUCKETS_SECONDS]
        return [*zip(bounds, map(float, self.within), strict=True), ("+Inf", float(self.count))]

    @property
    def seconds(self) -> float:
        """The sum of the observations."""
        return self.microseconds / 1_000_000
