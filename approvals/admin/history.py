"""What the audit log says of a row, for the page of that row."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from approvals.models import AuditEntry
from approvals.wording import Told, told

MOST_ENTRIES = 200


@dataclass(frozen=True)
class History:
    """The newest entries of a stream, oldest first, and the list that has them all."""

    title: str
    entries: Sequence[tuple[AuditEntry, Told]]
    more: bool
    url: str


def history_of(stream: UUID, title: str, only: Q | None = None) -> History:
    """What happened in the stream, or what of it is about one thing."""
    rows = AuditEntry.objects.filter(only or Q(), stream=stream).order_by("-number")
    found = list(rows[: MOST_ENTRIES + 1])
    entries = [(row, told(row.name, row.data)) for row in reversed(found[:MOST_ENTRIES])]
    address = reverse("admin:approvals_auditentry_changelist")
    return History(title, entries, len(found) > MOST_ENTRIES, f"{address}?q={stream}")
