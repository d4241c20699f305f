"""What was observed of one label set, as whole numbers that can be added up in any order."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Observed:
    """Observations of a counter or, with `bounds` in seconds, of a histogram.

    `within` counts those that took at most each bound.
    """

    bounds: Sequence[float] = ()
    count: int = 0
    microseconds: int = 0
    within: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.within = [0] * len(self.bounds)

    def add(self, count: int, microseconds: int, within: Sequence[int]) -> None:
        """Add the observations of a group."""
        self.count += count
        self.microseconds += microseconds
        self.within = [mine + more for mine, more in zip(self.within, within, strict=True)]

    def buckets(self) -> list[tuple[str, float]]:
        """The cumulated buckets, as Prometheus names them."""
        bounds = [str(float(bound)) for bound in self.bounds]
        return [*zip(bounds, map(float, self.within), strict=True), ("+Inf", float(self.count))]

    @property
    def seconds(self) -> float:
        """The sum of the observations."""
        return self.microseconds / 1_000_000
