"""Whether the background processes are at work, and may be."""

from approvals.models import ClockTimestamp, CurrentIdentity, DatabaseIdentity, Heartbeat

NOT_ACCEPTED = (
    "This database is a restored or promoted copy, and may not know what was decided and done since"
    " the copy was taken: no worker acts on it before an operator runs manage.py accept_database."
)


def is_database_accepted() -> bool:
    """Whether workers may act on the database at hand; a restored copy is nobody's at first."""
    return DatabaseIdentity.objects.filter(identity=CurrentIdentity()).exists()


def heartbeats() -> dict[str, float]:
    """Seconds since each kind of background process was last seen at work."""
    rows = Heartbeat.objects.annotate(now=ClockTimestamp())
    return {row.name: (row.now - row.seen_at).total_seconds() for row in rows}
