"""The state of the built-in workflow: plain JSON values, because checkpoints keep them in clear."""

from typing import Any, TypedDict

from agents.templates import Step


class Proposal(TypedDict):
    """What an agent wants to do: the task, and the action that would run, fully resolved.

    This is what the approval node interrupts with; its keys are the task's, so that people and
    rules read it like any other task.
    """

    agent: str
    operation: str
    environment: str
    description: str
    arguments: dict[str, Any]
    step: str
    action: dict[str, Any]


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
    """`steps[position]` is next; `outcome` is set once the run has an end in sight."""

    run_id: str
    facts: dict[str, Any]
    steps: list[Step]
    position: int
    proposal: Proposal | None
    requires_approval: bool
    verdict: dict[str, Any] | None
    results: list[StepResult]
    outcome: str
