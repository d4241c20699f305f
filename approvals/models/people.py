"""Who people are elsewhere, and the tokens their programs use."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.models.owed import ClockTimestamp


class ApproverProfile(models.Model):
    """Links an account to the same person's Linear user."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="approver_profile"
    )
    linear_user_id = models.CharField(
        max_length=60, blank=True, default="", help_text="the UUID of the person's Linear user"
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["linear_user_id"],
                condition=~Q(linear_user_id=""),
                name="one_approver_a_linear_user",
            )
        ]

    def __str__(self) -> str:
        return str(self.user)


class ProviderIdentity(models.Model):
    """Links an account to the same person at a provider of single sign-on."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="identities")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255, help_text="who the person is to the issuer")
    linked_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_account_a_subject"),
            models.UniqueConstraint(fields=["user", "issuer"], name="one_subject_an_issuer"),
        ]

    def __str__(self) -> str:
        return f"{self.user} at {self.issuer}"


class ApiToken(models.Model):
    """A bearer token of one user; only its sha256 is kept."""

    class Scope(models.TextChoices):
        """What the token's holder may do; reading is allowed to both."""

        REQUEST = "request", "ask for operations"
        DECIDE = "decide", "decide requests"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.REQUEST)
    label = models.CharField(max_length=100, blank=True, default="")
    prefix = models.CharField(max_length=12, help_text="the token's beginning, to recognise it by")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=ClockTimestamp())
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.user}"
