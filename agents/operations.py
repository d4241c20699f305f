"""How a task becomes the action that would run: complete, checked, and plain JSON."""

import os
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from django.conf import settings

from agents.operation_config import TASK_FIELDS, Operation, OperationsFile
from agents.placeholders import Value
from approvals.configfile import load_config


class UnresolvableOperation(Exception):
    """A task stands for nothing that can be carried out; the sentence says what is wrong."""


class Operations:
    """The operations that this gateway can carry out.

    `repositories` are the allow-listed GitHub repositories; `environ` holds the addresses of
    `http` operations.
    """

    def __init__(
        self,
        file: OperationsFile,
        *,
        repositories: Collection[str] = (),
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._operations = file.operations
        self._repositories = {name.casefold(): name for name in repositories}
        self._environ = environ

    @property
    def names(self) -> list[str]:
        """The names of all operations, sorted."""
        return sorted(self._operations)

    def resolve(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """The action that this task stands for.

        Reads the task's `operation`, `environment`, `arguments`, `github_repo` and `pr_number`;
        equal input gives equal output. Raises UnresolvableOperation where something is unknown,
        missing, too much, or not of its declared form.
        """
        name = task.get("operation")
        operation = self._operations.get(name) if isinstance(name, str) else None
        if operation is None:
            known = ", ".join(self.names)
            raise UnresolvableOperation(f"There is no operation {name!r}; there are {known}.")
        values = self._task_values(operation, task) | _arguments(operation, task)
        try:
            work = self._work(operation, values)
        except ValueError as error:
            raise UnresolvableOperation(f"The operation {name} cannot run: {error}") from error
        return {
            "executor": operation.executor,
            "operation": name,
            "description": operation.description,
            "timeout_seconds": operation.timeout_seconds,
            "idempotent": operation.idempotent,
            **work,
        }

    def _work(self, operation: Operation, values: Mapping[str, Value]) -> dict[str, Any]:
        if operation.http:
            return operation.http.resolve(values, self._environ)
        part = operation.command or operation.github_workflow
        return part.resolve(values) if part else {}

    def _task_values(self, operation: Operation, task: Mapping[str, Any]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for field in operation.task_fields:
            value = task.get(field)
            if value is None or value == "":
                raise UnresolvableOperation(f"The operation needs the task's {field}.")
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise UnresolvableOperation(f"The task's {field} must be a plain value.")
            if not TASK_FIELDS[field].fullmatch(str(value)):
                raise UnresolvableOperation(f"The task's {field}, {value!r}, is not of its form.")
            values[field] = str(value)
        if operation.environments and values["environment"] not in operation.environments:
            allowed = " or ".join(operation.environments)
            raise UnresolvableOperation(
                f"The operation runs in {allowed}, not in {values['environment']}."
            )
        if "github_repo" in values:
            values["github_repo"] = self._repository(str(values["github_repo"]))
        return values

    def _repository(self, name: str) -> str:
        """The repository as the allow-list spells it: GitHub itself ignores case."""
        if name.casefold() not in self._repositories:
            raise UnresolvableOperation(
                f"The repository {name} is not among HITL_GITHUB_REPOSITORIES."
            )
        return self._repositories[name.casefold()]


@cache
def load_operations() -> Operations:
    """The operations of this installation, read once; ConfigError where the file is wrong."""
    file = load_config(settings.HITL_CONFIG_DIR / "hitl" / "operations.yaml", OperationsFile)
    return Operations(file, repositories=settings.GITHUB_REPOSITORIES)


def _arguments(operation: Operation, task: Mapping[str, Any]) -> dict[str, Value]:
    given = task.get("arguments") or {}
    if not isinstance(given, Mapping):
        raise UnresolvableOperation("The task's arguments must be a mapping of names to values.")
    if extra := sorted(str(name) for name in given if name not in operation.arguments):
        known = ", ".join(operation.arguments) or "none"
        raise UnresolvableOperation(f"The argument {extra[0]!r} is not declared; known is {known}.")
    values: dict[str, Value] = {}
    for name, argument in operation.arguments.items():
        value = given.get(name)
        value = argument.default if value is None else value
        if value is None:
            raise UnresolvableOperation(f"The argument {name!r} is missing: {argument.description}")
        try:
            values[f"arguments.{name}"] = argument.checked(value)
        except ValueError as error:
            raise UnresolvableOperation(f"The argument {name!r} {error}.") from error
    return values
