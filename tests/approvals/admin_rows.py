"""Rows that the tests of the admin's lists and pages show."""

from uuid import UUID

from approvals.models import InboundWebhook

ADMIN = "/admin/approvals"


def webhook(number: int, request_id: UUID | None = None, **facts: str) -> InboundWebhook:
    """A verified message of that number."""
    given = {"source": "linear", "delivery_id": f"d-{number}", "body_digest": str(number), **facts}
    return InboundWebhook.objects.create(request_id=request_id, **given)
