"""What a dashboard may read: the requests that wait, one row each, and nothing of their content.

The view reads with its owner's rights, so a role that may read the view needs no right on a table.
PostgreSQL refuses to change the type of a column that a view reads: a migration that does so drops
the view first and makes it again.
"""

from django.db import migrations

# Where people reach the gateway, as `create_dashboard_role` last saw it: a view knows no settings.
SITE = """
CREATE TABLE approvals_site (
    id smallint PRIMARY KEY DEFAULT 1 CONSTRAINT one_site CHECK (id = 1),
    public_url text NOT NULL CHECK (public_url ~* '^https?://[^[:space:]]+$')
);
"""

# `agent_label` and `environment_label` are the names by which metrics know them, of which there are
# only so many: beyond the bound it is `other`, and `none` where there is no environment.
WAITING = r"""
CREATE VIEW hitl_waiting_requests WITH (security_barrier) AS
SELECT request.id::text AS request_id,
       request.risk_level::text AS risk_level,
       CASE request.risk_level
           WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3
       END AS severity,
       request.operation::text AS operation,
       request.environment::text AS environment,
       CASE WHEN request.environment IN ('', 'none') THEN 'none' WHEN EXISTS (
           SELECT FROM approvals_metriclabel AS known
           WHERE known.label = 'environment' AND known.value = request.environment
       ) THEN request.environment::text ELSE 'other' END AS environment_label,
       request.agent_name::text AS agent,
       CASE WHEN EXISTS (
           SELECT FROM approvals_metriclabel AS known
           WHERE known.label = 'agent' AND known.value = request.agent_name
       ) THEN request.agent_name::text ELSE 'other' END AS agent_label,
       greatest(floor(extract(epoch FROM now() - request.created_at)), 0)::bigint AS age_seconds,
       floor(extract(epoch FROM request.expires_at - now()))::bigint AS left_seconds,
       CASE WHEN link.linear <> ''
           THEN coalesce(nullif(request.linear_issue_id, ''), 'Linear issue') ELSE ''
       END AS linear,
       link.linear AS linear_url,
       regexp_replace(link.pull_request, '^https?://[^/]+/(.+)/pull/(\d+)/?$', '\1#\2', 'i')
           AS pull_request,
       link.pull_request AS pull_request_url,
       coalesce(site.public_url || '/approvals/' || request.id || '/', '') AS page_url
FROM approval_requests AS request
LEFT JOIN approvals_site AS site ON true
CROSS JOIN LATERAL (
    SELECT CASE WHEN request.linear_issue_url ~* '^https?://[^[:space:]]+$'
               THEN request.linear_issue_url::text ELSE '' END AS linear,
           CASE WHEN request.pr_url ~* '^https?://[^[:space:]]+$'
               THEN request.pr_url::text ELSE '' END AS pull_request
) AS link
WHERE request.status = 'pending' AND request.expires_at > now();
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0005_metrics")]

    operations = [
        migrations.RunSQL(SITE, "DROP TABLE approvals_site;"),
        migrations.RunSQL(WAITING, "DROP VIEW hitl_waiting_requests;"),
    ]
