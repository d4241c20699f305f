"""Pending requests of before get their asker; from then on it is frozen like all that was asked.

What is decided is never compared again, so it stays as it is.
"""

from django.db import migrations

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
BEFORE = ("checkpoint_id", "idempotency_key", "idempotency_digest", "traceparent")
NOW = (*BEFORE, "asker")
STEP = 500


def frozen(columns):
    rows = {row.lower(): ", ".join(f"{row}.{column}" for column in columns) for row in ("NEW", "OLD")}
    return FROZEN.format(**rows)


def fill(apps, schema_editor):
    requests = apps.get_model("approvals", "ApprovalRequest").objects
    pending = requests.using(schema_editor.connection.alias).filter(status="pending", asker="")
    pending = pending.only("requested_by").order_by("pk")
    rows = list(pending[:STEP])
    while rows:
        for row in rows:
            row.asker = row.requested_by.strip().casefold()
        requests.using(schema_editor.connection.alias).bulk_update(rows, ["asker"])
        rows = list(pending.filter(pk__gt=rows[-1].pk)[:STEP])


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("approvals", "0014_asker")]

    operations = [
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunSQL(frozen(NOW), frozen(BEFORE)),
    ]
