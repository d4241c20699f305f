"""The columns of owed work, shared by every row that a worker claims."""

from typing import Any

from django.db import models
from django.db.models import F, Func, Q


class ClockTimestamp(Func):
    """The database's clock at this moment; the process clock decides nothing."""

    function = "clock_timestamp"
    template = "%(function)s()"
    output_field = models.DateTimeField()


class Owed(models.Model):
    """Work is owed while `done < wanted`: who owes more raises `wanted`, never the work itself.

    `not_before` holds a row back after a failure, `lease_until` while somebody works on it; the
    `lease_token` tells whether they still hold it. `gave_up_at` stops the retries until a person
    asks for one. A smaller `priority` is claimed first.
    """

    wanted = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    priority = models.PositiveSmallIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(db_default=ClockTimestamp())
    lease_until = models.DateTimeField(null=True, blank=True)
    lease_token = models.UUIDField(null=True, blank=True)
    gave_up_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        abstract = True

    @staticmethod
    def is_owed() -> Q:
        """Rows with work left that nobody has given up on."""
        return Q(done__lt=F("wanted"), gave_up_at=None)

    @staticmethod
    def raised() -> dict[str, Any]:
        """The changes by which rows owe one look more: due at once, with all attempts before it."""
        return {
            "wanted": F("wanted") + 1,
            "attempts": 0,
            "gave_up_at": None,
            "not_before": ClockTimestamp(),
        }
