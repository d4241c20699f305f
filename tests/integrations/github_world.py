"""What the tests of GitHub arrange: a sandbox, and requests as a channel sees them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from approvals.core.events import Receipt, Snapshot
from approvals.core.lifecycle import Policy, Status
from approvals.core.risk import Risk
from integrations.github.channel import GitHubChannel
from tests.sandbox_process import REPOSITORY, Sandbox

PULL = 7
OPENED_AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DECIDED_AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
EXPIRES_AT = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)

Json = dict[str, Any]


def snapshot(**changes: Any) -> Snapshot:
    """A pending request of pull request 7, as just opened."""
    task: Json = {
        "operation": "deploy",
        "environment": "production",
        "description": "Saved baskets and faster search",
        "arguments": {"version": "v2.5.0-private"},
    }
    facts: Json = {
        "id": uuid4(),
        "status": Status.PENDING,
        "risk_level": Risk.CRITICAL,
        "matches": (),
        "policy": Policy("critical", ("release-managers",), 1, 14_400, 14_400, False),
        "task": task,
        "action": {"executor": "command", "argv": ["deploy", "v2.5.0-private"]},
        "digest": "0" * 64,
        "agent_name": "cicd",
        "operation": "deploy",
        "environment": "production",
        "requested_by": "rosa",
        "workflow_id": "wf-1",
        "thread_id": "thread-1",
        "interrupt_id": "",
        "created_at": OPENED_AT,
        "expires_at": EXPIRES_AT,
        "decided_at": None,
        "decided_by": "",
        "reason": "",
        "eligible": 3,
        "pr_number": PULL,
        "pr_url": f"https://github.com/{REPOSITORY}/pull/{PULL}",
        "github_repo": REPOSITORY,
        "linear_issue_id": "",
        "linear_issue_url": "",
        "url": "https://gateway.example/approvals/1/",
    }
    return Snapshot(**{**facts, **changes})


def resolved(request: Snapshot, status: Status = Status.APPROVED, **changes: Any) -> Snapshot:
    """The request after it ended."""
    facts: Json = {"decided_at": DECIDED_AT, "decided_by": "ada", "reason": "Looks good"}
    return replace(request, status=status, **{**facts, **changes})


def remembering(request: Snapshot, receipt: Receipt) -> Snapshot:
    """The request with what the channel noted."""
    return replace(request, memory=receipt.memory)


def converge(request: Snapshot) -> Receipt:
    """One visit of the channel."""
    return GitHubChannel().converge(request, ())


def part_of(sandbox: Sandbox, request_id: UUID, part: str) -> list[Json]:
    """The comments that are marked as this part of the request, whoever wrote them."""
    mark = f"<!-- hitl:{request_id}:{part} -->"
    return [found for found in sandbox.github_comments(PULL) if mark in found["body"]]


def writes(sandbox: Sandbox) -> list[str]:
    """The names of the calls that changed something, in order."""
    return [call["operation"] for call in sandbox.requests("github") if call["method"] != "GET"]
