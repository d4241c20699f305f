"""Many requests of long ago, put into the table as only its owner can."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from approvals import search
from approvals.clock import clock
from approvals.core.lifecycle import Actor, Choice
from approvals.models import ApprovalRequest
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
    given = (number, clock() - ago, list(agents), list(environments), list(statuses))
    unguarded(_FILL, given)


_PUT = """
INSERT INTO approval_requests (
    id, workflow_id, thread_id, checkpoint_id, interrupt_id, task, digest, operation, environment,
    agent_name, requested_by, risk_level, matches, policy, eligible, status, created_at, expires_at,
    decided_at, decided_by, decision_reason, pr_url, github_repo, idempotency_key,
    idempotency_digest
) VALUES (%s, 'w-1', 't-1', '', '', %s, '', %s, %s, %s, %s, %s, '[]', '{}', 1, %s, %s, %s, %s, %s,
          %s, '', '', '', '')
"""
_VOTE = """
INSERT INTO approvals_vote (request_id, user_id, choice, comment, via, cast_at, seconds_to_vote)
VALUES (%s, %s, %s, '', 'web', %s, %s)
"""


def put(
    status: str,
    opened_at: datetime,
    decided_at: datetime | None = None,
    *,
    operation: str = "deploy",
    environment: str = "production",
    agent: str = "cicd",
    requested_by: str = "ines",
    risk: str = "high",
    decided_by: str = "grace",
    reason: str = "",
    arguments: Any = None,
) -> UUID:
    """A request that was opened and decided at exactly these moments."""
    request_id = uuid4()
    task = Jsonb({"operation": operation, "arguments": arguments or {}})
    facts = (request_id, task, operation, environment, agent, requested_by, risk, status)
    ends = (opened_at, opened_at + timedelta(days=1), decided_at)
    by = (decided_by, reason) if decided_at else ("", "")
    unguarded(_PUT, (*facts, *ends, *by))
    search.add(ApprovalRequest.objects.get(pk=request_id))
    return request_id


def put_vote(
    request_id: UUID,
    voter: Actor,
    cast_at: datetime,
    choice: Choice = Choice.APPROVE,
    seconds: float | None = None,
) -> None:
    """A vote that was cast at exactly this moment."""
    given = (request_id, voter.user_id, choice, cast_at, seconds)
    unguarded(_VOTE, given)
