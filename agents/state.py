"""The state of the built-in workflow: plain JSON values, because checkpoints keep them in clear."""

from typing import Any, TypedDict

from agents.templates import Step

# What an agent wants to do: a task with every field that the run's own task has, its `agent`, and
# the `action` that would run, fully resolved. The approval node interrupts with exactly this.
Proposal = dict[str, Any]


class StepResult(TypedDict):
    """How one step ended: succeeded, failed, rejected, expired or cancelled."""

    name: str
    agent: str
    operation: str
    environment: str
    status: str
    summary: str
    request_id: str | None


class WorkflowState(TypedDict, total=False):
    """`steps[position]` is next; `outcome` is set once the run has an end in sight.

    `facts` are the fields of the run's task that every step shares, such as the pull request.
    """

    run_id: str
    facts: dict[str, Any]
    steps: list[Step]
    position: int
    proposal: Proposal | None
    requires_approval: bool
    verdict: dict[str, Any] | None
    results: list[StepResult]
    outcome: str
