"""What the database refuses besides: a request born decided, and votes on one that is final."""

from django.db import migrations

GUARD_OPENING = """
CREATE FUNCTION hitl_guard_opening() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status <> 'pending' THEN
        RAISE EXCEPTION 'request % must open as pending', NEW.id;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER request_opens_pending BEFORE INSERT ON approval_requests
    FOR EACH ROW EXECUTE FUNCTION hitl_guard_opening();
"""

GUARD_REST = """
CREATE FUNCTION hitl_guard_request_rest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.checkpoint_id, NEW.idempotency_key, NEW.idempotency_digest)
        IS DISTINCT FROM (OLD.checkpoint_id, OLD.idempotency_key, OLD.idempotency_digest) THEN
        RAISE EXCEPTION 'request % was frozen when it opened', OLD.id;
    END IF;
    IF OLD.status <> 'pending' AND NEW.superseded_by_id IS DISTINCT FROM OLD.superseded_by_id THEN
        RAISE EXCEPTION 'request % is already %', OLD.id, OLD.status;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER request_rest_is_guarded BEFORE UPDATE ON approval_requests
    FOR EACH ROW EXECUTE FUNCTION hitl_guard_request_rest();
"""

GUARD_VOTES = """
CREATE FUNCTION hitl_guard_vote() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now_is text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'votes are never deleted';
    END IF;
    IF TG_OP = 'UPDATE' AND (NEW.id, NEW.request_id, NEW.user_id)
        IS DISTINCT FROM (OLD.id, OLD.request_id, OLD.user_id) THEN
        RAISE EXCEPTION 'a vote stays one person''s, on one request';
    END IF;
    SELECT status INTO now_is FROM approval_requests WHERE id = NEW.request_id;
    IF now_is <> 'pending' THEN
        RAISE EXCEPTION 'request % is already %', NEW.request_id, now_is;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER vote_is_guarded BEFORE INSERT OR UPDATE OR DELETE ON approvals_vote
    FOR EACH ROW EXECUTE FUNCTION hitl_guard_vote();
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0002_guards")]

    operations = [
        migrations.RunSQL(
            GUARD_OPENING,
            "DROP TRIGGER request_opens_pending ON approval_requests;"
            "DROP FUNCTION hitl_guard_opening();",
        ),
        migrations.RunSQL(
            GUARD_REST,
            "DROP TRIGGER request_rest_is_guarded ON approval_requests;"
            "DROP FUNCTION hitl_guard_request_rest();",
        ),
        migrations.RunSQL(
            GUARD_VOTES,
            "DROP TRIGGER vote_is_guarded ON approvals_vote;DROP FUNCTION hitl_guard_vote();",
        ),
    ]
