"""What was decided or ended, the latest first."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from approvals.models import ApprovalRequest
from approvals.selectors.filters import Filters, filtered
from approvals.selectors.queue import LARGE, PAGE_SIZE, RECENT, Page, page_of

_SUGGESTED = {
    "operation": "operation",
    "agent": "agent_name",
    "environment": "environment",
    "decided_by": "decided_by",
}


def list_ended(
    filters: Filters,
    now: datetime,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str = "",
    limit: int = PAGE_SIZE,
) -> Page:
    """Final requests that fit the filters, the last that ended first; InvalidInput.

    `filters` are those of every list, and decided_by. What ended at `since` is among them, at
    `until` not. One that is overdue and still pending has not ended: the sweep soon ends it.
    """
    rows = filtered(filters, now).filter(decided_at__isnull=False)
    if decided_by := filters.get("decided_by"):
        rows = rows.filter(decided_by=decided_by)
    if since is not None:
        rows = rows.filter(decided_at__gte=since)
    if until is not None:
        rows = rows.filter(decided_at__lt=until)
    return page_of(rows.defer(*LARGE), "decided_at", cursor, limit)


def suggestions() -> Mapping[str, Sequence[str]]:
    """What filters may offer: the values among the last requests that ended, sorted."""
    latest = ApprovalRequest.objects.filter(decided_at__isnull=False).order_by("-decided_at", "-pk")
    rows = list(latest.values_list(*_SUGGESTED.values())[:RECENT])
    columns = zip(*rows, strict=True) if rows else [()] * len(_SUGGESTED)
    return {
        name: sorted({*values} - {""}) for name, values in zip(_SUGGESTED, columns, strict=True)
    }
