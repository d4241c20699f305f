"""What people look for in the admin, found however many runs and actions there are."""

from django.db import migrations, models
from django.db.models import Q

from approvals.online_ddl import AddIndexOnline


class Migration(migrations.Migration):
    # An index is created beside the writing only outside a transaction.
    atomic = False
    dependencies = [("agents", "0005_runs_newest_first")]

    operations = [
        AddIndexOnline(
            model_name="execution",
            index=models.Index(fields=["-started_at"], name="idx_execution_started"),
        ),
        AddIndexOnline(
            model_name="execution",
            index=models.Index(fields=["status", "-started_at"], name="idx_execution_status"),
        ),
        AddIndexOnline(
            model_name="run",
            index=models.Index(
                fields=["pr_number"],
                condition=Q(pr_number__isnull=False),
                name="idx_run_pull",
            ),
        ),
    ]
