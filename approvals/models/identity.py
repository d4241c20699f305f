"""Which database these tables are at home in, so that a restored copy is known as one."""

from typing import ClassVar

from django.db import models
from django.db.models import Func

from approvals.models.owed import ClockTimestamp

_CURRENT = """(
        SELECT concat_ws(
            '/',
            system_identifier,
            left(pg_walfile_name(pg_current_wal_lsn()), 8),
            (SELECT oid FROM pg_database WHERE datname = current_database()),
            'approvals_databaseidentity'::regclass::oid
        ) FROM pg_control_system()
    )"""


class CurrentIdentity(Func):
    """What tells the database at hand from every copy of it, as far as a database can tell.

    Its cluster and timeline, itself and this table in it: a dump that is restored, also over its
    original, and a base backup that is recovered to a point in time differ in one of them. What was
    copied as files and started as after a crash does not.
    """

    template = _CURRENT
    output_field = models.TextField()


class _IsAccepted(Func):
    """Asked by every claim, so it is no query that Django would put together each time."""

    template = f"EXISTS (SELECT FROM approvals_databaseidentity WHERE identity = {_CURRENT})"
    output_field = models.BooleanField()


class DatabaseIdentity(models.Model):
    """The one row that says which database was last accepted as the gateway's own.

    Where it says another one, or nothing, the tables may be older than what was done: nothing that
    is owed is claimed, and no action begins.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    identity = models.TextField()
    accepted_at = models.DateTimeField(db_default=ClockTimestamp())

    class Meta:
        verbose_name_plural = "database identities"
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="one_database_identity")
        ]

    def __str__(self) -> str:
        return self.identity

    @staticmethod
    def is_accepted() -> Func:
        """Whether the database at hand is the accepted one, as a condition."""
        return _IsAccepted()
