"""The dashboard's database role: what it sees, and that it sees and does nothing else."""

from collections.abc import Iterator
from typing import Any, TypeAlias
from uuid import UUID

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.urls import reverse
from psycopg import sql
from psycopg.rows import dict_row
from pytest_django import Settings

from approvals.models import ApprovalRequest, MetricLabel
from hitl_project.embedded import APP, OWNER, SUPERUSER, Postgres
from tests.approvals.scenes import DEPLOY, MIGRATE, cancel, opened, pass_deadline
from tests.observability.dashboard_role import SITE, create, create_here, dashboard_role, drop, url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels")]
READER = "grafana_reader"
OTHER = "second_reader"
VIEW = "hitl_waiting_requests"
Reader: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


def administration(postgres: Postgres) -> Reader:
    """A superuser's connection to the test database."""
    address = postgres.url(SUPERUSER, str(connection.settings_dict["NAME"]))
    return psycopg.connect(address, autocommit=True)


@pytest.fixture(scope="module")
def reader_url(django_db_setup: None, postgres_server: Postgres) -> Iterator[str]:
    """Where the role connects; the tests of this file share one."""
    with dashboard_role(postgres_server, READER) as address:
        yield address


@pytest.fixture
def reader(reader_url: str) -> Iterator[Reader]:
    """A connection as the role."""
    with psycopg.connect(reader_url, autocommit=True) as connected:
        yield connected


@pytest.fixture
def no_role(postgres_server: Postgres) -> Iterator[None]:
    """Leave the role `OTHER` as it was, which is not there."""
    yield
    drop(postgres_server, OTHER)


def waiting(reader: Reader) -> dict[str, dict[str, Any]]:
    """What the view shows, by request."""
    with reader.cursor(row_factory=dict_row) as cursor:
        cursor.execute(f"SELECT * FROM {VIEW}")  # noqa: S608 - the test's own
        return {row["request_id"]: row for row in cursor.fetchall()}


def known(label: str, *values: str) -> None:
    """Let metrics give these values their own names."""
    MetricLabel.objects.bulk_create(
        [MetricLabel(label=label, value=value) for value in values], ignore_conflicts=True
    )


# What it sees


def test_it_sees_a_row_for_each_request_that_waits_and_none_for_others(
    reader: Reader,
) -> None:
    waits, overdue, gone = opened(), opened(), opened(MIGRATE)
    pass_deadline(overdue)
    cancel(gone)
    assert set(waiting(reader)) == {str(waits)}


def test_a_row_says_what_how_risky_by_whom_since_when_and_until_when(
    reader: Reader,
) -> None:
    known("agent", "cicd")
    known("environment", "production")
    request_id = opened(
        github_repo="acme/shop", pr_number=7, pr_url="https://github.com/acme/shop/pull/7"
    )
    linear_issue(request_id, "CHEF-271", "https://linear.app/chef/issue/CHEF-271")
    (row,) = waiting(reader).values()
    deadline = ApprovalRequest.objects.get().expires_at - ApprovalRequest.objects.get().created_at
    assert 0 <= row.pop("age_seconds") < 60
    assert deadline.total_seconds() - 60 < row.pop("left_seconds") <= deadline.total_seconds()
    assert row == {
        "request_id": str(request_id),
        "risk_level": "critical",
        "severity": 0,
        "operation": "deploy",
        "environment": "production",
        "environment_label": "production",
        "agent": "cicd",
        "agent_label": "cicd",
        "linear": "CHEF-271",
        "linear_url": "https://linear.app/chef/issue/CHEF-271",
        "pull_request": "acme/shop#7",
        "pull_request_url": "https://github.com/acme/shop/pull/7",
        "page_url": f"{SITE}{reverse('request', args=[request_id])}",
    }


def linear_issue(request_id: UUID, identifier: str, address: str) -> None:
    ApprovalRequest.objects.filter(pk=request_id).update(
        linear_issue_id=identifier, linear_issue_url=address
    )


def test_where_there_is_no_issue_and_no_pull_request_there_is_no_link(
    reader: Reader,
) -> None:
    opened()
    (row,) = waiting(reader).values()
    assert [row[name] for name in ("linear", "linear_url", "pull_request", "pull_request_url")] == [
        *("", "", "", "")
    ]


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,hi", "//evil", ""])
def test_an_address_that_is_not_http_is_no_link(reader: Reader, address: str) -> None:
    linear_issue(opened(), "CHEF-1", address)
    (row,) = waiting(reader).values()
    assert (row["linear"], row["linear_url"]) == ("", "")


def test_an_agent_beyond_the_bound_of_labels_goes_by_other(
    reader: Reader,
) -> None:
    known("agent", "cicd")
    named, other = opened(), opened({"operation": "db_migrate"}, agent_name="unheard-of")
    rows = waiting(reader)
    assert [rows[str(named)]["agent_label"], rows[str(other)]["agent_label"]] == ["cicd", "other"]
    assert rows[str(other)]["agent"] == "unheard-of"
    assert [rows[str(named)]["environment_label"], rows[str(other)]["environment_label"]] == [
        *("other", "none")
    ]


