"""From a workflow's file and a task to the steps of one run."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, TypedDict

from django.conf import settings
from pydantic import Field, field_validator, model_validator

from agents.placeholders import Value, fill_json, placeholders
from agents.roster import OPERATIONS, Agent, owner_of
from approvals.configfile import ConfigError, ConfigModel, load_config

SINGLE_TASK = "task"
_TASK_PATHS = frozenset({"environment", "description", "github_repo", "pr_number"})


class UnfitTask(Exception):
    """A task does not fit its workflow; the sentence says why."""


class Step(TypedDict):
    """One operation of a run, complete, as it stands in the run's state."""

    name: str
    agent: str
    operation: str
    environment: str
    description: str
    arguments: dict[str, Any]
    rollback: list["Step"]


class _StepEntry(ConfigModel):
    name: str = Field(min_length=1, max_length=100)
    agent: Agent
    operation: str
    environment: str
    description: str = ""
    arguments: dict[str, str | int | bool] = Field(default_factory=dict)
    # What happens when the step is rejected, expires or fails: nothing more, or these steps.
    otherwise: Literal["stop"] | tuple[str, ...] = "stop"

    @field_validator("environment", "description", "arguments")
    @classmethod
    def _placeholders_are_whole(cls, value: Any) -> Any:
        list(placeholders(value))
        return value

    @model_validator(mode="after")
    def _agent_owns_operation(self) -> Self:
        if self.operation not in OPERATIONS[self.agent]:
            raise ValueError(f"{self.agent} does not own the operation {self.operation!r}")
        return self


class WorkflowTemplate(ConfigModel):
    """One file of config/workflows: its steps, and the rollback steps they may name."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    description: str
    environment: str = "production"
    parameters: dict[str, str | int | bool] = Field(default_factory=dict)
    steps: tuple[_StepEntry, ...] = Field(min_length=1)
    rollback: tuple[_StepEntry, ...] = ()

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [entry.name for entry in (*self.steps, *self.rollback)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two steps are named {name!r}")
        known = {entry.name for entry in self.rollback}
        for entry in self.steps:
            for name in _rollback_names(entry):
                if name not in known:
                    raise ValueError(f"the step {entry.name!r} names no rollback step {name!r}")
        for entry in self.rollback:
            if entry.otherwise != "stop":
                raise ValueError(f"the rollback step {entry.name!r} cannot be rolled back")
        return self

    @model_validator(mode="after")
    def _placeholders_are_known(self) -> Self:
        known = _TASK_PATHS | {f"arguments.{name}" for name in self.parameters}
        for entry in (*self.steps, *self.rollback):
            for path in placeholders([entry.environment, entry.description, entry.arguments]):
                if path not in known:
                    raise ValueError(f"the step {entry.name!r} refers to an unknown {path}")
        return self

    def plan(self, task: Mapping[str, Any]) -> list[Step]:
        """The steps for a task, complete; UnfitTask where it gives something unknown."""
        given = task.get("arguments") or {}
        if not isinstance(given, Mapping):
            raise UnfitTask("The task's arguments must be a mapping of names to values.")
        if extra := sorted(str(name) for name in given if name not in self.parameters):
            known = ", ".join(self.parameters) or "none"
            raise UnfitTask(f"{self.name} knows no parameter {extra[0]!r}; known is {known}.")
        values: dict[str, Value] = {
            "environment": task.get("environment") or self.environment,
            "description": task.get("description") or self.description,
            "github_repo": task.get("github_repo") or "",
            "pr_number": task.get("pr_number") or "",
        }
        for name, default in self.parameters.items():
            value = given.get(name, default)
            if not isinstance(value, (str, int)):
                raise UnfitTask(f"The argument {name!r} must be a text or a whole number.")
            values[f"arguments.{name}"] = value
        rollback = {entry.name: _step(entry, values, []) for entry in self.rollback}
        return [
            _step(entry, values, [rollback[name] for name in _rollback_names(entry)])
            for entry in self.steps
        ]


def _rollback_names(entry: _StepEntry) -> Sequence[str]:
    return () if entry.otherwise == "stop" else entry.otherwise


def _step(entry: _StepEntry, values: Mapping[str, Value], rollback: list[Step]) -> Step:
    return Step(
        name=entry.name,
        agent=entry.agent,
        operation=entry.operation,
        environment=str(fill_json(entry.environment, values)),
        description=str(fill_json(entry.description, values)),
        arguments=fill_json(entry.arguments, values),
        rollback=rollback,
    )


def load_templates(folder: Path) -> dict[str, WorkflowTemplate]:
    """Every workflow of a folder by name; ConfigError where a file does not fit."""
    templates: dict[str, WorkflowTemplate] = {}
    for path in sorted(folder.glob("*.yaml")):
        template = load_config(path, WorkflowTemplate)
        if template.name in templates or template.name == SINGLE_TASK:
            raise ConfigError(f"{path}:1: the name {template.name!r} is taken")
        templates[template.name] = template
    if not templates:
        raise ConfigError(f"{folder}: there is no workflow in this folder")
    return templates


@cache
def workflow_templates() -> dict[str, WorkflowTemplate]:
    """The workflows of this installation, read once."""
    return load_templates(settings.HITL_CONFIG_DIR / "workflows")


def single_step(task: Mapping[str, Any]) -> list[Step]:
    """A task that stands for itself: a workflow of one step."""
    operation = str(task["operation"]).strip()
    agent = str(task.get("agent") or owner_of(operation))
    if agent not in OPERATIONS:
        raise UnfitTask(f"There is no agent {agent!r}; there are {', '.join(OPERATIONS)}.")
    # Policies look at the agent: who asks must not choose whose policy holds.
    owners = [name for name, owned in OPERATIONS.items() if operation in owned]
    if owners and agent not in owners:
        raise UnfitTask(f"{agent} does not own the operation {operation!r}; {owners[0]} does.")
    return [
        Step(
            name=operation,
            agent=agent,
            operation=operation,
            environment=str(task.get("environment") or ""),
            description=str(task.get("description") or ""),
            arguments=task.get("arguments") or {},
            rollback=[],
        )
    ]
