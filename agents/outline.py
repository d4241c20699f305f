"""A run as people see it: its steps, each with where it stands, what it asked and what was begun.

What a run keeps of its steps is as old as its last pause; the records of its actions are newer.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from agents.models import ENDED, UNSETTLED, Execution, ExecutionStatus, Run, RunStatus
from approvals.core.lifecycle import Status
from approvals.selectors.request import Asked


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    WAITING = "waiting"
    RUNNING = "running"
    NEEDS_ATTENTION = "needs_attention"
    APPROVED = "approved"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"
    SKIPPED = "skipped"


_OVER = frozenset(StepStatus) - {
    StepStatus.PENDING,
    StepStatus.WAITING,
    StepStatus.RUNNING,
    StepStatus.NEEDS_ATTENTION,
}
_OF_EXECUTION: Mapping[str, StepStatus] = {
    ExecutionStatus.STARTED: StepStatus.RUNNING,
    ExecutionStatus.HELD: StepStatus.NEEDS_ATTENTION,
    ExecutionStatus.UNKNOWN: StepStatus.NEEDS_ATTENTION,
    ExecutionStatus.SUCCEEDED: StepStatus.SUCCEEDED,
    ExecutionStatus.FAILED: StepStatus.FAILED,
    ExecutionStatus.ABANDONED: StepStatus.ABANDONED,
}
# How a step of the plan ends so that its rollback follows.
_BROKEN = frozenset(
    {StepStatus.FAILED, StepStatus.REJECTED, StepStatus.EXPIRED, StepStatus.CANCELLED}
)
_OF_REQUEST: Mapping[Status, StepStatus] = {
    Status.PENDING: StepStatus.WAITING,
    Status.APPROVED: StepStatus.APPROVED,
    Status.REJECTED: StepStatus.REJECTED,
    Status.EXPIRED: StepStatus.EXPIRED,
}


@dataclass(frozen=True)
class StepView:
    """One operation of a run; `number` counts from 1, and is 0 for a step that was not reached."""

    number: int
    name: str
    agent: str
    operation: str
    environment: str
    status: StepStatus
    arguments: Mapping[str, Any]
    summary: str = ""
    otherwise: tuple[str, ...] = ()
    asked: Asked | None = None
    executions: Sequence[Execution] = ()

    @property
    def title(self) -> str:
        """The operation in words, such as "deploy to production"."""
        return f"{self.operation} to {self.environment}" if self.environment else self.operation

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in _OVER


@dataclass(frozen=True)
class Outline:
    """The steps that were planned, and the rollback steps that followed one that did not succeed.

    `asks` is true for a graph that is not ours: its steps are what it asked for.
    """

    steps: Sequence[StepView]
    rollback: Sequence[StepView]
    waits_for: Sequence[Asked]
    asks: bool = False

    @property
    def current(self) -> StepView | None:
        """The step that the run is at, if it is at one."""
        at_work = {StepStatus.WAITING, StepStatus.RUNNING, StepStatus.NEEDS_ATTENTION}
        return next(
            (step for step in (*self.steps, *self.rollback) if step.status in at_work), None
        )

    @property
    def following(self) -> StepView | None:
        """The step after the one that the run is at."""
        pending = (s for s in (*self.steps, *self.rollback) if s.status == StepStatus.PENDING)
        return next(pending, None)

    @property
    def fault(self) -> StepView | None:
        """The first step that did not succeed, which names how the run ends."""
        faults = {*_BROKEN, StepStatus.ABANDONED}
        return next((step for step in self.steps if step.status in faults), None)

    @property
    def reached(self) -> int:
        """How many of the planned steps were reached."""
        return sum(
            1 for s in self.steps if s.status not in {StepStatus.PENDING, StepStatus.SKIPPED}
        )

    @property
    def agents(self) -> Sequence[str]:
        """The agents of the steps, each once, in order."""
        return list(dict.fromkeys(step.agent for step in (*self.steps, *self.rollback)))


def outline(
    run: Run,
    asked: Iterable[Asked] = (),
    executions: Iterable[Execution] = (),
    *,
    planned: Sequence[Mapping[str, Any]] = (),
) -> Outline:
    """The outline of a run from its rows.

    `executions` come in the order in which they were begun. With the steps of the plan, arguments,
    what follows a failure, and what was not reached are known, too.
    """
    asked = list(asked)
    waits_for = [request for request in asked if request.status is Status.PENDING]
    if not run.steps:
        steps = [_of_request(number, request) for number, request in enumerate(asked, 1)]
        return Outline(steps, [], waits_for, asks=True)
    begun: dict[int, list[Execution]] = {}
    for execution in executions:
        begun.setdefault(execution.position, []).append(execution)
    requests: dict[UUID | None, Asked] = {request.id: request for request in asked}
    statuses = _statuses(run, begun, asked)
    # Kept with the rollback that follows: what only the records tell was not answered yet.
    kept = [step["status"] for step in run.steps]
    broke_at = next((index for index, status in enumerate(kept) if status in _BROKEN), None)
    views = []
    for index, step in enumerate(run.steps):
        waits = waits_for[0] if waits_for and statuses[index] is StepStatus.WAITING else None
        ours = begun.get(index, [])
        plan = _plan_of(index, broke_at, planned)
        views.append(
            StepView(
                number=index + 1,
                name=step["name"],
                agent=step["agent"],
                operation=step["operation"],
                environment=step["environment"],
                status=statuses[index],
                arguments=plan.get("arguments") or {},
                summary=step["summary"] or (ours[-1].summary if ours else ""),
                otherwise=tuple(entry["name"] for entry in plan.get("rollback", ())),
                asked=requests.get(_request_id(step, ours)) or waits,
                executions=ours,
            )
        )
    if broke_at is None:
        return Outline(views, [], waits_for)
    reached, rollback = views[: broke_at + 1], views[broke_at + 1 :]
    return Outline([*reached, *_not_reached(planned[broke_at + 1 :])], rollback, waits_for)


def unsettled(shown: Outline) -> StepView | None:
    """The step whose action a person's word would settle."""
    for step in (*shown.steps, *shown.rollback):
        if any(execution.status in UNSETTLED for execution in step.executions):
            return step
    return None


