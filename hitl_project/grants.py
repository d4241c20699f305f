"""What the application's database role may do: everything but change the past."""

import logging
from collections.abc import Collection
from typing import Any

import psycopg
from django.conf import settings
from django.core import checks
from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

logger = logging.getLogger(__name__)

# First nothing, so that a right which is no longer needed goes; all in one transaction. Rows are
# deleted of few tables, and a table that is not named here is none of them. Temporary tables could
# stand before ours; PostgreSQL passes over that line where the database is somebody else's.
_GRANTS = """
REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC, {role};
GRANT USAGE ON SCHEMA public TO {role};
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM {role};
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
GRANT DELETE ON
    approvals_delivery, axes_accessattempt, axes_accessattemptexpiration, django_session,
    checkpoints, checkpoint_blobs, checkpoint_writes,
    auth_group_permissions, auth_user_groups, auth_user_user_permissions TO {role};
REVOKE UPDATE ON approvals_auditentry, django_admin_log FROM {role};
REVOKE UPDATE ON approvals_inboundwebhook FROM {role};
GRANT UPDATE (body, outcome, reason, request_id, happened_at) ON approvals_inboundwebhook TO {role};
REVOKE INSERT, UPDATE ON
    django_migrations, checkpoint_migrations, auth_permission, django_content_type,
    approvals_site, hitl_waiting_requests, axes_accesslog, axes_accessfailurelog FROM {role};
"""

# A member of the owner's role may become it, and a superuser counts as a member of every role.
_MAY_CHANGE_THE_LOG = """
SELECT current_user::text FROM pg_class
WHERE oid = to_regclass('public.approvals_auditentry') AND (
    has_any_column_privilege(oid, 'UPDATE')
    OR has_table_privilege(oid, 'DELETE, TRUNCATE')
    OR pg_has_role(relowner, 'MEMBER'))
"""
_PATIENCE_SECONDS = 5


def grant(using: str, **_: Any) -> None:
    """Grant the role of DATABASE_URL its rights, where another role (the owner) migrates."""
    if not settings.DATABASE_OWNER_URL:
        return
    role = conninfo_to_dict(settings.DATABASE_URL).get("user")
    if not role or role == connections[using].settings_dict["USER"]:
        return
    database = str(connections[using].settings_dict["NAME"])
    with connections[using].cursor() as cursor:
        names = {"role": sql.Identifier(str(role)), "database": sql.Identifier(database)}
        cursor.execute(sql.SQL(_GRANTS).format(**names))


@checks.register(checks.Tags.database)
def the_log_is_out_of_reach(
    databases: Collection[str] | None = None, **_: Any
) -> list[checks.CheckMessage]:
    """Warn where the role of DATABASE_URL may change or delete audit entries."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    # As the application, since `migrate` is connected as the owner.
    conninfo = make_conninfo(
        settings.DATABASE_URL,
        dbname=str(connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]),
        connect_timeout=_PATIENCE_SECONDS,
    )
    try:
        with psycopg.connect(conninfo, autocommit=True) as application:
            found = application.execute(_MAY_CHANGE_THE_LOG).fetchone()
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        return [
            checks.Warning(
                f"PostgreSQL could not be asked what the role of DATABASE_URL may do: {said}",
                id="hitl_project.W002",
            )
        ]
    if found is None:
        return []
    return [
        checks.Warning(
            f"The database role {found[0]} may change or delete audit entries.",
            hint="Give DATABASE_URL a role of its own, which owns nothing, and run `manage.py"
            " migrate` with DATABASE_OWNER_URL, which names the owner of the tables: it grants"
            " that role what the gateway needs, and no more.",
            id="hitl_project.W001",
        )
    ]


def warn_of_what_is_out_of_place() -> None:
    """Log what the check found, at the start of a process that serves."""
    for message in the_log_is_out_of_reach(databases=[DEFAULT_DB_ALIAS]):
        logger.warning(" ".join(filter(None, [message.msg, message.hint])))
