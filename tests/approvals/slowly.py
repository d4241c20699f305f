"""A database in which to find requests takes a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def slow() -> Iterator[None]:
    """Every read of requests takes a while."""

    def delayed(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("SELECT") and 'FROM "approval_requests"' in sql:
            execute("SELECT pg_sleep(0.3)", None, many, context)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(delayed):
        yield
