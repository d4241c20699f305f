"""A person's second chance for a delivery, and the heartbeats of background processes."""

import logging

from django.db import transaction

from approvals import audit, outbox, trail
from approvals.actors import able
from approvals.audit import Fact
from approvals.clock import clock
from approvals.core.events import EventName
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability
from approvals.errors import DeliveryNotFound, NotAllowed
from approvals.inputs import must_be_words
from approvals.models import ApprovalRequest, ClockTimestamp, Delivery, Heartbeat

log = logging.getLogger(__name__)


def retry_delivery(delivery_id: int, *, actor: Actor, reason: str) -> None:
    """Try a delivery again at once; for operators.

    Raises InvalidInput, NotAllowed and DeliveryNotFound.
    """
    must_be_words("reason", reason)
    if not able(actor, Ability.RETRY_DELIVERY):
        raise NotAllowed("Only an operator may retry a delivery.")
    with transaction.atomic():
        row = Delivery.objects.filter(pk=delivery_id).first()
        if row is None:
            raise DeliveryNotFound(f"There is no delivery {delivery_id}.")
        request = ApprovalRequest.objects.select_for_update(no_key=True).get(pk=row.request_id)
        data = {"channel": row.channel, "reason": reason}
        fact = Fact(row.request_id, EventName.DELIVERY_RETRIED, actor, clock(), data)
        audit.append([fact])
        outbox.nudge(row.request_id, row.channel)
        about = {"request_id": str(request.pk), "workflow_id": request.workflow_id}
        trail.tell(log, "Delivery retried", channel=row.channel, user_id=actor.user_id, **about)


def beat_heart(name: str) -> None:
    """Note that a kind of background process is at work now."""
    Heartbeat.objects.update_or_create(name=name, defaults={"seen_at": ClockTimestamp()})
