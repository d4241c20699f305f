"""What `/metrics` says of the product, computed from the tables at each scrape.

So it is exact across processes, survives restarts, and counts nothing that was rolled back. Other
packages add theirs with `TABLES.register(collector)`.
"""

from approvals.metrics.lifecycle import BUCKETS_SECONDS, LifecycleCollector
from approvals.metrics.registry import TABLES

__all__ = ["BUCKETS_SECONDS", "TABLES", "LifecycleCollector"]

TABLES.register(LifecycleCollector())
