"""Many requests of long ago, put into the table as only its owner can."""

from datetime import timedelta

from approvals import outbox
from tests.approvals.scenes import unguarded

FINAL = ("approved", "rejected", "expired", "cancelled", "superseded")
_FILL = """
INSERT INTO approval_requests (
    id, workflow_id, thread_id, checkpoint_id, interrupt_id, task, digest, operation, environment,
    agent_name, requested_by, risk_level, matches, policy, eligible, status, created_at, expires_at,
    decided_at, decided_by, decision_reason, pr_url, github_repo, idempotency_key,
    idempotency_digest
)
SELECT gen_random_uuid(), 'w-' || i, 't-' || i, '', '', '{"operation": "deploy"}', '',
       'deploy', environments[1 + i %% cardinality(environments)],
       agents[1 + i %% cardinality(agents)], 'agent',
       (ARRAY['low', 'medium', 'high', 'critical'])[1 + i / 3 %% 4], '[]', '{}', 1, status,
       opened_at, opened_at + interval '1 day',
       CASE WHEN status <> 'pending' THEN opened_at + i %% 80000 * interval '1.000001 s' END,
       '', '', '', '', '', ''
FROM (
    SELECT %s::integer AS number, %s::timestamptz AS latest_at, %s::text[] AS agents,
           %s::text[] AS environments, %s::text[] AS statuses
) AS given,
    generate_series(1, number) AS i,
    LATERAL (SELECT statuses[1 + i / 2 %% cardinality(statuses)] AS status,
                    latest_at - (number - i) * interval '30 s' - interval '1 day' AS opened_at)
        AS request
"""


def fill(
    number: int,
    *,
    ago: timedelta = timedelta(hours=1),
    agents: tuple[str, ...] = ("cicd", "infrastructure", "nightly"),
    environments: tuple[str, ...] = ("production", "staging", ""),
    statuses: tuple[str, ...] = FINAL,
) -> None:
    """Requests, one every 30 s, the last a day before `ago`; each was decided within its day."""
    given = (number, outbox.clock() - ago, list(agents), list(environments), list(statuses))
    unguarded("approval_requests", "request_opens_pending", _FILL, given)
