"""Runs in words for people: what one is for, how it stands, and what each way out comes to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from agents.models import Run, RunStatus
from agents.outline import Outline, StepStatus, StepView, unsettled
from agents.templates import SINGLE_TASK, workflow_templates
from approvals.core.events import EventName
from approvals.masking import quiet, quiet_json
from approvals.selectors.request import Asked
from approvals.wording import duration, headline, plain, told

if TYPE_CHECKING:
    from approvals.models import AuditEntry

STATUSES: Mapping[str, str] = {
    RunStatus.NEEDS_ATTENTION: "Needs attention",
    RunStatus.RUNNING: "Running",
    RunStatus.WAITING: "Waiting",
    RunStatus.COMPLETED: "Completed",
    RunStatus.REJECTED: "Rejected",
    RunStatus.EXPIRED: "Expired",
    RunStatus.CANCELLED: "Cancelled",
    RunStatus.FAILED: "Failed",
    StepStatus.PENDING: "To come",
    StepStatus.APPROVED: "Approved",
    StepStatus.SUCCEEDED: "Done",
    StepStatus.ABANDONED: "Abandoned",
    StepStatus.SKIPPED: "Not reached",
}


def title(run: Run) -> str:
    """What a run does, as a heading: "Deploy a hotfix", or the operation of a single task."""
    if run.workflow == SINGLE_TASK:
        environment = run.task.get("environment")
        operation = str(run.task.get("operation", "task"))
        return headline(f"{operation} to {environment}" if environment else operation)
    template = workflow_templates().get(run.workflow)
    return headline(template.description if template else run.workflow.replace("-", " "))


def where(run: Run, shown: Outline) -> str:
    """Where a run stands, in a sentence."""
    if run.status == RunStatus.WAITING:
        return _waiting(shown)
    if run.status == RunStatus.RUNNING:
        return _running(shown)
    if run.status == RunStatus.NEEDS_ATTENTION:
        return "It has stopped until somebody says how it goes on."
    result = run.result or {}
    if run.status == RunStatus.CANCELLED:
        return "It was cancelled; nothing more of it runs."
    if "summary" in result:
        return plain(" ".join(quiet(run, str(result["summary"])).split()))
    fault = shown.fault
    if run.status == RunStatus.COMPLETED or fault is None:
        return "Every step succeeded." if shown.steps and not shown.asks else "It has ended."
    words = {
        StepStatus.REJECTED: "was rejected",
        StepStatus.EXPIRED: "expired, because nobody decided in time",
        StepStatus.CANCELLED: "was cancelled",
    }
    ended = f"{_named(fault)} {words.get(fault.status, 'failed')}."
    return ended + (" Its rollback steps followed." if shown.rollback else " Nothing followed it.")


def _named(step: StepView) -> str:
    return f"Step {step.number}, {headline(step.title)},"


def _waiting(shown: Outline) -> str:
    step = shown.current
    if not shown.waits_for:
        return "The decision was made; the run goes on in a moment."
    if shown.asks or step is None:
        count = len(shown.waits_for)
        return f"It waits for {count} decisions." if count > 1 else "It waits for a decision."
    return f"It waits for a decision about step {step.number} of {len(shown.steps)}."


def _running(shown: Outline) -> str:
    step = shown.current
    if step is None:
        return "It is at work."
    return f"Step {step.number} is at work: {headline(step.title)}."


@dataclass(frozen=True)
class WayOut:
    """One word that settles a run: when to say it, and what follows."""

    outcome: str
    name: str
    when: str
    follows: tuple[str, ...]
    button: str


def ways_out(shown: Outline) -> tuple[WayOut, WayOut, WayOut]:
    """What done, retry and abandon come to for a run that stands so."""
    step = unsettled(shown)
    if step is None:
        return (
            WayOut(
                "done",
                "Done",
                "What the run was for has happened.",
                (
                    "No action stands open, so the run ends as completed.",
                    "What it still waits for is cancelled.",
                ),
                "Settle as done",
            ),
            WayOut(
                "retry",
                "Retry",
                "What stopped the run is repaired.",
                ("The run goes on where it stopped.",),
                "Let it go on",
            ),
            WayOut(
                "abandon",
                "Abandon",
                "It did not happen and shall not.",
                (
                    "The run ends as failed." + _no_rollback(shown),
                    "What it still waits for is cancelled.",
                ),
                "Abandon the run",
            ),
        )
    following = shown.following
    then = (
        f"The run goes on with step {following.number}, {headline(following.title)}."
        if following
        else "Nothing comes after it, so the run ends."
    )
    return (
        WayOut(
            "done",
            "Done",
            "You looked, and it did happen.",
            (f"{_named(step)} counts as succeeded and is not begun again.", then),
            "Settle as done",
        ),
        WayOut(
            "retry",
            "Retry",
            "It did not happen, or it may safely happen twice.",
            (
                f"{_named(step)} is begun once more, with the same key.",
                "An approval that has grown too old counts again.",
            ),
            "Begin it once more",
        ),
        WayOut(
            "abandon",
            "Abandon",
            "It did not happen and shall not.",
            (
                f"{_named(step)} counts as not done, and the run ends as failed.",
                "Its rollback steps do not run; what it still waits for is cancelled.",
            ),
            "Abandon the run",
        ),
    )


def _no_rollback(shown: Outline) -> str:
    return "" if shown.asks else " Its rollback steps do not run."


def settled(run: Run, outcome: str) -> str:
    """What came of a word, once it is given."""
    if outcome == "abandon":
        return "Abandoned. The run has ended as failed."
    if run.status == RunStatus.COMPLETED:
        return "Settled as done. The run has ended as completed."
    if outcome == "done":
        return "Settled as done. The run goes on."
    return "The run goes on where it stopped."


@dataclass(frozen=True)
class Happening:
    """An entry of the timeline in words; `asked` is the request that it is about."""

    entry: "AuditEntry"
    phrase: str
    quote: str
    about: str
    asked: Asked | None


def happened(run: Run, entry: "AuditEntry", requests: Mapping[UUID, Asked]) -> Happening:
    """The words for an entry in the log of a run or of one of its requests."""
    words = told(entry.name, quiet_json(run, entry.data), entry.actor)
    # The step says which operation was begun.
    quote = "" if entry.name == EventName.EXECUTION_STARTED else words.quote
    about = ""
    if isinstance(position := entry.data.get("position"), int):
        about = f"step {position + 1}"
    if (attempt := entry.data.get("attempt", 1)) > 1:
        about = f"{about}, attempt {attempt}"
    return Happening(entry, words.phrase, quote, plain(about), requests.get(entry.stream))


def ended_with(data: Mapping[str, Any]) -> str:
    """What an action's record says of its end, such as "exit 3" or "HTTP 502"."""
    facts = []
    for key, word in (("exit_code", "exit"), ("signal", "signal"), ("status", "HTTP")):
        if isinstance(value := data.get(key), int):
            facts.append(f"{word} {value}")
    if data.get("timed_out"):
        facts.append("timed out")
    return ", ".join(facts)


def took(started: Any, finished: Any) -> str:
    """How long an action was at work, in words; nothing while it is."""
    if finished is None:
        return ""
    seconds = (finished - started).total_seconds()
    return duration(seconds) if seconds >= 1 else "less than 1 s"


def known_workflows(graphs: Collection[str]) -> list[str]:
    """The workflows that a run may be started with, by name."""
    return [SINGLE_TASK, *workflow_templates(), *sorted(graphs)]
