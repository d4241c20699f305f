"""The newest audit entries of a kind or of a way, so that a rare one is not looked for to the end.

Some 40 MB and 30 MB for a million entries.
"""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    # An index is created beside the writing only outside a transaction.
    atomic = False
    dependencies = [("approvals", "0010_seconds_to_vote")]

    operations = [
        AddIndexConcurrently(
            model_name="auditentry",
            index=models.Index(fields=["name", "-id"], name="idx_audit_name"),
        ),
        AddIndexConcurrently(
            model_name="auditentry",
            index=models.Index(fields=["via", "-id"], name="idx_audit_via"),
        ),
    ]
