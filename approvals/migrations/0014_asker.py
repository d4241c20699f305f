"""Who asked as votes compare it, so that a query and the core cannot differ; those to come first."""

from django.db import migrations, models

from approvals.online_ddl import lock_timeout


class Migration(migrations.Migration):
    dependencies = [("approvals", "0013_filter_indexes")]

    operations = [
        lock_timeout(),
        migrations.AddField(
            model_name="approvalrequest",
            name="asker",
            field=models.TextField(db_default="", editable=False),
        ),
    ]
