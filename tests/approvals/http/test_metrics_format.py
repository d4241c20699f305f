"""The page as Prometheus reads it."""

import re
import subprocess

import pytest
from django.test import Client
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from approvals.metrics import rendered, scrape
from tests.approvals.http.gateway import Api, People
from tests.tools import require_tool

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
OURS = re.compile(r"(# (HELP|TYPE) )?hitl_")
# The one name that was given, and breaks the custom.
GIVEN = "hitl_approval_backlog_total"


class _These(Collector):
    """Metrics that were read before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


@pytest.mark.parametrize("accept", ["", "text/plain; version=0.0.4", OPENMETRICS])
def test_our_own_metrics_are_written_as_the_library_would(
    api: Api, people: People, accept: str
) -> None:
    api.call(people.ana, "POST", f"/approvals/{api.open(people.agent)}/reject", {"reason": "no"})
    api.open(people.agent, agent_name='odd "name"\\ with\na line, and é')
    families = list(scrape())
    registry = CollectorRegistry()
    registry.register(_These(families))
    encode, content_type = choose_encoder(accept)
    openmetrics = content_type.startswith("application/openmetrics-text")
    ours = rendered(families, openmetrics=openmetrics) + ("# EOF\n" if openmetrics else "")
    assert ours == encode(registry).decode()


def test_promtool_has_nothing_to_say_against_our_metrics(api: Api, people: People) -> None:
    promtool = require_tool("promtool", "Debian has it in the package prometheus")
    api.call(people.ana, "POST", f"/approvals/{api.open(people.agent)}/reject", {"reason": "no"})
    page = Client().get("/metrics").content.decode()
    ours = [line for line in page.splitlines(keepends=True) if OURS.match(line)]
    assert len(ours) > 500
    checked = subprocess.run(  # noqa: S603 - the tool that was found
        [promtool, "check", "metrics"],
        input="".join(ours),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = (checked.stdout + checked.stderr).splitlines()
    assert [line for line in said if line and not line.startswith(f"{GIVEN} ")] == []
    # A page that cannot be read is told in one line too.
    assert checked.returncode in {0, 3}
