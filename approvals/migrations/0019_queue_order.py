"""The order of the queue, so that its first page is read and nothing below it."""

from django.db import migrations, models
from django.db.models import Case, Q, Value, When

from approvals.online_ddl import AddIndexOnline


class Migration(migrations.Migration):
    # An index is created beside the writing only outside a transaction.
    atomic = False
    dependencies = [("approvals", "0018_provider_identity")]

    operations = [
        AddIndexOnline(
            model_name="approvalrequest",
            index=models.Index(
                Case(
                    When(risk_level="low", then=Value(3)),
                    When(risk_level="medium", then=Value(2)),
                    When(risk_level="high", then=Value(1)),
                    When(risk_level="critical", then=Value(0)),
                    output_field=models.SmallIntegerField(),
                ),
                "expires_at",
                "id",
                condition=Q(status="pending"),
                name="idx_pending_urgent",
            ),
        )
    ]
