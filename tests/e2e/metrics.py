"""What Prometheus would read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_OURS = re.compile(r"(# (HELP|TYPE) )?hitl_")


@dataclass(frozen=True)
class Scrape:
    """The samples of one moment."""

    samples: list[Sample]

    def value(self, name: str, labels: Mapping[str, str], **more: str) -> float:
        """A sample's value; 0 where there is none with these labels."""
        wanted = {**labels, **more}
        return sum(s.value for s in self.samples if s.name == name and s.labels == wanted)


def scrape(url: str) -> Scrape:
    """Read the gateway's own metrics at `/metrics`; the rest would take longer to parse."""
    answer = httpx.get(f"{url}/metrics", trust_env=False).raise_for_status()
    ours = [line for line in answer.text.splitlines() if _OURS.match(line)]
    families = text_string_to_metric_families("\n".join([*ours, ""]))
    return Scrape([sample for family in families for sample in family.samples])
