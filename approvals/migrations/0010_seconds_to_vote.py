"""How long somebody looked at a request before they voted, and votes in the order of time."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0009_admin_indexes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='vote',
            name='seconds_to_vote',
            field=models.FloatField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='vote',
            index=models.Index(fields=['-cast_at'], name='idx_cast_at'),
        ),
        migrations.AddConstraint(
            model_name='vote',
            constraint=models.CheckConstraint(condition=models.Q(('seconds_to_vote', None), ('seconds_to_vote__gte', 0), _connector='OR'), name='vote_follows_showing'),
        ),
    ]
