"""Changes to tables in use: nobody waits for them, and one that was interrupted goes on."""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations

_LEFT_OVER = """
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(quote_ident(%s))
"""


def lock_timeout() -> migrations.RunSQL:
    """Give up after 5 s of waiting for a table's lock, behind which everybody else would wait.

    It goes first in a migration that is one transaction; whoever migrates tries again.
    """
    statement = "SET LOCAL lock_timeout = '5s'"
    return migrations.RunSQL(statement, statement)


class AddIndexOnline(AddIndexConcurrently):
    """AddIndexConcurrently that may run again: it keeps what is whole and replaces what is not."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        """Create the index, unless it is there already."""
        if not schema_editor.collect_sql:
            with schema_editor.connection.cursor() as cursor:
                cursor.execute(_LEFT_OVER, [self.index.name])
                found = cursor.fetchone()
            if found == (True,):
                return
            if found is not None:
                # What an interrupted creation leaves behind is kept up to date, yet never read.
                name = schema_editor.quote_name(self.index.name)
                schema_editor.execute(f"DROP INDEX CONCURRENTLY {name}")
        # It waits for every transaction that is older, such as a backup's, and nobody for it.
        schema_editor.execute("SET lock_timeout = 0")
        super().database_forwards(app_label, schema_editor, from_state, to_state)
        schema_editor.execute("RESET lock_timeout")
