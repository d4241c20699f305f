"""What Celery beat asks of the integrations."""

import logging

from celery import shared_task
from django.conf import settings

from approvals.core.events import ChannelError
from integrations.linear.reconcile import reconcile

log = logging.getLogger(__name__)


@shared_task
def reconcile_linear() -> None:
    """Read back the moves that lost webhooks would have told; does nothing without a key."""
    if not settings.LINEAR_API_KEY:
        return
    try:
        reconcile()
    except ChannelError as error:
        # The next tick tries again; what is urgent is owed to the channel, not to this.
        log.warning("Linear could not be read back: %s", error)
