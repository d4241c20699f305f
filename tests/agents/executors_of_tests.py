"""Executors that do what a test says, and remember what they were asked."""

from collections.abc import Mapping
from typing import Any

from agents.actions import ActionResult, NotBegun, OutcomeUnknown

# (idempotency key, action) of every beginning, and what the next beginning comes to.
begun: list[tuple[str, dict[str, Any]]] = []
next_outcomes: list[str] = []


class WorkerDied(BaseException):
    """Stands for a worker that is gone: nothing after it runs, not even error handling."""


def scripted(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Succeed, unless the script says otherwise."""
    begun.append((idempotency_key, dict(action)))
    outcome = next_outcomes.pop(0) if next_outcomes else "succeed"
    if outcome == "die":
        raise WorkerDied
    if outcome == "unknown":
        raise OutcomeUnknown("The reply was lost, so it may or may not have happened.")
    if outcome == "refuse":
        raise NotBegun("The call was not begun: nobody listens.")
    if outcome.startswith("lose "):
        raise OutcomeUnknown(outcome)
    if outcome.startswith("say "):
        said = {"stdout": outcome, "exit_code": 0}
        return ActionResult(succeeded=True, summary=outcome, output=outcome, data=said)
    if outcome == "fail":
        return ActionResult(succeeded=False, summary="exited 3", output="no disk left")
    return ActionResult(succeeded=True, summary="exited 0", output="fine")
