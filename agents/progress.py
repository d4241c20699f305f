"""What people see of a run: its steps, its outcome."""

from collections.abc import Mapping
from typing import Any

from agents.models import Run, RunStatus
from agents.registry import BUILT_IN
from approvals.core.intake import harmless
from approvals.selectors.request import snapshots_of_thread

_ENDS = {
    "completed": RunStatus.COMPLETED,
    "rejected": RunStatus.REJECTED,
    "expired": RunStatus.EXPIRED,
    "cancelled": RunStatus.CANCELLED,
}


def shown_steps(values: Mapping[str, Any], *, waiting: bool = False) -> list[dict[str, Any]]:
    """The steps of the built-in workflow, each with where it stands."""
    results = values.get("results", [])
    position = values.get("position", 0)
    steps = [dict(result) for result in results]
    for index, step in enumerate(values.get("steps", [])[position:]):
        at_work = "waiting" if waiting else "running"
        steps.append(
            {
                "name": step["name"],
                "agent": step["agent"],
                "operation": step["operation"],
                "environment": step["environment"],
                "status": at_work if index == 0 else "pending",
                "summary": "",
                "request_id": None,
            }
        )
    return steps


def outcome_of(run: Run, values: Mapping[str, Any]) -> tuple[RunStatus, dict[str, Any]]:
    """How a run ended, and its result in plain JSON."""
    if run.graph == BUILT_IN:
        outcome = str(values.get("outcome", "completed"))
        status = _ENDS.get(outcome, RunStatus.FAILED)
        results = [harmless(result) for result in values.get("results", [])]
        return status, {"outcome": outcome, "steps": results}
    decided = [r for r in snapshots_of_thread(run.thread_id) if r.decided_at is not None]
    last = max(decided, key=lambda r: str(r.decided_at), default=None)
    status = _ENDS.get(last.status, RunStatus.COMPLETED) if last else RunStatus.COMPLETED
    return status, {"outcome": str(status), "values": harmless(dict(values))}
