"""Lists of runs read the newest first, by workflow and by who asked, however many there are."""

from django.db import migrations, models

from approvals.online_ddl import AddIndexOnline


class Migration(migrations.Migration):
    # An index is created beside the writing only outside a transaction.
    atomic = False
    dependencies = [("agents", "0004_retention")]

    operations = [
        AddIndexOnline(
            model_name="run",
            index=models.Index(fields=["-created_at", "-id"], name="idx_run_newest"),
        ),
        AddIndexOnline(
            model_name="run",
            index=models.Index(fields=["workflow", "-created_at", "-id"], name="idx_run_workflow"),
        ),
        AddIndexOnline(
            model_name="run",
            index=models.Index(
                fields=["requested_by", "-created_at", "-id"], name="idx_run_asked_by"
            ),
        ),
    ]
