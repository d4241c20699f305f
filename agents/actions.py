"""What the graph and the executors say to each other about one frozen action."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string


@dataclass(frozen=True)
class ActionResult:
    """How an action ended.

    `summary` is one sentence for people, `output` what the action printed or answered (bounded by
    the executor), `data` further JSON such as an exit code.
    """

    succeeded: bool
    summary: str
    output: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


class OutcomeUnknown(Exception):
    """The action may or may not have happened: only a person who looks can tell."""


class NotBegun(Exception):
    """Surely nothing of the action was begun, so the approval stays good for a person's retry."""


class Executor(Protocol):
    """What carries out one kind of action.

    It runs the frozen action and nothing else, ends within the action's `timeout_seconds` plus a
    few seconds, answers failure as a result, and raises only NotBegun and OutcomeUnknown. The same
    `idempotency_key` means the same intention, so that the far side can tell a repetition.
    """

    def __call__(self, action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
        """Carry out the action once."""
        ...


# Every field of a frozen action, by its executor: the operation and its description tell people
# what it is, and whatever the others say is obeyed.
_EVERY = {"executor", "operation", "description", "timeout_seconds", "idempotent"}
FIELDS: dict[str, frozenset[str]] = {
    "command": frozenset({*_EVERY, "argv", "cwd", "pass_env"}),
    "http": frozenset({*_EVERY, "method", "url", "base_url_env", "headers_env", "body"}),
    "github_workflow": frozenset(
        {*_EVERY, "repo", "workflow", "ref", "inputs", "idempotency_key_input"}
    ),
}


def misfit(action: Mapping[str, Any]) -> str:
    """Why this release cannot carry out exactly what was frozen, maybe by another; or nothing."""
    name = str(action.get("executor"))
    try:
        load_executor(name)
    except ImproperlyConfigured as error:
        return f"The approved action was not begun. {error}"
    fields = FIELDS.get(name, frozenset(action))
    if unknown := sorted(set(action) - fields):
        return (
            "The approved action was not begun: it was frozen by a release that knows more than"
            f" this one, which would pass over {', '.join(unknown)}."
        )
    if lacking := sorted(fields - set(action)):
        return (
            "The approved action was not begun: it was frozen by a release that knew less than"
            f" this one, and says nothing of {', '.join(lacking)}."
        )
    return ""


def load_executor(name: str) -> Executor:
    """The executor of that name; ImproperlyConfigured where the settings know none."""
    executors: Mapping[str, str] = settings.HITL_EXECUTORS
    if name not in executors:
        known = ", ".join(sorted(executors)) or "none"
        raise ImproperlyConfigured(
            f"There is no executor named {name!r}; HITL_EXECUTORS names {known}."
        )
    try:
        return cast("Executor", import_string(executors[name]))
    except ImportError as error:
        raise ImproperlyConfigured(
            f"The executor {name!r} cannot be loaded from {executors[name]}: {error}"
        ) from error
