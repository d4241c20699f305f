"""What Prometheus would read."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


@dataclass(frozen=True)
class Scrape:
    """The samples of one moment."""

    samples: list[Sample]

    def value(self, name: str, labels: Mapping[str, str], **more: str) -> float:
        """A sample's value; 0 where there is none with these labels."""
        wanted = {**labels, **more}
        return sum(s.value for s in self.samples if s.name == name and s.labels == wanted)


def scrape(url: str) -> Scrape:
    """Read `/metrics`."""
    answer = httpx.get(f"{url}/metrics", trust_env=False).raise_for_status()
    families = text_string_to_metric_families(answer.text)
    return Scrape([sample for family in families for sample in family.samples])
