"""Measures: two sides in turn, so that the noise of the machine hits both, and their table."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class Counts:
    """How much is measured: rounds, and operations a round, one at a time and all at once."""

    rounds: int
    alone: int
    together: int
    warm_up: int


@dataclass(frozen=True)
class Side:
    """One of the two that are compared.

    `alone` does so many operations one after the other and returns the seconds of each;
    `together` does so many at once and returns how many it did a second.
    """

    alone: Callable[[int], Sequence[float]]
    together: Callable[[int], float]


@dataclass
class Figures:
    """What one side took: the seconds of single operations, and the rate of each round."""

    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def percentile(self, percent: int) -> float:
        """Seconds that so many percent of the operations did not exceed."""
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1]

    @property
    def per_second(self) -> float:
        """The median rate of the rounds."""
        return statistics.median(self.rates)


@dataclass(frozen=True)
class Result:
    """One measure: the gateway beside its floor."""

    name: str
    gateway: Figures
    floor: Figures

    def to_json(self) -> dict[str, Any]:
        """The figures, their ratios and every raw value, in milliseconds and per second."""
        return {
            "measure": self.name,
            "gateway": _json(self.gateway),
            "floor": _json(self.floor),
            "ratio": dict(zip([*_KEYS, "per_second"], self.ratios(), strict=True)),
        }

    def ratios(self) -> list[float]:
        """The gateway's share of the floor: each percentile, then the rate."""
        return [
            *(self.gateway.percentile(p) / self.floor.percentile(p) for p in PERCENTILES),
            self.gateway.per_second / self.floor.per_second,
        ]


def compare(name: str, gateway: Side, floor: Side, counts: Counts) -> Result:
    """Warm both sides up, then measure them in turn, each first in every other round."""
    result = Result(name, Figures(), Figures())
    for side in (floor, gateway):
        side.alone(counts.warm_up)
        side.together(counts.warm_up)
    pairs = [(gateway, result.gateway), (floor, result.floor)]
    for _ in range(counts.rounds):
        pairs.reverse()
        for side, figures in pairs:
            figures.seconds += side.alone(counts.alone)
        for side, figures in pairs:
            figures.rates.append(side.together(counts.together))
    return result


def table(results: Sequence[Result]) -> str:
    """The results as a table for people: milliseconds, and operations a second."""
    heads = [*(f"p{percent} ms" for percent in PERCENTILES), "per second"]
    lines = [f"{'':42}" + "".join(f"{head:>12}" for head in heads)]
    for result in results:
        lines += ["", *_rows(result)]
    return "\n".join(lines)


_KEYS = [f"p{percent}_ms" for percent in PERCENTILES]


def _rows(result: Result) -> Iterator[str]:
    yield result.name
    for name, figures in (("gateway", result.gateway), ("floor", result.floor)):
        times = "".join(f"{figures.percentile(p) * 1000:12.2f}" for p in PERCENTILES)
        yield f"{'  ' + name:42}{times}{figures.per_second:12.1f}"
    yield f"{'  ratio':42}" + "".join(f"{ratio:10.2f} x" for ratio in result.ratios())


def _json(figures: Figures) -> dict[str, Any]:
    times = {key: figures.percentile(p) * 1000 for key, p in zip(_KEYS, PERCENTILES, strict=True)}
    return {
        **times,
        "per_second": figures.per_second,
        "all_ms": [value * 1000 for value in figures.seconds],
        "all_per_second": figures.rates,
    }
