"""The guard of votes reads the gateway's own table, whatever the session has under that name.

A temporary table stands before every other unless the path says otherwise, and by default everybody
may make one. No other function of a trigger reads a table.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("approvals", "0019_queue_order")]

    operations = [
        migrations.RunSQL(
            "ALTER FUNCTION public.hitl_guard_vote() SET search_path = pg_catalog, public, pg_temp",
            "ALTER FUNCTION public.hitl_guard_vote() RESET search_path",
        )
    ]
