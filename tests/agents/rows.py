"""Runs and executions as rows alone, for tests of what is shown of them."""

from typing import Any
from uuid import UUID, uuid4

from agents.models import Execution, Run


def run_row(**facts: Any) -> Run:
    """A run that no worker looks at."""
    identifier = facts.pop("id", None) or uuid4()
    given = {
        "workflow": "deploy_service",
        "graph": "built_in",
        "graph_version": "1",
        "thread_id": str(identifier),
        "task": {"operation": "deploy", "environment": "production"},
        "input": {},
        "requested_by": "rosa",
        "status": "running",
        **facts,
    }
    row = Run.objects.create(id=identifier, **given)
    row.refresh_from_db()
    return row


def execution_row(run: Run, position: int = 0, request_id: UUID | None = None, **facts: Any) -> Any:
    """An action of the run that was begun."""
    key = f"request:{request_id}" if request_id else f"{run.pk}:{position}"
    given = {
        "action": {"operation": "deploy", "executor": "command", "argv": ["deploy", "v2.5.0"]},
        "digest": "d" * 64,
        "status": "started",
        **facts,
    }
    return Execution.objects.create(
        run=run, position=position, request_id=request_id, key=key, **given
    )
