"""What the API shows of a request, and how it says that something went wrong."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ninja import Schema
from pydantic import Field

from approvals.core.lifecycle import Choice, Status
from approvals.core.risk import Risk
from approvals.masking import masked, masked_action, quiet
from approvals.selectors.request import status_at

if TYPE_CHECKING:
    from approvals.models import ApprovalRequest


class FieldProblem(Schema):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Schema):
    """Why a call was refused; 409 says who decided and when, 422 which fields do not fit."""

    detail: str
    status: Status | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    errors: list[FieldProblem] | None = None


class MatchItem(Schema):
    """A rule that matched, with the reason in words."""

    rule: str
    risk_level: Risk
    reason: str


class PolicyItem(Schema):
    """Who may decide, how many of them, and until when."""

    name: str
    groups: list[str]
    quorum: int
    expires_after_seconds: int
    execute_within_seconds: int
    requester_may_decide: bool


class ApprovalItem(Schema):
    """One request; secrets of its task and action are masked wherever something repeats them."""

    request_id: UUID
    workflow_id: str
    thread_id: str
    checkpoint_id: str
    status: Status = Field(description="A pending request past its deadline reads as expired.")
    risk_level: Risk
    task: dict[str, Any]
    action: dict[str, Any] | None
    digest: str
    agent_name: str
    requested_by: str
    operation: str
    environment: str
    matches: list[MatchItem]
    policy: PolicyItem
    approvals: int
    quorum: int
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    approved_at: datetime | None
    approved_by: str | None
    rejection_reason: str | None
    linear_issue_id: str | None
    linear_issue_url: str | None
    pr_number: int | None
    pr_url: str | None
    github_repo: str | None
    url: str


_AS_STORED = (
    "workflow_id",
    "thread_id",
    "checkpoint_id",
    "risk_level",
    "digest",
    "agent_name",
    "requested_by",
    "operation",
    "environment",
    "matches",
    "policy",
    "created_at",
    "expires_at",
    "decided_at",
    "approved_at",
    "approved_by",
    "linear_issue_id",
    "linear_issue_url",
    "pr_number",
    "url",
)


def approval_item(row: "ApprovalRequest", now: datetime) -> dict[str, Any]:
    """The public facts of a request at that time; reads the votes."""
    approvals = sum(1 for vote in row.votes.all() if vote.choice == Choice.APPROVE)
    return {
        **{field: getattr(row, field) for field in _AS_STORED},
        "request_id": row.pk,
        "status": status_at(row, now),
        "task": masked(row.task),
        "action": None if row.action is None else masked_action(row.task, row.action),
        "approvals": approvals,
        "quorum": row.policy["quorum"],
        "rejection_reason": row.rejection_reason and quiet(row, row.rejection_reason),
        # What is not known is null here, while the table keeps some of it as an empty text.
        "decided_by": row.decided_by or None,
        "pr_url": row.pr_url or None,
        "github_repo": row.github_repo or None,
    }


def links(parameter: str, field: str, operations: Mapping[str, str]) -> dict[str, Any]:
    """Where an answer leads, as OpenAPI describes it: names of links by the operation they call.

    Each takes its `parameter` from that field of the answer.
    """
    found = {parameter: f"$response.body#/{field}"}
    return {
        "links": {
            name: {"operationId": operation, "parameters": found}
            for name, operation in operations.items()
        }
    }
