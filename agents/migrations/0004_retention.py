"""Which ended runs retention has been at, and an index of those where it has not."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("agents", "0003_guards")]

    operations = [
        migrations.AddField(
            model_name="run",
            name="purged_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["ended_at"],
                condition=Q(ended_at__isnull=False, purged_at=None),
                name="idx_run_unpurged",
            ),
        ),
    ]
