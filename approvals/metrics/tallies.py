"""What the tallies add up to, as Prometheus metrics."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from approvals import tally
from approvals.metrics.observed import Observed
from approvals.models import Tally
from approvals.tally import TalliedMetric, Values

Sums = Mapping[tuple[str, Values], Observed]


class TallyCollector(Collector):
    """Every declared counter and histogram, with 0 for what has not happened yet."""

    def collect(self) -> Iterator[Metric]:
        """The metrics as the tallies stand; one statement."""
        sums = _read()
        for metric in tally.declared().values():
            yield _histogram(metric, sums) if metric.bounds else _counter(metric, sums)


def _read() -> Sums:
    sums: dict[tuple[str, Values], Observed] = {}
    declared = tally.declared()
    rows = Tally.objects.filter(metric__in=declared)
    for name, values, count, microseconds, within in rows.values_list(
        "metric", "values", "count", "microseconds", "within"
    ):
        key = (name, tuple(values))
        sums.setdefault(key, Observed(declared[name].bounds)).add(count, microseconds, within)
    return sums


def _shown(metric: TalliedMetric, sums: Sums) -> Iterator[tuple[Values, Observed]]:
    """Every label set that is known or, by an older release, was counted."""
    counted = {values for name, values in sums if name == metric.name}
    for values in sorted(metric.known | counted):
        yield values, sums.get((metric.name, values), Observed(metric.bounds))


def _counter(metric: TalliedMetric, sums: Sums) -> Metric:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for values, found in _shown(metric, sums):
        family.add_metric(values, found.count)
    return family


def _histogram(metric: TalliedMetric, sums: Sums) -> Metric:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for values, found in _shown(metric, sums):
        family.add_metric(values, found.buckets(), found.seconds)
    return family
