"""How long somebody looked at a request before they voted."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models
from django.db.models import Q

from approvals.online_ddl import lock_timeout


class Migration(migrations.Migration):
    dependencies = [("approvals", "0009_admin_indexes")]

    operations = [
        lock_timeout(),
        migrations.AddField(
            model_name="vote",
            name="seconds_to_vote",
            field=models.FloatField(blank=True, null=True),
        ),
        AddConstraintNotValid(
            model_name="vote",
            constraint=models.CheckConstraint(
                condition=Q(seconds_to_vote=None) | Q(seconds_to_vote__gte=0),
                name="vote_follows_showing",
            ),
        ),
    ]
