"""Indexes of what retention still has to look at and nothing else: an idle look costs nothing."""

from django.db import migrations, models
from django.db.models import F, Q


class Migration(migrations.Migration):
    dependencies = [("approvals", "0003_guard_votes_and_openings")]

    operations = [
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                F("not_before"), condition=Q(done__gte=F("wanted")), name="idx_delivery_told"
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                fields=["request"], condition=Q(done__lt=F("wanted")), name="idx_delivery_untold"
            ),
        ),
        migrations.AddIndex(
            model_name="inboundwebhook",
            index=models.Index(
                fields=["received_at"], condition=~Q(body=""), name="idx_webhook_body"
            ),
        ),
    ]
