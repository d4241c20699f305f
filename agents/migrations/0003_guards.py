"""The record of what was begun is what keeps an action from running twice: it cannot be undone."""

from django.db import migrations

GUARD_EXECUTIONS = """
CREATE FUNCTION hitl_guard_execution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'executions are never deleted';
    END IF;
    IF (NEW.id, NEW.run_id, NEW.key, NEW.position, NEW.request_id, NEW.digest)
        IS DISTINCT FROM (OLD.id, OLD.run_id, OLD.key, OLD.position, OLD.request_id, OLD.digest)
        OR NEW.action IS DISTINCT FROM OLD.action THEN
        RAISE EXCEPTION 'execution % was frozen when it began', OLD.key;
    END IF;
    IF OLD.status IN ('succeeded', 'failed', 'abandoned')
        AND (NEW.status, NEW.attempts) IS DISTINCT FROM (OLD.status, OLD.attempts) THEN
        RAISE EXCEPTION 'execution % has already %', OLD.key, OLD.status;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER execution_is_guarded BEFORE UPDATE OR DELETE ON agents_execution
    FOR EACH ROW EXECUTE FUNCTION hitl_guard_execution();
"""


class Migration(migrations.Migration):
    dependencies = [("agents", "0002_checkpoints")]

    operations = [
        migrations.RunSQL(
            GUARD_EXECUTIONS,
            "DROP TRIGGER execution_is_guarded ON agents_execution;"
            "DROP FUNCTION hitl_guard_execution();",
        )
    ]
