"""When somebody was first shown a request: the page itself carries it, signed, until they vote."""

from datetime import datetime
from uuid import UUID

from django.core import signing

from approvals.core.lifecycle import Actor

FIELD = "shown"
_SALT = "approvals.views.shown"


def mark(request_id: UUID, actor: Actor, shown_at: datetime) -> str:
    """A text that only this gateway can write, for this person and this request alone."""
    return signing.dumps([str(request_id), actor.user_id, shown_at.isoformat()], salt=_SALT)


def read(text: str, request_id: UUID, actor: Actor) -> datetime | None:
    """When they were first shown it; None where the text is not what `mark` wrote for them."""
    try:
        about, user_id, moment = signing.loads(text, salt=_SALT)
    except signing.BadSignature:
        return None
    if (about, user_id) != (str(request_id), actor.user_id):
        return None
    return datetime.fromisoformat(moment)
