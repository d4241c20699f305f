"""`manage.py create_dashboard_role`: a database role that sees what waits, and nothing else."""

import re
import secrets
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import ProgrammingError, connection, transaction
from django.db.backends.utils import CursorWrapper
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict

VIEW = "hitl_waiting_requests"
_MARK = "Reads hitl_waiting_requests for a dashboard; made by create_dashboard_role."
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

# What nobody but the owner and the application needs is taken from everybody, because a role has
# whatever PUBLIC has. A trigger runs its function without asking who may call it.
_LIMIT = """
ALTER ROLE {role} CONNECTION LIMIT 10;
ALTER ROLE {role} SET default_transaction_read_only = on;
ALTER ROLE {role} SET statement_timeout = '10s';
ALTER ROLE {role} SET lock_timeout = '2s';
ALTER ROLE {role} SET idle_in_transaction_session_timeout = '30s';
ALTER ROLE {role} SET search_path = public;
REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role};
REVOKE ALL ON ALL ROUTINES IN SCHEMA public FROM {role};
REVOKE ALL ON SCHEMA public FROM {role};
REVOKE ALL ON DATABASE {database} FROM {role};
GRANT CONNECT ON DATABASE {database} TO {role};
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT ON {view} TO {role};
COMMENT ON ROLE {role} IS {mark};
"""

_TRIGGER_FUNCTIONS = """
SELECT pg_proc.oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = pg_proc.tableoid AND objid = pg_proc.oid
                  AND deptype = 'e')
"""

# With these a role holds the gateway's locks, or writes, without a right on any table. They belong
# to a superuser, who alone can take them from everybody.
_POWERS = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace
  AND proname ~ '^(pg_(try_)?advisory_|lo_|lowrite$)'
  AND has_function_privilege(%s, oid, 'EXECUTE')
"""

# Extensions' own views and functions are made for everybody to use.
_OURS = """
    nspname !~ '^(pg_|information_schema$)'
    AND NOT EXISTS (
        SELECT FROM pg_depend
        WHERE classid = thing.tableoid AND objid = thing.oid AND deptype = 'e')
