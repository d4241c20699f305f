"""Where somebody goes from one request: to the next one that waits for them."""

from datetime import datetime

from django.db.models import Case, Exists, IntegerField, OuterRef, Prefetch, Q, Value, When

from approvals.core import lifecycle
from approvals.core.lifecycle import Actor, Status
from approvals.core.risk import Risk
from approvals.models import ApprovalRequest, Vote

# How many the database finds that the policy's rules may then refuse, such as one's own.
_LOOKED_AT = 50


def next_for(actor: Actor, row: ApprovalRequest, now: datetime) -> ApprovalRequest | None:
    """The request that waits for the actor's vote, other than this one, in the queue's order.

    From one that is still pending it is the next one below, around the end to the top; from one
    that is decided it is the top.
    """
    voted = Vote.objects.filter(request=OuterRef("pk"), user=actor.user_id)
    rows = (
        ApprovalRequest.objects.filter(status=Status.PENDING, expires_at__gt=now)
        .filter(~Exists(voted), policy__groups__has_any_keys=sorted(actor.groups))
        .exclude(pk=row.pk)
        # Whether this person may vote does not hang on what others voted.
        .prefetch_related(Prefetch("votes", Vote.objects.none()))
        .defer("task", "action", "matches")
        .order_by(ApprovalRequest.by_severity(), "expires_at", "pk")
    )
    if row.status == Status.PENDING:
        rows = rows.order_by(_above(row), ApprovalRequest.by_severity(), "expires_at", "pk")
    for found in rows[:_LOOKED_AT]:
        if lifecycle.refusal(found.standing(), actor, now) is None:
            return found
    return None


def _above(row: ApprovalRequest) -> Case:
    """Orders what stands above the row in the queue behind what stands below it."""
    severity = Risk(row.risk_level).severity
    milder = [risk for risk in Risk if risk.severity < severity]
    same = Q(risk_level=row.risk_level)
    below = (
        Q(risk_level__in=milder)
        | same & Q(expires_at__gt=row.expires_at)
        | same & Q(expires_at=row.expires_at, pk__gt=row.pk)
    )
    return Case(When(below, then=Value(0)), default=Value(1), output_field=IntegerField())
