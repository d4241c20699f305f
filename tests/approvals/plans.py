"""What the database reads."""

from typing import Any

from django.db import connection


def read_in_vain(sql: str, table: str) -> int:
    """How many rows of a table are read for a query and then left out."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        ((plan,),) = cursor.fetchall()
    return _removed(plan[0]["Plan"], table)


def rows_read(*tables: str) -> int:
    """How many rows of these tables were read so far, in this transaction or in those before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM ("
            "  SELECT relname, seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables UNION ALL"
            "  SELECT relname, seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables"
            ") AS counted WHERE relname = ANY(%s)",
            [list(tables)],
        )
        ((read,),) = cursor.fetchall()
    return int(read)


def _removed(node: dict[str, Any], table: str) -> int:
    own = int(node.get("Rows Removed by Filter", 0)) if node.get("Relation Name") == table else 0
    return own + sum(_removed(child, table) for child in node.get("Plans", ()))