def test_it_sees_no_content_of_a_request(reader: Reader) -> None:
    secret = "swordfish-4711"
    opened({**DEPLOY, "description": secret, "arguments": {"version": secret}}, workflow_id=secret)
    assert secret not in str(waiting(reader))


# That it does nothing else


def relations(postgres: Postgres) -> list[str]:
    """Every table, view and sequence of the database but the system's own and the one view."""
    with administration(postgres) as superuser:
        found = superuser.execute(
            "SELECT oid::regclass::text FROM pg_class"
            " WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%%'"
            " OR nspname = 'information_schema') AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
            " AND oid <> %s::regclass",
            [VIEW],
        )
        return [name for (name,) in found]


def test_every_other_table_is_denied(reader: Reader, postgres_server: Postgres) -> None:
    names = relations(postgres_server)
    assert {"approval_requests", "auth_user", "approvals_auditentry", "approvals_site"} <= {*names}
    for name in names:
        for statement in (f"SELECT 1 FROM {name}", f"TABLE {name}", f"COPY {name} TO STDOUT"):  # noqa: S608 - the test's own
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)


def test_nothing_can_be_written(reader: Reader, postgres_server: Postgres) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reader.execute("CREATE TABLE mine ()")
    # Nor when it overrules its own default.
    reader.execute("SET default_transaction_read_only = off")
    tables = [name for name in relations(postgres_server) if not name.endswith("_id_seq")]
    for statement in (
        *(f"DELETE FROM {name}" for name in tables),  # noqa: S608 - the test's own
        *(f"INSERT INTO {name} DEFAULT VALUES" for name in tables),
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        f"ALTER VIEW {VIEW} RENAME TO mine",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT lo_from_bytea(0, 'mine')",
        "SELECT lo_create(0)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(statement)
    for statement in (f"DELETE FROM {VIEW}", f"INSERT INTO {VIEW} (request_id) VALUES ('x')"):  # noqa: S608 - the test's own
        with pytest.raises(psycopg.Error):
            reader.execute(statement)


def test_no_function_of_ours_can_be_called(
    reader: Reader,
) -> None:
    found = reader.execute(
        "SELECT oid::regprocedure::text, has_function_privilege(oid, 'EXECUTE') FROM pg_proc"
        " WHERE pronamespace = 'public'::regnamespace"
    ).fetchall()
    assert len(found) >= 4
    assert {callable_ for _, callable_ in found} == {False}


def test_a_query_ends_and_connections_are_few(
    reader: Reader,
) -> None:
    shown = "SELECT current_setting(%s)"
    assert reader.execute(shown, ["statement_timeout"]).fetchone() == ("10s",)
    assert reader.execute(shown, ["default_transaction_read_only"]).fetchone() == ("on",)
    facts = reader.execute(
        "SELECT rolconnlimit, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname = current_user"
    ).fetchone()
    assert facts == (10, False, False, False, False, False)


# The command


def test_it_can_be_repeated_and_keeps_the_password(
    postgres_server: Postgres, no_role: None
) -> None:
    first = create_here(postgres_server, OTHER)
    opened()
    again = create_here(postgres_server, OTHER, public_url="https://moved.example.org")
    assert (again.returncode, again.stdout) == (0, "")
    with psycopg.connect(url(postgres_server, OTHER, first.stdout.strip())) as connected:
        (row,) = waiting(connected).values()
    assert row["page_url"].startswith("https://moved.example.org/approvals/")
    assert first.stdout.strip() not in first.stderr + again.stderr


def test_a_new_password_replaces_the_old_one(postgres_server: Postgres, no_role: None) -> None:
    first = create_here(postgres_server, OTHER).stdout.strip()
    second = create_here(postgres_server, OTHER, "--new-password").stdout.strip()
    with psycopg.connect(url(postgres_server, OTHER, second)) as connected:
        assert waiting(connected) == {}
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url(postgres_server, OTHER, first))


