"""The one clock that decides anything: the database's, which every process shares."""

from datetime import datetime
from typing import cast

from django.db import connection


def clock() -> datetime:
    """The database's time now, with its zone."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast("datetime", cursor.fetchone()[0])
