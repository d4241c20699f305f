"""`/api/workflows`: start runs, follow them, cancel them, by bearer token."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Router, Schema
from ninja import Status as Answer
from pydantic import ConfigDict, Field, StrictInt, StrictStr, StringConstraints

from agents import services
from agents.models import Run, RunStatus
from agents.selectors import RunView, get_run
from approvals.bearer import ApiCall, actor_of
from approvals.core.lifecycle import Status
from approvals.core.roles import Ability
from approvals.masking import quiet, quiet_json
from approvals.schemas import Problem, links

_PROBLEMS = frozenset({401, 403, 404, 409, 422})

router = Router(tags=["workflows"])


class StartBody(Schema):
    """What is to be done, and for whom."""

    model_config = ConfigDict(extra="forbid")

    workflow: StrictStr = Field(
        description="The name of a workflow, of a registered graph, or `task` for one operation."
    )
    task: dict[str, Any] = Field(
        description="`operation`, `environment`, `description`, and `arguments` by name."
    )
    requested_by: StrictStr | None = Field(None, description="By default, the token's user.")
    pr_number: StrictInt | None = None
    pr_url: StrictStr | None = None
    github_repo: StrictStr | None = None
    idempotency_key: StrictStr | None = Field(
        None, description="The same key and body give the same run, whoever lost the answer."
    )


class CancelBody(Schema):
    """Why a run is to end."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[StrictStr, StringConstraints(strip_whitespace=True, min_length=1)]


class StartedAnswer(Schema):
    """A run that a worker starts at once."""

    workflow_id: UUID
    thread_id: str
    status: RunStatus


class StepItem(Schema):
    """One operation of a run and where it stands."""

    name: str
    agent: str
    operation: str
    environment: str
    status: str
    summary: str
    request_id: UUID | None


class RequestItem(Schema):
    """A request that the run has opened."""

    request_id: UUID
    status: Status
    operation: str
    environment: str


class RunItem(Schema):
    """A run; secrets of its task are masked wherever something repeats them."""

    workflow_id: UUID
    thread_id: str
    workflow: str
    status: RunStatus
    attention: str
    task: dict[str, Any]
    requested_by: str
    steps: list[StepItem]
    result: dict[str, Any] | None
    approvals: list[RequestItem]
    created_at: datetime
    ended_at: datetime | None


@router.post(
    "",
    response={202: StartedAnswer, _PROBLEMS: Problem},
    summary="Start a workflow",
    openapi_extra={
        "responses": {
            202: links(
                "workflow_id",
                "workflow_id",
                {"follow": "agents_api_follow", "cancel": "agents_api_cancel"},
            )
        }
    },
)
def start(request: ApiCall, body: StartBody) -> Answer[Any]:
    """Record a run; a worker starts it, and it waits wherever people must decide."""
    actor = actor_of(request, Ability.START)
    run = services.start_run(actor=actor, **body.dict())
    body_of_202 = {"workflow_id": run.pk, "thread_id": run.thread_id, "status": run.status}
    return Answer(202, body_of_202)


@router.get(
    "/{uuid:workflow_id}",
    response={200: RunItem, _PROBLEMS: Problem},
    summary="Follow a workflow",
)
def follow(request: ApiCall, workflow_id: UUID) -> dict[str, Any]:
    """Where a run stands, step by step, with the requests it has opened."""
    actor_of(request, Ability.READ)
    return _item(get_run(workflow_id))


@router.post(
    "/{uuid:workflow_id}/cancel",
    response={200: RunItem, _PROBLEMS: Problem},
    summary="Cancel a workflow",
)
def cancel(request: ApiCall, workflow_id: UUID, body: CancelBody) -> dict[str, Any]:
    """End a run and whatever it waits for; an action that is at work is not interrupted."""
    actor = actor_of(request, Ability.CANCEL_OWN)
    services.cancel_run(workflow_id, actor=actor, reason=body.reason)
    return _item(get_run(workflow_id))


def _item(view: RunView) -> dict[str, Any]:
    run = view.run
    return {
        "workflow_id": run.pk,
        "thread_id": run.thread_id,
        "workflow": run.workflow,
        "status": run.status,
        "attention": quiet(run, run.attention),
        "task": quiet_json(run, run.task),
        "requested_by": run.requested_by,
        "steps": [_step(step, run) for step in run.steps],
        "result": None if run.result is None else quiet_json(run, run.result),
        "approvals": view.approvals,
        "created_at": run.created_at,
        "ended_at": run.ended_at,
    }


def _step(step: dict[str, Any], run: Run) -> dict[str, Any]:
    """A step as it is now: what people decided is at work as soon as its run is."""
    shown = quiet_json(run, step)
    if step["status"] == "waiting" and run.status == RunStatus.RUNNING:
        return {**shown, "status": "running"}
    return shown
