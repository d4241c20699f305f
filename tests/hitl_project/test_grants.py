"""The application's role has the rights that the gateway needs on each table, and no others."""

from collections.abc import Iterator
from io import StringIO

import psycopg
import pytest
from axes.models import AccessAttempt
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core import checks
from django.core.management import call_command
from django.db import connection
from django.test import Client
from pytest_django import Settings

from approvals import services
from approvals.models import AuditEntry
from hitl_project.embedded import APP, OWNER, SUPERUSER, Postgres
from tests.application_role import as_application

pytestmark = pytest.mark.django_db(transaction=True)

READ = "SELECT"
APPEND = "SELECT INSERT"
CHANGE = "SELECT INSERT UPDATE"
ALL = "SELECT INSERT UPDATE DELETE"
# A new table belongs here, and where rows of it are deleted or never changed, in the grants too.
RIGHTS = {
    "agents_execution": CHANGE,
    "agents_run": CHANGE,
    "approval_requests": CHANGE,
    "approvals_apitoken": CHANGE,
    "approvals_approverprofile": CHANGE,
    "approvals_auditentry": APPEND,
    "approvals_channelpause": CHANGE,
    "approvals_databaseidentity": CHANGE,
    "approvals_delivery": ALL,
    "approvals_heartbeat": CHANGE,
    "approvals_inboundwebhook": APPEND,  # and some of its columns
    "approvals_metriclabel": CHANGE,
    "approvals_provideridentity": CHANGE,
    "approvals_requestwords": CHANGE,
    "approvals_rolleduprequests": CHANGE,
    "approvals_rollupmark": CHANGE,
    "approvals_site": READ,
    "approvals_sparedrequest": CHANGE,
    "approvals_tally": CHANGE,
    "approvals_vote": CHANGE,
    "approvals_voterefusal": CHANGE,
    "auth_group": CHANGE,
    "auth_group_permissions": ALL,
    "auth_permission": READ,
    "auth_user": CHANGE,
    "auth_user_groups": ALL,
    "auth_user_user_permissions": ALL,
    "axes_accessattempt": ALL,
    "axes_accessattemptexpiration": ALL,
    "axes_accessfailurelog": READ,
    "axes_accesslog": READ,
    "checkpoint_blobs": ALL,
    "checkpoint_migrations": READ,
    "checkpoint_writes": ALL,
    "checkpoints": ALL,
    "django_admin_log": APPEND,
    "django_content_type": READ,
    "django_migrations": READ,
    "django_session": ALL,
    "hitl_waiting_requests": READ,
}
_RIGHTS = """
SELECT relname, (
    SELECT string_agg(privilege, ' ' ORDER BY place)
    FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
        WITH ORDINALITY AS any_of (privilege, place)
    WHERE has_table_privilege(%s, oid, privilege)
) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm', 'p', 'f')
"""


@pytest.fixture
def application(postgres_server: Postgres) -> Iterator[psycopg.Connection]:
    """A connection to the test database as the application's role, with what it was granted."""
    with as_application(postgres_server):
        pass
    url = postgres_server.url(APP, str(connection.settings_dict["NAME"]))
    with psycopg.connect(url, autocommit=True) as opened:
        yield opened


def test_each_table_has_the_rights_that_are_needed(application: psycopg.Connection) -> None:
    assert dict(application.execute(_RIGHTS, [APP]).fetchall()) == RIGHTS
    changed = application.execute(
        "SELECT column_name FROM information_schema.column_privileges"
        " WHERE table_name = 'approvals_inboundwebhook' AND privilege_type = 'UPDATE'"
        " AND grantee = %s",
        [APP],
    ).fetchall()
    known = {"body", "outcome", "reason", "request_id", "happened_at"}
    assert {name for (name,) in changed} == known


