"""What `/metrics` says of runs and of the actions that they begin."""

from collections.abc import Iterator

from django.db.models import Count
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agents.models import ENDED, ExecutionStatus, Run, RunStatus
from approvals.tally import TalliedMetric, declare, each

GOING = (RunStatus.RUNNING, RunStatus.WAITING, RunStatus.NEEDS_ATTENTION)

RUNS_ENDED = declare(
    TalliedMetric(
        "hitl_runs_ended_total",
        "Runs that ended, by their last status.",
        ("status",),
        each(ENDED),
    )
)
# One execution may count twice: as unknown or held, and as what a person or a late worker then
# says of it. What is unknown already does not become unknown once more, and an idempotent action
# that is begun again after a crash has not ended yet.
EXECUTIONS = declare(
    TalliedMetric(
        "hitl_executions_total",
        "Times that an execution of an action came to an outcome.",
        ("outcome",),
        each([status for status in ExecutionStatus if status is not ExecutionStatus.STARTED]),
    )
)


class RunCollector(Collector):
    """How many runs there are that have not ended, by status."""

    def collect(self) -> Iterator[Metric]:
        """The gauge as the table stands; one statement, which reads only those runs."""
        going = Run.objects.filter(status__in=GOING).values_list("status")
        found = dict(going.annotate(Count("pk")))
        family = GaugeMetricFamily("hitl_runs", "Runs that have not ended.", labels=["status"])
        for status in GOING:
            family.add_metric([status], found.get(status, 0))
        yield family
