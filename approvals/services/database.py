"""Which database is the gateway's own: a restored copy is none until an operator says so."""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from django.db import transaction

from approvals import audit, trail
from approvals.actors import able
from approvals.audit import Fact
from approvals.clock import clock
from approvals.core.events import EventName
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability
from approvals.errors import NotAllowed
from approvals.models import ClockTimestamp, CurrentIdentity, DatabaseIdentity

log = logging.getLogger(__name__)

# The stream of what happened to the database as a whole.
DATABASE_STREAM = uuid5(NAMESPACE_URL, "hitl:database")


def accept_database(*, actor: Actor, data: Mapping[str, Any]) -> None:
    """Take the database at hand for the gateway's own; for operators. Raises NotAllowed.

    The caller has seen to what must not go on by itself: from the commit on, workers work.
    """
    if not able(actor, Ability.SETTLE_RUN):
        raise NotAllowed("Only an operator may accept a database.")
    with transaction.atomic():
        DatabaseIdentity.objects.update_or_create(
            pk=1, defaults={"identity": CurrentIdentity(), "accepted_at": ClockTimestamp()}
        )
        # Locked by then: two who accept it at once must not append under one number.
        fact = Fact(DATABASE_STREAM, EventName.DATABASE_ACCEPTED, actor, clock(), dict(data))
        audit.append([fact])
        trail.tell(log, "Database accepted", user_id=actor.user_id)
