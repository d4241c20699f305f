"""How long decisions took, in SQL over final requests."""

# For good: what is rolled up was counted up to each of these and cannot be sorted anew.
BUCKETS_SECONDS = (30, 60, 300, 600, 1800, 3600, 7200, 14_400, 28_800, 86_400)

# Of final requests, over the column `took` below. A sum of intervals is exact.
MICROSECONDS = "(extract(epoch FROM sum(took)) * 1000000)::bigint"
WITHIN = (
    "ARRAY["
    + ", ".join(f"count(*) FILTER (WHERE took <= interval '{b} s')" for b in BUCKETS_SECONDS)
    + "]"
)
# A clock that was set back must not make a sum shrink.
TOOK = "greatest(decided_at - created_at, interval '0')"
