"""Lists of runs read the newest first, by workflow and by who asked, however many there are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("agents", "0004_retention")]

    operations = [
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["-created_at", "-id"], name="idx_run_newest"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["workflow", "-created_at", "-id"], name="idx_run_workflow"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["requested_by", "-created_at", "-id"], name="idx_run_asked_by"
            ),
        ),
    ]
