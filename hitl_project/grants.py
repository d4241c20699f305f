"""What the application's database role may do: everything but change the past."""

from typing import Any

from django.conf import settings
from django.db import connections
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

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
