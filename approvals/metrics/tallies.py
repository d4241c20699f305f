"""What the tallies add up to, as Prometheus metrics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from approvals import tally
from approvals.models import Tally
from approvals.tally import TalliedMetric, Values


@dataclass
class _Sum:
    """All shards of one label set; `within` counts what took at most each bound."""

    count: int = 0
    microseconds: int = 0
    within: list[int] = field(default_factory=list)

    def add(self, count: int, microseconds: int, within: list[int]) -> None:
        self.count += count
        self.microseconds += microseconds
        mine = self.within or [0] * len(within)
        self.within = [old + new for old, new in zip(mine, within, strict=True)]


Sums = Mapping[tuple[str, Values], _Sum]


class TallyCollector(Collector):
    """Every declared counter and histogram, with 0 for what has not happened yet."""

    def collect(self) -> Iterator[Metric]:
        """The metrics as the tallies stand; one statement."""
        sums = _read()
        for metric in tally.declared().values():
            yield _histogram(metric, sums) if metric.bounds else _counter(metric, sums)


def _read() -> Sums:
    sums: dict[tuple[str, Values], _Sum] = {}
    rows = Tally.objects.values_list("metric", "values", "count", "microseconds", "within")
    for name, values, count, microseconds, within in rows:
        sums.setdefault((name, tuple(values)), _Sum()).add(count, microseconds, within)
    return sums


def _shown(metric: TalliedMetric, sums: Sums) -> Iterator[tuple[Values, _Sum]]:
    """Every label set that is known or, by an older release, was counted."""
    counted = {values for name, values in sums if name == metric.name}
    for values in sorted(metric.known | counted):
        none = _Sum(within=[0] * len(metric.bounds))
        yield values, sums.get((metric.name, values), none)


def _counter(metric: TalliedMetric, sums: Sums) -> Metric:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for values, found in _shown(metric, sums):
        family.add_metric(values, found.count)
    return family


def _histogram(metric: TalliedMetric, sums: Sums) -> Metric:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [*map(str, metric.bounds), "+Inf"]
    for values, found in _shown(metric, sums):
        within = [*found.within, found.count]
        buckets = [(bound, float(seen)) for bound, seen in zip(bounds, within, strict=True)]
        family.add_metric(values, buckets, found.microseconds / 1_000_000)
    return family
