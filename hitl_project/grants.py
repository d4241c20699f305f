"""What the application's database role may do: everything but change the past."""

from typing import Any

from django.conf import settings
from django.db import connections
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

_GRANTS = """
GRANT USAGE ON SCHEMA public TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
REVOKE UPDATE, DELETE, TRUNCATE ON approvals_auditentry FROM {role};
REVOKE DELETE, TRUNCATE ON approval_requests, approvals_vote FROM {role};
REVOKE DELETE, TRUNCATE ON agents_run, agents_execution FROM {role};
REVOKE DELETE, TRUNCATE ON approvals_sparedrequest FROM {role};
REVOKE UPDATE, DELETE, TRUNCATE ON approvals_inboundwebhook FROM {role};
GRANT UPDATE (body, outcome, reason, request_id, happened_at) ON approvals_inboundwebhook TO {role};
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON django_migrations, checkpoint_migrations FROM {role};
"""


def grant(using: str, **_: Any) -> None:
    """Grant the role of DATABASE_URL its rights, where another role (the owner) migrates."""
    if not settings.DATABASE_OWNER_URL:
        return
    role = conninfo_to_dict(settings.DATABASE_URL).get("user")
    if not role or role == connections[using].settings_dict["USER"]:
        return
    with connections[using].cursor() as cursor:
        cursor.execute(sql.SQL(_GRANTS).format(role=sql.Identifier(str(role))))
