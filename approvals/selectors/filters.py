"""Which requests fit what somebody asks for; every list filters alike."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from approvals import search
from approvals.core.lifecycle import Status
from approvals.core.risk import Risk
from approvals.errors import InvalidInput
from approvals.inputs import must_be_texts
from approvals.models import ApprovalRequest

# How far back words are looked for, unless somebody asks for older requests, too.
SEARCHED = timedelta(days=90)

Filters = Mapping[str, str | None]

# The columns that a filter of another name, or of the same, compares as they are.
_EQUAL = {
    "agent": "agent_name",
    "environment": "environment",
    "operation": "operation",
    "workflow_id": "workflow_id",
    "risk_level": "risk_level",
}


def filtered(filters: Filters, now: datetime) -> QuerySet[ApprovalRequest]:
    """The requests that fit at that time; InvalidInput for an unknown value.

    `filters` may hold status, risk_level, agent, environment, operation, workflow_id, group (one
    that may decide), text (words to find it by) and older (look for them further back, too).
    """
    must_be_texts({field: value for field, value in filters.items() if value})
    risk_level = filters.get("risk_level")
    if risk_level and risk_level not in set(Risk):
        raise InvalidInput("risk_level", f"The risk level is one of {', '.join(Risk)}.")
    rows = ApprovalRequest.objects.filter(
        **{column: filters[name] for name, column in _EQUAL.items() if filters.get(name)}
    )
    if status := filters.get("status"):
        rows = _with_status(rows, status, now)
    if group := filters.get("group"):
        rows = rows.filter(policy__groups__contains=[group])
    if text := filters.get("text"):
        since = None if filters.get("older") else now - SEARCHED
        # What waits is little enough to look through.
        rows = _with_words(rows, text, since, among_all=status != Status.PENDING)
    return rows


def overdue(now: datetime) -> Q:
    """Pending requests past their deadline, which read as expired: the sweep may be late."""
    return Q(status=Status.PENDING, expires_at__lte=now)


def _with_status(
    rows: QuerySet[ApprovalRequest], status: str, now: datetime
) -> QuerySet[ApprovalRequest]:
    if status not in set(Status):
        raise InvalidInput("status", f"The status is one of {', '.join(Status)}.")
    if status == Status.PENDING:
        # Nearly every deadline is past, but hardly one of what waits: as a condition on the column
        # alone, it would let the planner expect next to no rows, and read and sort all of them.
        return rows.filter(~overdue(now), status=Status.PENDING)
    if status == Status.EXPIRED:
        return rows.filter(Q(status=Status.EXPIRED) | overdue(now))
    return rows.filter(status=status)


def _with_words(
    rows: QuerySet[ApprovalRequest], text: str, since: datetime | None, *, among_all: bool
) -> QuerySet[ApprovalRequest]:
    asked = search.matching(text)
    if asked is None:
        return rows.none()
    if since is not None:
        rows = rows.filter(created_at__gt=since)
    if among_all and (named := search.named(text)) is not None:
        return rows.filter(pk__in=named)
    return rows.filter(asked)
