"""What is not kept for ever goes once it is old enough, in small batches, and is never missed.

Requests, votes and audit entries stay, and so do the answers that no approval was needed: an
idempotency key promises the same answer however late it comes again, and the rules may have become
stricter or the body another one since. Those rows hold no content, only digests.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import cast

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils.module_loading import import_string

from approvals.clock import clock
from approvals.core.lifecycle import Status
from approvals.models import ApprovalRequest, Delivery, InboundWebhook

log = logging.getLogger(__name__)

# Rows a batch, which is one short transaction.
BATCH = 200

# Purges at most so many of what is older than the time; returns how many, 0 once none is left.
Purge = Callable[[datetime, int], int]


def purge_old(*, seconds: float, batch: int = BATCH) -> bool:
    """Purge what is older than HITL_RETENTION_DAYS, each kind in turn, for about so many seconds.

    Returns whether something may be left. Harmless when two processes do it at once.
    """
    if not settings.HITL_RETENTION_DAYS:
        return False
    before = clock() - timedelta(days=settings.HITL_RETENTION_DAYS)
    ends = time.monotonic() + seconds
    purges = deque(cast("Purge", import_string(path)) for path in settings.HITL_PURGES)
    while purges:
        if purges[0](before, batch):
            purges.rotate(-1)
        else:
            purges.popleft()
        if purges and time.monotonic() > ends:
            return True
    return False


def clear_sessions() -> None:
    """Delete the logins that are over: nobody can use or read them, whatever is kept otherwise."""
    import_string(f"{settings.SESSION_ENGINE}.SessionStore").clear_expired()


def purge_webhook_bodies(before: datetime, limit: int) -> int:
    """Empty the bodies of at most `limit` webhooks received before that time; returns how many.

    The row stays, with its delivery id and digest, which make a replay harmless. What was said
    about a request that is still pending stays whole.
    """
    with transaction.atomic():
        rows = InboundWebhook.objects.select_for_update(skip_locked=True, of=("self",))
        rows = rows.filter(received_at__lt=before).exclude(body="")
        rows = rows.exclude(request__status=Status.PENDING).order_by("received_at")
        ids = list(rows.values_list("pk", flat=True)[:limit])
        emptied = InboundWebhook.objects.filter(pk__in=ids).update(body="") if ids else 0
    if emptied:
        log.info("Retention: emptied the bodies of %d webhooks before %s.", emptied, before.date())
    return emptied


def purge_deliveries(before: datetime, limit: int, going: Collection[str]) -> int:
    """Delete the deliveries of at most `limit` requests that were final before that time.

    They go together, once every channel has been told everything: what one channel is told may
    concern another. `going` holds the threads of runs that have not ended, which may still owe
    themselves a verdict. Returns how many deliveries were deleted.
    """
    # A list of few: the planner takes a third of all deliveries for untold, and reads them all.
    untold = Delivery.objects.filter(done__lt=F("wanted")).values_list("request", flat=True)
    # Only what is final has been decided; not_before is when a delivery was owed the last time.
    told = Delivery.objects.filter(done__gte=F("wanted"), not_before__lt=before)
    rows = told.filter(request__decided_at__lt=before).exclude(request__in=list(untold))
    rows = rows.exclude(request__thread_id__in=going).order_by("not_before")
    first = list(rows.values_list("request", flat=True)[:limit])
    if not first:
        return 0
    with transaction.atomic():
        # Whoever owes a channel something holds the lock on the request.
        requests = ApprovalRequest.objects.select_for_update(no_key=True, skip_locked=True)
        ids = set(requests.filter(pk__in=first).values_list("pk", flat=True))
        ids -= set(untold.filter(request__in=ids))
        deleted = Delivery.objects.filter(request__in=ids, lease_token=None).delete()[0]
    if deleted:
        log.info(
            "Retention: deleted %d deliveries of %d requests decided before %s.",
            *(deleted, len(ids), before.date()),
        )
    return deleted
