"""What Prometheus would read."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_OURS = re.compile(r"(# (HELP|TYPE) )?hitl_")
_SERIES = re.compile(r"hitl_")


@dataclass(frozen=True)
class Scrape:
    """The samples of one moment."""

    samples: list[Sample]

    def value(self, name: str, labels: Mapping[str, str], **more: str) -> float:
        """A sample's value; 0 where there is none with these labels."""
        wanted = {**labels, **more}
        return sum(s.value for s in self.samples if s.name == name and s.labels == wanted)

    def counted(self, name: str, labels: Sequence[str], **more: str) -> Counter[tuple[str, ...]]:
        """What a metric counts, by the labels named; what counts nothing is left out."""
        return Counter(
            {
                tuple(sample.labels[label] for label in labels): int(sample.value)
                for sample in self.samples
                if sample.name == name and sample.value and sample.labels.items() >= more.items()
            }
        )


def scrape(url: str) -> Scrape:
    """Read the gateway's own metrics at `/metrics`; the rest would take longer to parse."""
    return parsed(_get(url))


def parsed(page: str) -> Scrape:
    """The gateway's own metrics of a page that was read."""
    families = text_string_to_metric_families("\n".join([*_matching(page, _OURS), ""]))
    return Scrape([sample for family in families for sample in family.samples])


def series(url: str) -> dict[str, float]:
    """The gateway's own metrics, unparsed: the value of each series as it is written."""
    pairs = (line.rpartition(" ") for line in _matching(_get(url), _SERIES))
    return {name: float(value) for name, _, value in pairs}


def _get(url: str) -> str:
    return httpx.get(f"{url}/metrics", trust_env=False).raise_for_status().text


def _matching(page: str, wanted: re.Pattern[str]) -> list[str]:
    return [line for line in page.splitlines() if wanted.match(line)]
