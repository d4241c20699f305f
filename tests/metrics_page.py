"""What `/metrics` says, for tests that count."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """Every sample of one scrape, by its name and labels."""

    samples: Mapping[tuple[str, Labels], float]

    @classmethod
    def scrape(cls) -> "Page":
        """The page as this process serves it now."""
        return cls.parsed(Client().get("/metrics").content.decode())

    @classmethod
    def parsed(cls, text: str) -> "Page":
        """A page that was served elsewhere."""
        families = text_string_to_metric_families(text)
        return cls(
            {
                (sample.name, frozenset(sample.labels.items())): sample.value
                for family in families
                for sample in family.samples
            }
        )

    def value(self, name: str, **labels: str) -> float | None:
        """One sample, or None where there is none."""
        return self.samples.get((name, frozenset(labels.items())))

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        """Every sample of a name that is not 0, by its label values in the labels' order."""
        return {
            tuple(value for _, value in sorted(labels)): number
            for (key, labels), number in self.samples.items()
            if key == name and number
        }

    def names(self, name: str) -> list[dict[str, str]]:
        """The label sets of a name."""
        return [dict(labels) for key, labels in self.samples if key == name]
