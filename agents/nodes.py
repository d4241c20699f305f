"""The nodes of the built-in workflow: each one plain, and only `execute` has an effect."""

from typing import Any, Protocol
from uuid import UUID

from langgraph.types import interrupt

from agents import executions, payloads
from agents.operations import UnresolvableOperation, load_operations
from agents.state import Proposal, StepResult, WorkflowState
from agents.templates import Step
from approvals.services import assess_task

FINISH = "finish"


class Node(Protocol):
    """A node of the graph: from the state to what changes in it."""

    def __call__(self, state: WorkflowState) -> dict[str, Any]:
        """What changes."""
        ...


def supervisor(state: WorkflowState) -> dict[str, Any]:
    """Look at the next step with nothing left over from the one before."""
    update: dict[str, Any] = {"proposal": None, "verdict": None}
    if state["position"] >= len(state["steps"]):
        update["outcome"] = state.get("outcome") or "completed"
    return update


def next_agent(state: WorkflowState) -> str:
    """The agent of the next step, or the end."""
    if state["position"] >= len(state["steps"]):
        return FINISH
    return state["steps"][state["position"]]["agent"]


def make_agent(name: str) -> Node:
    """The node of one agent: it turns its step into a proposal, and does nothing."""

    def propose(state: WorkflowState) -> dict[str, Any]:
        step = state["steps"][state["position"]]
        try:
            action = load_operations().resolve({**state["facts"], **_task(step)})
        except UnresolvableOperation as error:
            return _ended(state, step, "failed", str(error), None)
        proposal: Proposal = {
            **state["facts"],
            **_task(step),
            "description": step["description"],
            "step": step["name"],
            "agent": name,
            "action": action,
        }
        return {"proposal": proposal}

    return propose


def proposed(state: WorkflowState) -> str:
    """On to the assessment, or back where the agent could not propose anything."""
    return "assess" if state.get("proposal") else "supervisor"


def assess(state: WorkflowState) -> dict[str, Any]:
    """Ask the rules whether a human must approve the proposal."""
    ask = payloads.read(_proposal(state), built_in=True)
    return {"requires_approval": assess_task(ask.task, ask.agent).requires_approval}


def should_request_approval(state: WorkflowState) -> str:
    """To the approval unless the rules said in so many words that none is needed."""
    return "execute" if state.get("requires_approval") is False else "approval"


def approval(state: WorkflowState) -> dict[str, Any]:
    """Wait for the verdict; nothing else stands here, because the node runs again from its top."""
    return {"verdict": interrupt(_proposal(state))}


def execute(state: WorkflowState) -> dict[str, Any]:
    """Carry out the approved action, or say why it was not."""
    step = state["steps"][state["position"]]
    verdict = state.get("verdict")
    if verdict is None or verdict["request_id"] is None:
        ask = payloads.read(_proposal(state), built_in=True)
        ended = executions.run_unattended(UUID(state["run_id"]), state["position"], ask)
        return _ended(state, step, ended.status, ended.summary, None)
    if verdict["status"] != "approved":
        return _ended(state, step, verdict["status"], _reason(verdict), verdict["request_id"])
    ended = executions.run_approved(
        UUID(state["run_id"]), state["position"], UUID(verdict["request_id"])
    )
    return _ended(state, step, ended.status, ended.summary, verdict["request_id"])


def _proposal(state: WorkflowState) -> Proposal:
    proposal = state["proposal"]
    if proposal is None:
        raise RuntimeError("a proposal is missing where the graph guarantees one")
    return proposal


def _task(step: Step) -> dict[str, Any]:
    return {
        "operation": step["operation"],
        "environment": step["environment"],
        "arguments": step["arguments"],
    }


def _reason(verdict: dict[str, Any]) -> str:
    by = verdict.get("decided_by") or "nobody"
    reason = verdict.get("reason")
    return f"{verdict['status']} by {by}: {reason}" if reason else f"{verdict['status']} by {by}"


def _ended(
    state: WorkflowState, step: Step, status: str, summary: str, request_id: str | None
) -> dict[str, Any]:
    """Note how a step ended; one that did not succeed is followed by its rollback, then the end."""
    result = StepResult(
        name=step["name"],
        agent=step["agent"],
        operation=step["operation"],
        environment=step["environment"],
        status=status,
        summary=summary,
        request_id=request_id,
    )
    position = state["position"] + 1
    update: dict[str, Any] = {
        "results": [*state["results"], result],
        "position": position,
        "proposal": None,
    }
    if status != "succeeded":
        # The first step that did not succeed names the outcome, whatever its rollback comes to.
        update["outcome"] = state.get("outcome") or status
        update["steps"] = [*state["steps"][:position], *step["rollback"]]
        if state.get("outcome"):
            update["steps"] = state["steps"]
    return update
