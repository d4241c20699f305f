"""What the database reads for a query."""

from typing import Any

from django.db import connection


def read_in_vain(sql: str, table: str) -> int:
    """How many rows of a table are read for a query and then left out."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        ((plan,),) = cursor.fetchall()
    return _removed(plan[0]["Plan"], table)


def _removed(node: dict[str, Any], table: str) -> int:
    own = int(node.get("Rows Removed by Filter", 0)) if node.get("Relation Name") == table else 0
    return own + sum(_removed(child, table) for child in node.get("Plans", ()))
