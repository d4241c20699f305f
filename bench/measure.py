"""Measures: two sides in turn, so that the noise of the machine hits both, and what they prove."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.load import Load

PERCENTILES = (50, 95, 99)
TIMES = tuple(f"p{percent}_ms" for percent in PERCENTILES)
RATE = "per_second"


@dataclass(frozen=True)
class Counts:
    """How much is measured: rounds, and operations a round, one at a time and all at once."""

    rounds: int
    alone: int
    together: int
    warm_up: int


@dataclass(frozen=True)
class Side:
    """One of the two that are compared, under the name that the table shows.

    `alone` does so many operations one after the other, `together` so many at once.
    """

    label: str
    alone: Callable[[int], Load]
    together: Callable[[int], Load] | None = None


@dataclass
class Figures:
    """What one side took: the seconds of single operations, and the rate of each round."""

    label: str
    seconds: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    # What the process that made the load used for it, and for how many operations.
    generator_seconds: float = 0.0
    generated: int = 0

    def add_times(self, load: Load) -> None:
        """Keep the times of operations that were done one at a time."""
        self.seconds += load.seconds
        self._add_cost(load)

    def add_rate(self, load: Load) -> None:
        """Keep the rate of operations that were done at once."""
        self.rates.append(load.per_second)
        self._add_cost(load)

    def _add_cost(self, load: Load) -> None:
        if load.cpu_seconds is not None:
            self.generator_seconds += load.cpu_seconds
            self.generated += len(load.seconds)

    def percentile(self, percent: int) -> float:
        """Seconds that so many percent of the operations did not exceed."""
        if len(self.seconds) == 1:
            return self.seconds[0]
        return statistics.quantiles(self.seconds, n=100, method="inclusive")[percent - 1]

    def values(self) -> dict[str, float]:
        """Each percentile in milliseconds, and the median rate; only what was measured."""
        found = {}
        if self.seconds:
            for name, percent in zip(TIMES, PERCENTILES, strict=True):
                found[name] = self.percentile(percent) * 1000
        if self.rates:
            found[RATE] = statistics.median(self.rates)
        return found

    def to_json(self) -> dict[str, Any]:
        """The figures, what the load cost to make, and every raw value."""
        cost = self.generator_seconds / self.generated * 1000 if self.generated else None
        return {
            "label": self.label,
            **self.values(),
            "generator_cpu_ms": cost,
            "all_ms": [value * 1000 for value in self.seconds],
            "all_per_second": self.rates,
        }


@dataclass(frozen=True)
class Fact:
    """Something else that was seen, such as a process's memory."""

    name: str
    value: float
    unit: str


class Goal(Protocol):
    """What a measure is to reach."""

    def text(self) -> str:
        """The goal in words."""

    def reached(self, result: "Result") -> tuple[str, bool]:
        """What was reached, and whether that is the goal."""


@dataclass(frozen=True)
class Ratio:
    """A time at most so many times the floor's, a rate at least so much of it."""

    figure: str
    limit: float
    plus_ms: float = 0.0

    def text(self) -> str:
        """The goal in words."""
        extent = "at least" if self.figure == RATE else "at most"
        more = f" + {self.plus_ms:g} ms" if self.plus_ms else ""
        return f"{_words(self.figure)} {extent} {self.limit:g} x{more}"

    def reached(self, result: "Result") -> tuple[str, bool]:
        """The ratio, and whether it is the goal."""
        if result.gateway is None or result.floor is None:
            raise ValueError(f"{result.name!r} has no floor to be compared with.")
        ours, floor = (side.values()[self.figure] for side in (result.gateway, result.floor))
        allowed = floor * self.limit + self.plus_ms
        met = ours >= allowed if self.figure == RATE else ours <= allowed
        return f"{ours / floor:.2f} x", met


@dataclass(frozen=True)
class Limit:
    """A time of the gateway, in milliseconds, that is at most so much whatever the floor took."""

    figure: str
    limit: float

    def text(self) -> str:
        """The goal in words."""
        return f"{_words(self.figure)} at most {self.limit:g} ms"

    def reached(self, result: "Result") -> tuple[str, bool]:
        """The time, and whether it is the goal."""
        if result.gateway is None:
            raise ValueError(f"{result.name!r} has no times.")
        value = result.gateway.values()[self.figure]
        return f"{value:.1f} ms", value <= self.limit


@dataclass(frozen=True)
class Bound:
    """A fact, by its name, that is at most so much."""

    fact: str
    limit: float
    unit: str

    def text(self) -> str:
        """The goal in words."""
        return f"{self.fact} at most {self.limit:g} {self.unit}"

    def reached(self, result: "Result") -> tuple[str, bool]:
        """The value, and whether it is the goal."""
        (fact,) = (fact for fact in result.facts if fact.name == self.fact)
        return f"{fact.value:.4g} {fact.unit}", fact.value <= self.limit


@dataclass
class Result:
    """One measure: the gateway beside its floor where it has one, and facts about it."""

    name: str
    gateway: Figures | None = None
    floor: Figures | None = None
    goals: Sequence[Goal] = ()
    facts: list[Fact] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON, in milliseconds and per second."""
        goals = []
        for goal in self.goals:
            reached, met = goal.reached(self)
            goals.append({"goal": goal.text(), "reached": reached, "met": met})
        return {
            "measure": self.name,
            "gateway": self.gateway and self.gateway.to_json(),
            "floor": self.floor and self.floor.to_json(),
            "ratio": self._ratios(),
            "facts": [vars(fact) for fact in self.facts],
            "goals": goals,
        }

    def _ratios(self) -> dict[str, float]:
        """The gateway's figures as shares of the floor's, where both have them."""
        if self.gateway is None or self.floor is None:
            return {}
        ours, floor = self.gateway.values(), self.floor.values()
        return {name: ours[name] / floor[name] for name in ours if floor.get(name)}


def compare(
    name: str, gateway: Side, floor: Side, counts: Counts, goals: Sequence[Goal] = ()
) -> Result:
    """Warm both sides up, then measure them in turn, each first in every other round."""
    ours, bare = Figures(gateway.label), Figures(floor.label)
    for side in (floor, gateway):
        side.alone(counts.warm_up)
        if side.together is not None:
            side.together(counts.warm_up)
    pairs = [(gateway, ours), (floor, bare)]
    for _ in range(counts.rounds):
        pairs.reverse()
        for side, figures in pairs:
            figures.add_times(side.alone(counts.alone))
        for side, figures in pairs:
            if side.together is not None:
                figures.add_rate(side.together(counts.together))
    return Result(name, ours, bare, goals)


def _words(figure: str) -> str:
    return figure.removesuffix("_ms").replace("_", " ")
