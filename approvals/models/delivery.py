"""What each channel still has to be told, and what holds a whole channel back."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import models
from django.db.models import F, Q

from approvals.models.owed import Owed
from approvals.models.request import ApprovalRequest


class Delivery(Owed):
    """What one channel has to learn of one request; `told` is the newest audit entry it knows."""

    request = models.ForeignKey(ApprovalRequest, models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=40)
    told = models.PositiveIntegerField(default=0)
    reference = models.CharField(max_length=200, blank=True, default="")
    url = models.CharField(max_length=500, blank=True, default="")
    memory = models.JSONField(default=dict, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["request", "channel"], name="one_delivery_a_channel")
        ]
        indexes: ClassVar = [
            models.Index(
                "channel",
                "priority",
                "not_before",
                condition=Owed.is_owed(),
                name="idx_delivery_owed",
            ),
            # The oldest of what is told, for retention.
            models.Index(
                "not_before", condition=Q(done__gte=F("wanted")), name="idx_delivery_told"
            ),
            # What was given up is not owed any more, yet is looked for often, and there is little.
            models.Index(
                fields=["request"], condition=Q(done__lt=F("wanted")), name="idx_delivery_untold"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} for {self.request_id}"

    @property
    def given(self) -> Mapping[str, Any]:
        """What the request was asked with."""
        return self.request.given


class ChannelPause(models.Model):
    """A channel that asked for silence, such as by a rate limit."""

    channel = models.CharField(max_length=40, primary_key=True)
    until_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.channel} until {self.until_at:%H:%M:%S}"


class Heartbeat(models.Model):
    """When each kind of background process was last seen at work."""

    name = models.CharField(max_length=40, primary_key=True)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
