"""How long a list may take: filters can be put together in ways that no index serves."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from approvals.errors import InvalidInput

PATIENCE_MS = 5_000


class TookTooLong(InvalidInput):
    """What was asked for was not found in the time that a list may take."""


@contextmanager
def patiently() -> Iterator[datetime]:
    """Read within a bound on every statement; yields the database's time.

    TookTooLong, which says so, where a statement is given up. What is read is lost with it:
    nothing may be written within.
    """
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('statement_timeout', %s, true), clock_timestamp()",
                    [str(PATIENCE_MS)],
                )
                _, now = cursor.fetchone()
            yield now
    except OperationalError as error:
        if not isinstance(error.__cause__, QueryCanceled):
            raise
        raise TookTooLong(
            "filters",
            f"To find these requests takes more than {PATIENCE_MS / 1_000:g} seconds, so it was"
            " given up. Ask for less: add a filter, write whole words, or leave out what is older.",
        ) from error
