"""Who an account is at a provider of single sign-on."""

import approvals.models.owed
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from approvals.online_ddl import lock_timeout


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0017_database_identity'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        lock_timeout(),
        migrations.CreateModel(
            name='ProviderIdentity',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('issuer', models.CharField(max_length=255)),
                ('subject', models.CharField(help_text='who the person is to the issuer', max_length=255)),
                ('linked_at', models.DateTimeField(db_default=approvals.models.owed.ClockTimestamp())),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='identities', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('issuer', 'subject'), name='one_account_a_subject'), models.UniqueConstraint(fields=('user', 'issuer'), name='one_subject_an_issuer')],
            },
        ),
    ]