def _statuses(
    run: Run, begun: Mapping[int, Sequence[Execution]], asked: Sequence[Asked]
) -> list[StepStatus]:
    statuses = []
    passed = True
    for index, step in enumerate(run.steps):
        status = _known(step["status"], begun.get(index, ()))
        if status is None or (run.status in ENDED and status not in _OVER):
            status = _at_hand(run, asked) if passed else _idle(run)
            passed = False
        elif status not in _OVER or status is StepStatus.ABANDONED:
            passed = False
        statuses.append(status)
    return statuses


def _known(kept: str, executions: Sequence[Execution]) -> StepStatus | None:
    """What the run or its records say of a step that was begun; None of one that was not."""
    if kept in _OVER:
        return StepStatus(kept)
    return _OF_EXECUTION[executions[-1].status] if executions else None


def _at_hand(run: Run, asked: Sequence[Asked]) -> StepStatus:
    """The status of the next step to be begun."""
    if run.status == RunStatus.WAITING:
        # Until the run has heard of the decision it counts as waiting.
        decided = bool(asked) and all(request.status is not Status.PENDING for request in asked)
        return StepStatus.RUNNING if decided else StepStatus.WAITING
    if run.status == RunStatus.RUNNING:
        return StepStatus.RUNNING
    if run.status == RunStatus.NEEDS_ATTENTION:
        return StepStatus.NEEDS_ATTENTION
    ends = {RunStatus.CANCELLED: StepStatus.CANCELLED, RunStatus.FAILED: StepStatus.ABANDONED}
    return ends.get(RunStatus(run.status), StepStatus.SKIPPED)


def _idle(run: Run) -> StepStatus:
    return StepStatus.SKIPPED if run.status in ENDED else StepStatus.PENDING


def _plan_of(
    index: int, broke_at: int | None, planned: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    steps = planned
    if broke_at is not None and index > broke_at:
        steps = planned[broke_at].get("rollback", ()) if broke_at < len(planned) else ()
        index -= broke_at + 1
    return steps[index] if index < len(steps) else {}


def _not_reached(planned: Sequence[Mapping[str, Any]]) -> list[StepView]:
    return [
        StepView(
            number=0,
            name=step["name"],
            agent=step["agent"],
            operation=step["operation"],
            environment=step["environment"],
            status=StepStatus.SKIPPED,
            arguments=step.get("arguments") or {},
        )
        for step in planned
    ]


def _request_id(step: Mapping[str, Any], executions: Sequence[Execution]) -> UUID | None:
    if step["request_id"]:
        return UUID(step["request_id"])
    return executions[-1].request_id if executions else None


def _of_request(number: int, request: Asked) -> StepView:
    return StepView(
        number=number,
        name=request.operation,
        agent=request.agent_name,
        operation=request.operation,
        environment=request.environment,
        status=_OF_REQUEST.get(request.status, StepStatus.CANCELLED),
        arguments={},
        asked=request,
    )
