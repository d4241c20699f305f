"""Whether the background processes are at work."""

from approvals.models import ClockTimestamp, Heartbeat


def heartbeats() -> dict[str, float]:
    """Seconds since each kind of background process was last seen at work."""
    rows = Heartbeat.objects.annotate(now=ClockTimestamp())
    return {row.name: (row.now - row.seen_at).total_seconds() for row in rows}
