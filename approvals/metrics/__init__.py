"""What `/metrics` says of the product, computed from the tables at each scrape.

So it is exact across processes, survives restarts, and counts nothing that was rolled back. Other
packages add theirs with `TABLES.register(collector)`.
"""

from approvals.metrics.exposition import rendered
from approvals.metrics.gauges import BuildCollector, DeliveryCollector, HeartbeatCollector
from approvals.metrics.labels import know_agents
from approvals.metrics.latency import BUCKETS_SECONDS
from approvals.metrics.lifecycle import LifecycleCollector
from approvals.metrics.registry import TABLES, scrape
from approvals.metrics.rollup import roll_up
from approvals.metrics.tallies import TallyCollector

__all__ = ["BUCKETS_SECONDS", "TABLES", "know_agents", "rendered", "roll_up", "scrape"]

TABLES.register(LifecycleCollector())
TABLES.register(DeliveryCollector())
TABLES.register(HeartbeatCollector())
TABLES.register(BuildCollector())
TABLES.register(TallyCollector())
