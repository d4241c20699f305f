"""The kinds of requests that a gateway is filled with, each as the product itself opens it."""

import json
from dataclasses import dataclass
from itertools import product

from approvals.core.words import values, words
from approvals.models import ApprovalRequest
from approvals.services import open_request
from bench.people import ASKS, asking

OPERATIONS = (
    "deploy",
    "rollback",
    "db_migrate",
    "terraform_apply",
    "scale_service",
    "restart_service",
)
ENVIRONMENTS = ("production", "staging")
AGENTS = ("cicd", "infrastructure", "nightly")


@dataclass(frozen=True)
class Kind:
    """What all requests of one kind have in common."""

    row: ApprovalRequest
    words: tuple[str, ...]
    policy: str
    task: str
    matches: str


def kinds() -> list[Kind]:
    """One request of every kind, as the product opens it; those are in the table then, too."""
    pairs = list(product(OPERATIONS, ENVIRONMENTS))
    return [_kind(*pair, AGENTS[place % len(AGENTS)]) for place, pair in enumerate(pairs)]


def _kind(operation: str, environment: str, agent: str) -> Kind:
    task = {
        "operation": operation,
        "environment": environment,
        "description": f"{operation} in {environment}: saved baskets, faster search",
        "arguments": {"version": "v2.5.0", "service": "shop"},
    }
    opened = open_request(
        workflow_id="kind",
        thread_id="kind",
        task=task,
        agent_name=agent,
        risk_level="high",
        actor=asking(),
    )
    if opened.request_id is None:
        raise ValueError(f"The rules let {task['operation']!r} through without a human.")
    row = ApprovalRequest.objects.get(pk=opened.request_id)
    facts = (operation, environment, agent, ASKS)
    return Kind(
        row,
        tuple(words([*facts, *values(task)])),
        json.dumps(row.policy),
        json.dumps(task),
        json.dumps(row.matches),
    )