"""
_TOO_MUCH = f"""
SELECT 'use ' || thing.oid::regclass FROM pg_class AS thing
JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE {_OURS} AND thing.oid <> %(view)s::regclass AND CASE
    WHEN relkind IN ('r', 'p', 'v', 'm', 'f') THEN
        has_table_privilege(
            %(role)s, thing.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
        OR has_any_column_privilege(%(role)s, thing.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
    WHEN relkind = 'S' THEN has_sequence_privilege(%(role)s, thing.oid, 'USAGE, SELECT, UPDATE')
    END
UNION ALL
SELECT 'call ' || thing.oid::regprocedure FROM pg_proc AS thing
JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE {_OURS} AND has_function_privilege(%(role)s, thing.oid, 'EXECUTE')
UNION ALL
SELECT 'create in the schema ' || nspname FROM pg_namespace
WHERE has_schema_privilege(%(role)s, oid, 'CREATE')
UNION ALL
SELECT 'create schemas or temporary tables'
WHERE has_database_privilege(%(role)s, current_database(), 'CREATE, TEMPORARY')
UNION ALL
SELECT 'what the role ' || roleid::regrole || ' may' FROM pg_auth_members
WHERE member = %(role)s::regrole
UNION ALL
SELECT 'more than log in' FROM pg_roles WHERE rolname = %(role)s
AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)
ORDER BY 1
"""  # noqa: S608 - our own constants


class Command(BaseCommand):
    """Creates the role, or brings one that it made back to what it may do."""

    help = (
        "Create or update a PostgreSQL role that can log in, read the view hitl_waiting_requests"
        " and do nothing else, for the dashboard's table. Run it with DATABASE_OWNER_URL, as a"
        " role that owns the tables and may create roles, or a superuser. It prints only the"
        " password, once, and takes from PUBLIC what no role needs: temporary tables, creating in"
        " the schema public, calling trigger functions and, where a superuser runs it, advisory"
        " locks and large objects, which only the owner and the application keep. Time limits are"
        " defaults, which whoever has the password may change. The view's links to this gateway"
        " begin with HITL_PUBLIC_URL: run it again when that changes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the role's name."""
        parser.add_argument("name", metavar="NAME", help="the role's name")
        parser.add_argument(
            "--new-password", action="store_true", help="also replace the password of one it made"
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Make the role in one transaction, and print its password if it has a new one."""
        name = options["name"]
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                password = _make(cursor, name, renew=options["new_password"])
                cursor.execute(_POWERS, [name])
                may_hold_up = cursor.fetchone() is not None
        except ProgrammingError as error:
            if not isinstance(error.__cause__, errors.InsufficientPrivilege):
                raise
            raise CommandError(
                f"PostgreSQL refused: {str(error).strip()}. Set DATABASE_OWNER_URL to a role that"
                " owns the database and its tables and may create roles, or to a superuser."
            ) from error
        if password:
            self.stdout.write(password)
        else:
            self.stderr.write(f"{name} keeps its password; --new-password makes another.")
        if may_hold_up:
            self.stderr.write(
                f"Whoever sends statements of their own as {name} can hold locks that the gateway"
                " waits for. Run this as a superuser once, which takes that from everybody but the"
                " owner and the application."
            )
        self.stderr.write(
            f"{name} may read {VIEW} and nothing else. Its links lead to {settings.PUBLIC_URL}."
        )


def _make(cursor: CursorWrapper, name: str, *, renew: bool) -> str:
    """Return the new password, empty where the role keeps its own."""
    _refuse(cursor, name)
    known = _known(cursor, name)
    password = secrets.token_urlsafe(32) if renew or not known else ""
    if password:
        # The server gets the digest that it would store, so that no log holds the password.
        digest = connection.connection.pgconn.encrypt_password(
            password.encode(), name.encode(), b"scram-sha-256"
        )
        statement = sql.SQL("{verb} ROLE {role} LOGIN PASSWORD {digest}").format(
            verb=sql.SQL("ALTER" if known else "CREATE"),
            role=sql.Identifier(name),
            digest=sql.Literal(digest.decode()),
        )
        cursor.execute(statement)
    _limit(cursor, name)
    _take_powers(cursor, name)
    cursor.execute(
        "INSERT INTO approvals_site (public_url) VALUES (%s)"
        " ON CONFLICT (id) DO UPDATE SET public_url = EXCLUDED.public_url",
        [settings.PUBLIC_URL],
    )
    cursor.execute(_TOO_MUCH, {"role": name, "view": VIEW})
    if too_much := [row[0] for row in cursor.fetchall()]:
        raise CommandError(
            f"Nothing was changed, because {name} could still {'; '.join(too_much)}. Take that"
            " from it or from PUBLIC, and run this again."
        )
    return password


def _refuse(cursor: CursorWrapper, name: str) -> None:
    """Raise CommandError for a name that must not become a dashboard's."""
    if not _NAME.fullmatch(name) or name.startswith("pg_") or name in {"public", "none"}:
        raise CommandError(
            f"{name!r} is no name for a role: at most 63 small letters, digits and underscores,"
            " no digit first, and neither pg_... nor public nor none."
        )
    cursor.execute("SELECT to_regclass(%s)", [f"public.{VIEW}"])
    if cursor.fetchone() == (None,):
        raise CommandError(f"The view {VIEW} is missing: run manage.py migrate first.")
    cursor.execute(
        "SELECT current_user UNION SELECT session_user"
        " UNION SELECT pg_get_userbyid(relowner) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace"
    )
    taken = {row[0] for row in cursor.fetchall()}
    for url in (settings.DATABASE_URL, settings.DATABASE_OWNER_URL):
        taken.add(conninfo_to_dict(url).get("user"))
    if name in taken:
        raise CommandError(
            f"{name} is the application's role, the owner's or this connection's: a dashboard"
            " needs one of its own."
        )


def _known(cursor: CursorWrapper, name: str) -> bool:
    """Whether this command made the role; CommandError where somebody else did."""
    cursor.execute(
        "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [name]
    )
    row = cursor.fetchone()
    if row is not None and row[0] != _MARK:
        raise CommandError(
            f"The role {name} exists, and this command did not make it: choose another name."
        )
    return row is not None


def _limit(cursor: CursorWrapper, name: str) -> None:
    cursor.execute(
        sql.SQL(_LIMIT).format(
            role=sql.Identifier(name),
            database=sql.Identifier(str(connection.settings_dict["NAME"])),
            view=sql.Identifier(VIEW),
            mark=sql.Literal(_MARK),
        )
    )
    cursor.execute(_TRIGGER_FUNCTIONS)
    for (function,) in cursor.fetchall():
        # Quoted by the server, which wrote it.
        cursor.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")


def _take_powers(cursor: CursorWrapper, name: str) -> None:
    """Leave the powers to the owner and the application, where this connection can."""
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if cursor.fetchone() != (True,):
        return
    cursor.execute(
        "SELECT DISTINCT pg_get_userbyid(relowner)::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace"
    )
    keepers = {row[0] for row in cursor.fetchall()}
    keepers |= {conninfo_to_dict(settings.DATABASE_URL).get("user")} - {None}
    names = sql.SQL(", ").join(map(sql.Identifier, sorted(keepers)))
    cursor.execute(_POWERS, [name])
    for (function,) in cursor.fetchall():
        signature = sql.SQL(function)
        cursor.execute(sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(signature, names))
        cursor.execute(sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(signature))
