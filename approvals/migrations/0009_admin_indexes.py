"""What people look for in the admin, found however many rows there are."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import migrations, models
from django.db.models import Q

from approvals.online_ddl import AddIndexOnline


class Migration(migrations.Migration):
    # An index is created beside the writing only outside a transaction.
    atomic = False
    dependencies = [("approvals", "0008_search")]

    operations = [
        AddIndexOnline(
            model_name="approvalrequest",
            index=models.Index(fields=["requested_by", "-created_at"], name="idx_requested_by"),
        ),
        AddIndexOnline(
            model_name="approvalrequest",
            index=models.Index(
                fields=["pr_number"],
                condition=Q(pr_number__isnull=False),
                name="idx_request_pull",
            ),
        ),
        AddIndexOnline(
            model_name="auditentry",
            index=BrinIndex(fields=["at"], name="idx_audit_at"),
        ),
        AddIndexOnline(
            model_name="inboundwebhook",
            index=BrinIndex(fields=["received_at"], name="idx_webhook_received"),
        ),
    ]
