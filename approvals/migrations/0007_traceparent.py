"""The trace that opened a request; frozen with the rest, so that nobody leads people elsewhere."""

from django.db import migrations, models

FROZEN = """
CREATE OR REPLACE FUNCTION hitl_guard_request_rest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ({new}) IS DISTINCT FROM ({old}) THEN
        RAISE EXCEPTION 'request % was frozen when it opened', OLD.id;
    END IF;
    IF OLD.status <> 'pending' AND NEW.superseded_by_id IS DISTINCT FROM OLD.superseded_by_id THEN
        RAISE EXCEPTION 'request % is already %', OLD.id, OLD.status;
    END IF;
    RETURN NEW;
END $$;
"""
BEFORE = ("checkpoint_id", "idempotency_key", "idempotency_digest")
NOW = (*BEFORE, "traceparent")


def frozen(columns):
    rows = {row.lower(): ", ".join(f"{row}.{column}" for column in columns) for row in ("NEW", "OLD")}
    return FROZEN.format(**rows)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0006_waiting_view")]

    operations = [
        migrations.AddField(
            model_name="approvalrequest",
            name="traceparent",
            field=models.CharField(blank=True, max_length=60, null=True),
        ),
        migrations.RunSQL(frozen(NOW), frozen(BEFORE)),
    ]
