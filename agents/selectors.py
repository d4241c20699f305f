"""Reads of runs: what the API, the admin and the commands show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from agents.models import Run
from approvals.errors import RequestNotFound
from approvals.selectors.request import statuses_of_workflow


@dataclass(frozen=True)
class RunView:
    """A run, with the requests it has opened so far."""

    run: Run
    approvals: Sequence[dict[str, Any]]


def get_run(run_id: UUID) -> RunView:
    """The run and where its requests stand; RequestNotFound."""
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise RequestNotFound(f"There is no workflow {run_id}.")
    return RunView(run, statuses_of_workflow(str(run_id)))
