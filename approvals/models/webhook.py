"""What the outside told us, kept so that nothing is applied twice."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from approvals.models.owed import ClockTimestamp
from approvals.models.request import ApprovalRequest


class InboundWebhook(models.Model):
    """One verified message from outside, and what became of it."""

    source = models.CharField(max_length=40)
    delivery_id = models.CharField(max_length=200)
    body_digest = models.CharField(max_length=64)
    body = models.TextField(blank=True, default="")
    received_at = models.DateTimeField(db_default=ClockTimestamp())
    # When the outside says it happened; messages arrive in any order.
    happened_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=20, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    request = models.ForeignKey(
        ApprovalRequest, models.SET_NULL, null=True, blank=True, related_name="inbound_webhooks"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["source", "delivery_id"], name="one_webhook_a_delivery_id"
            ),
            models.UniqueConstraint(fields=["source", "body_digest"], name="one_webhook_a_body"),
        ]
        indexes: ClassVar = [
            # Only what retention still has to empty, so that finding nothing costs nothing.
            models.Index(fields=["received_at"], condition=~Q(body=""), name="idx_webhook_body"),
            # Rows come in the order of time, so that a few kilobytes tell where a day lies.
            BrinIndex(fields=["received_at"], name="idx_webhook_received"),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.delivery_id}: {self.outcome}"

    @property
    def given(self) -> Mapping[str, Any]:
        """What the request that it is about, if it is about one, was asked with."""
        return {} if self.request is None else self.request.given
