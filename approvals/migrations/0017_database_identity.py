"""Which database the tables are at home in, so that a restored copy of them is known as one.

The database that is migrated is taken for the gateway's own, unless it is a restored one: a dump of
before this table cannot tell by it. But the rows of a table that was restored were all written by
one transaction, while each migration notes itself in one of its own. The two oldest notes tell, since
what was migrated after the restore, just before this, has transactions of its own there too.
"""

from django.db import migrations, models

import approvals.models.owed

# Written out, because what the model says may change: this is how it was.
_ACCEPT = """
INSERT INTO approvals_databaseidentity (id, identity)
SELECT 1, concat_ws(
    '/',
    system_identifier,
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()),
    'approvals_databaseidentity'::regclass::oid
)
FROM pg_control_system()
WHERE (
    SELECT count(DISTINCT xmin::text)
    FROM (SELECT xmin FROM django_migrations ORDER BY id LIMIT 2) AS oldest
) > 1
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0016_audit_indexes")]

    operations = [
        migrations.CreateModel(
            name="DatabaseIdentity",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("identity", models.TextField()),
                (
                    "accepted_at",
                    models.DateTimeField(db_default=approvals.models.owed.ClockTimestamp()),
                ),
            ],
            options={
                "verbose_name_plural": "database identities",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="one_database_identity"
                    )
                ],
            },
        ),
        migrations.RunSQL(_ACCEPT, migrations.RunSQL.noop),
    ]
