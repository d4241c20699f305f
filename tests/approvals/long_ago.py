"""Webhooks and requests that lie back some days, and what retention left of them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from approvals import outbox, services
from approvals.clock import clock
from approvals.core.events import Hearing
from approvals.models import Delivery, InboundWebhook
from tests.approvals.scenes import opened, unguarded, vote


def webhook(days: float = 100, **facts: Any) -> InboundWebhook:
    """A message that came so many days ago."""
    name = str(uuid4())
    pk = services.record_webhook(
        source="linear", delivery_id=name, body=b"body of " + name.encode()
    )
    assert pk is not None
    services.finish_webhook(pk, outcome=Hearing.IGNORED, reason="why", happened_at=clock())
    received_at = clock() - timedelta(days=days)
    InboundWebhook.objects.filter(pk=pk).update(received_at=received_at, **facts)
    return InboundWebhook.objects.get(pk=pk)


def kept() -> int:
    """How many webhooks still have their bodies."""
    return InboundWebhook.objects.exclude(body="").count()


def tell(*names: str) -> None:
    """Deliver whatever these channels are owed."""
    for name in names:
        while outbox.deliver_next(name):
            pass


def ended(days: float = 100, **facts: Any) -> UUID:
    """A request that was approved, and told to everybody, so many days ago."""
    request_id = opened(**facts)
    vote(request_id)
    tell("linear", "github", "chat", "workflow")
    age(request_id, days)
    return request_id


def age(request_id: UUID, days: float) -> None:
    """Let everything about a request have happened so many days earlier."""
    unguarded(
        "UPDATE approval_requests SET created_at = created_at - make_interval(days => %s),"
        " decided_at = decided_at - make_interval(days => %s) WHERE id = %s",
        [days, days, request_id],
    )
    moved = clock() - timedelta(days=days)
    Delivery.objects.filter(request=request_id).update(not_before=moved)


def told(*request_ids: UUID) -> int:
    """How many deliveries these requests still have."""
    return Delivery.objects.filter(request__in=request_ids).count()


def purge(**facts: Any) -> bool:
    """One call of the verb, with time enough."""
    return services.purge_old(seconds=60, **facts)


# Two kinds of things for retention to take from, and what it took in which order.
drawer: list[str] = []
taken: list[str] = []


def spoons(before: datetime, limit: int) -> int:
    """Take one spoon out of the drawer."""
    return _take("spoon")


def forks(before: datetime, limit: int) -> int:
    """Take one fork out of the drawer."""
    return _take("fork")


def _take(name: str) -> int:
    if name not in drawer:
        return 0
    drawer.remove(name)
    taken.append(name)
    return 1
