"""Keep what the outside says, so that nothing is applied twice."""

import hashlib
from datetime import datetime
from uuid import UUID

from django.db import connection

from approvals.core.events import Hearing
from approvals.core.intake import harmless
from approvals.models import InboundWebhook

MAX_KEPT_BODY = 65_536


def record_webhook(*, source: str, delivery_id: str, body: bytes) -> int | None:
    """Insert the row of a verified message, or None where the same one was seen before.

    Same means: the same delivery id, or the same body. Call it in the transaction that applies
    the message: an identical one waits for its outcome.
    """
    text = harmless(body[:MAX_KEPT_BODY].decode("utf-8", "replace"))
    digest = hashlib.sha256(body).hexdigest()
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {InboundWebhook._meta.db_table}"  # noqa: S608 - our own table's name
            " (source, delivery_id, body_digest, body, outcome, reason)"
            " VALUES (%s, %s, %s, %s, '', '') ON CONFLICT DO NOTHING RETURNING id",
            [source, harmless(delivery_id)[:200] or digest, digest, text],
        )
        row = cursor.fetchone()
    return None if row is None else int(row[0])


def finish_webhook(
    webhook_id: int,
    *,
    outcome: Hearing,
    reason: str = "",
    request_id: UUID | None = None,
    happened_at: datetime | None = None,
) -> None:
    """Note what became of a recorded message, and when it says that it happened."""
    InboundWebhook.objects.filter(pk=webhook_id).update(
        outcome=outcome,
        reason=harmless(reason)[:300],
        request_id=request_id,
        happened_at=happened_at,
    )
