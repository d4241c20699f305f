"""What the database itself refuses, whoever asks: changing the past and what was frozen."""

from django.db import migrations

GUARD_AUDIT = """
CREATE FUNCTION hitl_refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit entries are never changed or deleted';
END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON approvals_auditentry
    FOR EACH ROW EXECUTE FUNCTION hitl_refuse_audit_change();
"""

GUARD_REQUESTS = """
CREATE FUNCTION hitl_guard_request() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status <> 'pending' AND (NEW.status, NEW.decided_at, NEW.decided_by, NEW.decision_reason)
        IS DISTINCT FROM (OLD.status, OLD.decided_at, OLD.decided_by, OLD.decision_reason) THEN
        RAISE EXCEPTION 'request % is already %', OLD.id, OLD.status;
    END IF;
    IF (NEW.id, NEW.workflow_id, NEW.thread_id, NEW.interrupt_id, NEW.digest, NEW.operation,
        NEW.environment, NEW.agent_name, NEW.requested_by, NEW.opened_by_id, NEW.risk_level,
        NEW.created_at, NEW.expires_at, NEW.eligible, NEW.pr_number, NEW.pr_url, NEW.github_repo)
        IS DISTINCT FROM (OLD.id, OLD.workflow_id, OLD.thread_id, OLD.interrupt_id, OLD.digest,
        OLD.operation, OLD.environment, OLD.agent_name, OLD.requested_by, OLD.opened_by_id,
        OLD.risk_level, OLD.created_at, OLD.expires_at, OLD.eligible, OLD.pr_number, OLD.pr_url,
        OLD.github_repo)
        OR NEW.task IS DISTINCT FROM OLD.task OR NEW.action IS DISTINCT FROM OLD.action
        OR NEW.policy IS DISTINCT FROM OLD.policy OR NEW.matches IS DISTINCT FROM OLD.matches THEN
        RAISE EXCEPTION 'request % was frozen when it opened', OLD.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER request_is_guarded BEFORE UPDATE ON approval_requests
    FOR EACH ROW EXECUTE FUNCTION hitl_guard_request();
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial")]

    operations = [
        migrations.RunSQL(
            GUARD_AUDIT,
            "DROP TRIGGER audit_is_append_only ON approvals_auditentry;"
            "DROP FUNCTION hitl_refuse_audit_change();",
        ),
        migrations.RunSQL(
            GUARD_REQUESTS,
            "DROP TRIGGER request_is_guarded ON approval_requests;"
            "DROP FUNCTION hitl_guard_request();",
        ),
    ]
