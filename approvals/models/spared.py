"""The answers that no approval is needed, kept for whoever asks again with the same key."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.core.risk import Risk
from approvals.models.owed import ClockTimestamp


class SparedRequest(models.Model):
    """A request that the rules made unnecessary, by its idempotency key.

    What was let through is in the audit log; one that came without a key is only there.
    """

    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    idempotency_key = models.CharField(max_length=200)
    idempotency_digest = models.CharField(max_length=64)
    risk_level = models.CharField(max_length=10, choices=[(r, r) for r in Risk])
    created_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["opened_by", "idempotency_key"], name="one_spared_an_idempotency_key"
            ),
            # Nulls are all different to a unique constraint: the gateway's own keys need theirs.
            models.UniqueConstraint(
                fields=["idempotency_key"],
                condition=Q(opened_by=None),
                name="one_spared_an_idempotency_key_of_nobody",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.idempotency_key} ({self.risk_level})"
