"""What `/metrics` says, for tests that count."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Samples = Mapping[tuple[str, Labels], float]


@dataclass(frozen=True)
class Page:
    """One scrape. Only what is asked for is parsed: all of it would take longer than the scrape."""

    text: str
    _named: dict[str, Mapping[Labels, float]] = field(default_factory=dict, repr=False)

    @classmethod
    def scrape(cls) -> "Page":
        """The page as this process serves it now."""
        return cls(Client().get("/metrics").content.decode())

    @cached_property
    def samples(self) -> Samples:
        """Every sample, by its name and labels."""
        return _parsed(self.text.splitlines())

    def starting_with(self, *starts: str) -> Samples:
        """The samples whose names start in one of these ways."""
        return _parsed(line for line in self.text.splitlines() if line.startswith(starts))

    def value(self, name: str, **labels: str) -> float | None:
        """One sample, or None where there is none."""
        return self._of(name).get(frozenset(labels.items()))

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """Every sample of a name that is not 0, by its label values in the labels' order."""
        return {
            tuple(value for _, value in sorted(labels)): number
            for labels, number in self._of(name).items()
            if number
        }

    def names(self, name: str) -> list[dict[str, str]]:
        """The label sets of a name."""
        return [dict(labels) for labels in self._of(name)]

    def _of(self, name: str) -> Mapping[Labels, float]:
        if name not in self._named:
            found = _parsed(self._lines[name])
            self._named[name] = {labels: number for (_, labels), number in found.items()}
        return self._named[name]

    @cached_property
    def _lines(self) -> Mapping[str, list[str]]:
        lines: dict[str, list[str]] = defaultdict(list)
        for line in self.text.splitlines():
            if not line.startswith("#"):
                lines[line.partition("{")[0].partition(" ")[0]].append(line)
        return lines


def _parsed(lines: Iterable[str]) -> Samples:
    families = text_string_to_metric_families("\n".join([*lines, ""]))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
