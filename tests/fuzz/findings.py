"""Runs a target on generated inputs, counts them, and keeps what it must not have done."""

import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy

# What is told of one input; all of it would bury the report.
_SHOWN = 2000


class Finding(AssertionError):
    """Something that must not come of any input; the sentence says what."""


@dataclass
class Findings:
    """What came of every input, by target, and one example of each kind of failure."""

    seed: int
    inputs: Counter[str] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)

    def run(
        self,
        target: str,
        inputs: SearchStrategy[Any],
        judge: Callable[[Any], str],
        count: int,
    ) -> None:
        """Judge that many inputs; `judge` names what came of one, or raises."""

        def one(given: Any) -> None:
            self.inputs[target] += 1
            try:
                self.inputs[f"{target}: {judge(given)}"] += 1
            except Exception as error:  # noqa: BLE001 - each is a finding, and the next input has its turn
                self.note(target, error, given)

        test = hypothesis.given(inputs)(one)
        test = hypothesis.settings(quiet(count))(test)
        hypothesis.seed(self.seed)(test)()

    @contextmanager
    def at_least(self, part: str, count: int) -> Iterator[None]:
        """Take fewer inputs than these meanwhile for a failure: what was not tried is not proven.

        A generator that has no more to give, or whose draws are all thrown away, ends in silence.
        """
        before = self.total
        yield
        if (made := self.total - before) < count:
            kind = f"{part}: only {made} of {count} inputs were made"
            self.repeats[kind] += 1
            self.failures[kind] = "The generators gave no more; so much less is proven."

    def note(self, target: str, error: Exception, given: object) -> None:
        """Keep a failure, if it is the first of its kind."""
        kind = f"{target}: {_kind(error)}"
        self.repeats[kind] += 1
        told = (
            str(error) if isinstance(error, Finding) else "".join(traceback.format_exception(error))
        )
        self.failures.setdefault(kind, f"{told[-_SHOWN:]}\n  input: {given!r:.{_SHOWN}}")

    @property
    def total(self) -> int:
        """How many inputs there were."""
        return sum(number for name, number in self.inputs.items() if ": " not in name)

    def report(self) -> str:
        """Counts by target, then what failed."""
        lines = [f"Seed {self.seed}"]
        lines += [f"  {number:6}  {name}" for name, number in sorted(self.inputs.items())]
        for kind, example in self.failures.items():
            lines.append(f"FAILED {self.repeats[kind]} times: {kind}")
            lines += [f"    {line}" for line in example.splitlines()]
        number = len(self.failures)
        lines.append(
            f"{self.total} inputs, {number} kinds of failure; repeat with SEED={self.seed}"
        )
        return "\n".join(lines)


def quiet(count: int) -> hypothesis.settings:
    """As many inputs as asked for: no shrinking, since what one did stays in the database."""
    return hypothesis.settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def new_seed() -> int:
    """A seed that can be typed."""
    return random.SystemRandom().randrange(1_000_000)


def _kind(error: Exception) -> str:
    """What tells failures apart: their type and where they were raised."""
    if isinstance(error, Finding):
        return str(error).partition(":")[0][:100]
    if isinstance(error, RecursionError):
        return "RecursionError"
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    return f"{type(error).__name__} in {last.name if last else 'nowhere'}"