def test_a_right_of_an_earlier_release_goes(postgres_server: Postgres) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT ALL ON approvals_auditentry, auth_user TO {APP}")
        cursor.execute(f"GRANT UPDATE ON ALL SEQUENCES IN SCHEMA public TO {APP}")
    with as_application(postgres_server), connection.cursor() as cursor:
        cursor.execute(_RIGHTS, [APP])
        assert dict(cursor.fetchall()) == RIGHTS


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals_auditentry SET actor = 'mallory'",
        "DELETE FROM approvals_auditentry",
        "TRUNCATE approvals_auditentry",
        "TRUNCATE approval_requests CASCADE",
        "SELECT setval(pg_get_serial_sequence('approvals_auditentry', 'id'), 1)",
        "ALTER TABLE approvals_auditentry DISABLE TRIGGER ALL",
        "ALTER TABLE approvals_auditentry ADD COLUMN more int",
        "DROP TRIGGER audit_is_append_only ON approvals_auditentry",
        "DROP TABLE approvals_auditentry CASCADE",
        """CREATE TRIGGER mine BEFORE INSERT ON approvals_auditentry
            FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()""",
        "CREATE RULE mine AS ON INSERT TO approvals_auditentry DO INSTEAD NOTHING",
        """CREATE OR REPLACE FUNCTION hitl_refuse_audit_change() RETURNS trigger
            LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'""",
        "DROP FUNCTION hitl_refuse_audit_change CASCADE",
        "CREATE TABLE more (id int)",
        # It would stand before the gateway's own of that name.
        "CREATE TEMP TABLE approval_requests (id uuid)",
        "CREATE VIEW more AS SELECT 1",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA more",
        "CREATE EXTENSION vector",
        "CREATE INDEX ON approvals_vote (choice)",
        "SET session_replication_role = 'replica'",
        f"SET ROLE {OWNER}",
        f"GRANT {OWNER} TO {APP}",
        "CREATE ROLE more",
        "DELETE FROM auth_user",
        "INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())",
    ],
)
def test_the_past_the_guards_and_the_schema_are_out_of_reach(
    application: psycopg.Connection, statement: str
) -> None:
    services.create_approver("ada", email="ada@example.org", groups=[])
    before = list(AuditEntry.objects.order_by("pk").values())
    assert before
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        application.execute(statement.encode())
    assert list(AuditEntry.objects.order_by("pk").values()) == before


def test_a_role_that_may_change_the_log_is_told_of(
    postgres_server: Postgres, settings: Settings
) -> None:
    name = str(connection.settings_dict["NAME"])
    with as_application(postgres_server):
        pass
    settings.DATABASE_URL = postgres_server.url(APP, name)
    call_command("check", deploy=True, databases=["default"], tags=["database"], fail_level="INFO")
    for right in ("UPDATE", "UPDATE (actor)", "DELETE", "TRUNCATE"):
        with connection.cursor() as cursor:
            cursor.execute(f"GRANT {right} ON approvals_auditentry TO {APP}")
        (told,) = checks.run_checks(databases=["default"])
        assert f"The database role {APP} may change or delete audit entries" in told.msg, right
        with connection.cursor() as cursor:
            cursor.execute(f"REVOKE {right} ON approvals_auditentry FROM {APP}")
    for role in (OWNER, SUPERUSER):
        settings.DATABASE_URL = postgres_server.url(role, name)
        (told,) = checks.run_checks(databases=["default"])
        assert f"The database role {role} may change or delete audit entries" in told.msg
        assert "DATABASE_OWNER_URL" in (told.hint or "")


def test_a_member_of_the_owner_is_no_other_role(
    postgres_server: Postgres, settings: Settings
) -> None:
    name = str(connection.settings_dict["NAME"])
    settings.DATABASE_URL = postgres_server.url(APP, name)
    with psycopg.connect(postgres_server.url(SUPERUSER, name), autocommit=True) as administration:
        # It inherits nothing, and may still become the owner.
        administration.execute(f"GRANT {OWNER} TO {APP} WITH INHERIT FALSE")
        try:
            assert len(checks.run_checks(databases=["default"])) == 1
        finally:
            administration.execute(f"REVOKE {OWNER} FROM {APP}")


def test_rights_that_could_not_be_looked_at_are_told_of(settings: Settings) -> None:
    settings.DATABASE_URL = "postgresql://nobody@127.0.0.1:1/nothing"
    (told,) = checks.run_checks(databases=["default"])
    assert "PostgreSQL could not be asked what the role of DATABASE_URL may do" in told.msg
    assert checks.run_checks() == []


def test_what_the_gateway_deletes_it_can(postgres_server: Postgres) -> None:
    maria = User.objects.create_user("maria", "maria@example.org", "a long enough password")
    platform = Group.objects.create(name="platform")
    maria.groups.add(platform)
    with as_application(postgres_server):
        maria.groups.clear()
        maria.user_permissions.set(Permission.objects.all()[:1])
        maria.user_permissions.clear()
        platform.permissions.set(Permission.objects.all()[:1])
        platform.permissions.clear()
        client = Client()
        login = {"username": "maria", "password": "wrong"}
        assert client.post("/accounts/login/", login).status_code == 200
        assert AccessAttempt.objects.count() == 1
        call_command("axes_reset", stdout=StringIO())
        assert AccessAttempt.objects.count() == 0
        client.force_login(maria)
        assert client.post("/accounts/logout/").status_code == 302
    assert Session.objects.count() == 0
