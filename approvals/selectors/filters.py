"""Which requests fit what somebody asks for; every list filters alike."""

from collections.abc import Mapping
from datetime import timedelta

from django.db.models import DateTimeField, ExpressionWrapper, Q, QuerySet

from approvals import search
from approvals.core import intake
from approvals.core.lifecycle import Status
from approvals.core.risk import Risk
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest, ClockTimestamp

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


def filtered(filters: Filters) -> QuerySet[ApprovalRequest]:
    """The requests that fit; InvalidInput for an unknown value.

    `filters` may hold status, risk_level, agent, environment, operation, workflow_id, group (one
    that may decide), text (words to find it by) and older (look for them further back, too).
    """
    for field, value in filters.items():
        if value and (fault := intake.text_fault(value, 200)) is not None:
            raise InvalidInput(field, f"{field} {fault}.")
    risk_level = filters.get("risk_level")
    if risk_level and risk_level not in set(Risk):
        raise InvalidInput("risk_level", f"The risk level is one of {', '.join(Risk)}.")
    rows = ApprovalRequest.objects.filter(
        **{column: filters[name] for name, column in _EQUAL.items() if filters.get(name)}
    )
    if status := filters.get("status"):
        rows = _with_status(rows, status)
    if group := filters.get("group"):
        rows = rows.filter(policy__groups__contains=[group])
    if text := filters.get("text"):
        rows = _with_words(rows, text, older=bool(filters.get("older")))
    return rows


def _with_status(rows: QuerySet[ApprovalRequest], status: str) -> QuerySet[ApprovalRequest]:
    if status not in set(Status):
        raise InvalidInput("status", f"The status is one of {', '.join(Status)}.")
    # The sweep may be late: a pending request past its deadline already reads as expired.
    overdue = Q(status=Status.PENDING, expires_at__lte=ClockTimestamp())
    if status == Status.PENDING:
        return rows.filter(status=Status.PENDING).exclude(overdue)
    if status == Status.EXPIRED:
        return rows.filter(Q(status=Status.EXPIRED) | overdue)
    return rows.filter(status=status)


def _with_words(
    rows: QuerySet[ApprovalRequest], text: str, *, older: bool
) -> QuerySet[ApprovalRequest]:
    asked = search.matching(text)
    if asked is None:
        return rows.none()
    if not older:
        since = ExpressionWrapper(ClockTimestamp() - SEARCHED, output_field=DateTimeField())
        rows = rows.filter(created_at__gt=since)
    return rows.filter(asked)
