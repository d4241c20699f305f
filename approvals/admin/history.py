"""What the audit log says of a row, for the page of that row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from approvals.masking import masked_beside
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


def history_of(
    stream: UUID, title: str, only: Q | None = None, *, given: Mapping[str, Any] | None = None
) -> History:
    """What happened in the stream, or what of it is about one thing.

    `given` is what the stream's request or run was asked with: its secrets are hidden.
    """
    rows = AuditEntry.objects.filter(only or Q(), stream=stream).order_by("-number")
    found = list(rows[: MOST_ENTRIES + 1])
    shown = list(reversed(found[:MOST_ENTRIES]))
    data = masked_beside(given or {}, [row.data for row in shown])
    entries = [
        (row, told(row.name, words, row.actor)) for row, words in zip(shown, data, strict=True)
    ]
    address = reverse("admin:approvals_auditentry_changelist")
    return History(title, entries, len(found) > MOST_ENTRIES, f"{address}?q={stream}")
