"""The words that requests are found by; those that are there already get theirs in small steps."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models

STEP = 1_000


def fill(apps, schema_editor):
    # As those of new requests are made, but from the columns that there are by now.
    from approvals import search

    requests = apps.get_model("approvals", "ApprovalRequest").objects
    words = apps.get_model("approvals", "RequestWords")
    while rows := list(requests.filter(words=None)[:STEP]):
        words.objects.bulk_create(
            [words(request=row, lexemes=search.lexemes_of(row)) for row in rows]
        )


class Migration(migrations.Migration):
    atomic = False
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
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
