"""Votes in the order of time; and those of before are held to what 0010 asks of new ones."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models

from approvals.online_ddl import AddIndexOnline


class Migration(migrations.Migration):
    # An index is created beside the writing only outside a transaction.
    atomic = False
    dependencies = [("approvals", "0010_seconds_to_vote")]

    operations = [
        ValidateConstraint(model_name="vote", name="vote_follows_showing"),
        AddIndexOnline(
            model_name="vote",
            index=models.Index(fields=["-cast_at"], name="idx_cast_at"),
        ),
    ]
