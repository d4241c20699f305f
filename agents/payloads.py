"""Read what a graph interrupts with, whatever its shape, and make what it is answered with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from approvals.core.canonical import proposal_digest
from approvals.core.events import Snapshot
from approvals.core.intake import harmless

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Ask:
    """What an interrupt asks for: a task, the agent that asks, and the gateway's own action."""

    task: dict[str, Any]
    agent: str
    action: dict[str, Any] | None

    @property
    def digest(self) -> str:
        """What an approval of this is bound to."""
        return proposal_digest(self.task, self.agent, self.action)


def read(value: Any, *, built_in: bool) -> Ask:
    """The ask behind an interrupt's payload.

    A mapping that names an operation is a task. Anything else is an unknown operation, which the
    rules treat as high risk. Only the built-in graph's payload carries an action that runs here.
    """
    clean = harmless(value)
    if not isinstance(clean, dict) or not isinstance(clean.get("operation"), str):
        return Ask({"operation": UNKNOWN, "payload": clean}, UNKNOWN, None)
    task = dict(clean)
    agent = task.pop("agent", None)
    action = task.pop("action", None) if built_in else None
    named = agent if isinstance(agent, str) and agent.strip() else UNKNOWN
    return Ask(task, named, action if isinstance(action, dict) else None)


def verdict(request: Snapshot) -> dict[str, Any]:
    """What a decided request answers its interrupt with."""
    return {
        "status": str(request.status),
        "request_id": str(request.id),
        "task": dict(request.task),
        "decided_by": request.decided_by,
        "reason": request.reason,
    }


def unattended_verdict(ask: Ask, interrupt_id: str) -> dict[str, Any]:
    """What an interrupt is answered with that, by the rules, needs no human."""
    return {
        "status": "approved",
        "request_id": None,
        "interrupt_id": interrupt_id,
        "task": ask.task,
        "decided_by": "rules",
        "reason": "The rules require no approval.",
    }


def answers(value: object, request_id: str) -> bool:
    """Whether a stored answer is the verdict of the given request."""
    return isinstance(value, Mapping) and value.get("request_id") == request_id