def test_a_repeat_takes_away_what_was_granted_since(
    postgres_server: Postgres, no_role: None
) -> None:
    password = create_here(postgres_server, OTHER).stdout.strip()
    with administration(postgres_server) as superuser:
        superuser.execute(f"GRANT SELECT ON auth_user TO {OTHER}")
        superuser.execute(f"GRANT SELECT (id) ON approvals_vote TO {OTHER}")
    assert create_here(postgres_server, OTHER).returncode == 0
    with psycopg.connect(url(postgres_server, OTHER, password), autocommit=True) as connected:
        for statement in ("SELECT 1 FROM auth_user", "SELECT id FROM approvals_vote"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connected.execute(statement)


def test_an_owner_who_may_create_roles_is_enough(postgres_server: Postgres, no_role: None) -> None:
    owner_url = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    with administration(postgres_server) as superuser:
        superuser.execute(f"ALTER ROLE {OWNER} CREATEROLE")
        try:
            made = create_here(postgres_server, OTHER, owner_url=owner_url)
            repeated = create_here(postgres_server, OTHER, "--new-password", owner_url=owner_url)
        finally:
            superuser.execute(f"ALTER ROLE {OWNER} NOCREATEROLE")
    assert (made.returncode, repeated.returncode) == (0, 0), made.stderr + repeated.stderr
    with psycopg.connect(url(postgres_server, OTHER, repeated.stdout.strip())) as connected:
        assert waiting(connected) == {}


def test_an_owner_is_told_what_only_a_superuser_can_take(
    postgres_server: Postgres, reader_url: str, no_role: None
) -> None:
    del reader_url  # made by a superuser, who took it before
    owner_url = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    function = "FUNCTION pg_advisory_lock(bigint)"
    with administration(postgres_server) as superuser:
        superuser.execute(f"ALTER ROLE {OWNER} CREATEROLE")
        try:
            silent = create_here(postgres_server, OTHER, owner_url=owner_url)
            superuser.execute(f"GRANT EXECUTE ON {function} TO PUBLIC")
            told = create_here(postgres_server, OTHER, owner_url=owner_url)
        finally:
            superuser.execute(f"REVOKE EXECUTE ON {function} FROM PUBLIC")
            superuser.execute(f"ALTER ROLE {OWNER} NOCREATEROLE")
    assert (silent.returncode, told.returncode) == (0, 0)
    found = ["Run this as a superuser once" in made.stderr for made in (silent, told)]
    assert found == [False, True]


def test_the_gateway_keeps_what_is_taken_from_everybody(
    reader: Reader, postgres_server: Postgres
) -> None:
    name = str(connection.settings_dict["NAME"])
    for role in (APP, OWNER):
        with psycopg.connect(postgres_server.url(role, name)) as connected:
            taken = connected.execute("SELECT pg_try_advisory_xact_lock(4711)").fetchone()
            assert taken == (True,)


def test_an_owner_who_may_not_create_roles_is_told_so(postgres_server: Postgres) -> None:
    owner_url = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    refused = create(postgres_server, OTHER, owner_url=owner_url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "may create roles, or to a superuser" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (APP, "is the application's role, the owner's or this connection's"),
        (OWNER, "is the application's role, the owner's or this connection's"),
        ("pg_monitor", "is no name for a role"),
        ("public", "is no name for a role"),
        ('x"; DROP TABLE auth_user; --', "is no name for a role"),
    ],
)
def test_a_name_that_is_taken_or_none_is_refused(
    postgres_server: Postgres, settings: Settings, name: str, told: str
) -> None:
    settings.DATABASE_URL = postgres_server.app_url
    with pytest.raises(CommandError, match=told):
        call_command("create_dashboard_role", name)


def test_a_role_that_somebody_else_made_is_left_alone(
    postgres_server: Postgres, no_role: None
) -> None:
    with administration(postgres_server) as superuser:
        superuser.execute(f"CREATE ROLE {OTHER} NOLOGIN")
        refused = create_here(postgres_server, OTHER)
        found = superuser.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [OTHER])
        assert found.fetchone() == (False,)
    assert "this command did not make it" in refused.stderr


def test_what_everybody_may_read_is_named_and_nothing_is_changed(
    postgres_server: Postgres, no_role: None
) -> None:
    with administration(postgres_server) as superuser:
        superuser.execute("GRANT SELECT ON auth_user TO PUBLIC")
        try:
            refused = create_here(postgres_server, OTHER)
            found = superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OTHER])
            assert found.fetchone() is None
        finally:
            superuser.execute("REVOKE SELECT ON auth_user FROM PUBLIC")
    assert refused.returncode == 1
    assert "could still use auth_user. Take that" in refused.stderr


def test_no_log_of_the_server_holds_the_password(postgres_server: Postgres, no_role: None) -> None:
    with administration(postgres_server) as superuser:
        superuser.execute("ALTER SYSTEM SET log_statement = 'all'")
        superuser.execute("SELECT pg_reload_conf()")
        try:
            password = create_here(postgres_server, OTHER).stdout.strip()
        finally:
            superuser.execute("ALTER SYSTEM RESET log_statement")
            superuser.execute("SELECT pg_reload_conf()")
        (log,) = superuser.execute(
            "SELECT pg_read_file(%s)", [server_log(postgres_server)]
        ).fetchone() or ("",)
    statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD").format(sql.Identifier(OTHER))
    assert statement.as_string(None) in log
    assert password
    assert password not in log


def server_log(postgres: Postgres) -> str:
    with administration(postgres) as superuser:
        (folder,) = superuser.execute("SHOW data_directory").fetchone() or ("",)
    return f"{folder}/../server.log"
