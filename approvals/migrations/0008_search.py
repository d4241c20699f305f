"""The words that requests are found by; a later migration fills in those of older requests."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0007_traceparent")]

    operations = [
        migrations.CreateModel(
            name="RequestWords",
            fields=[
                (
                    "request",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="words",
                        serialize=False,
                        to="approvals.approvalrequest",
                    ),
                ),
                ("lexemes", django.contrib.postgres.search.SearchVectorField()),
            ],
            options={
                "verbose_name_plural": "words of requests",
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(
                        fields=["lexemes"], name="idx_request_words"
                    )
                ],
            },
        ),
    ]
