"""The verbs for runs: start, cancel, settle. What follows each turn of a thread is in `turns`."""

import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django.db import connection, transaction

from agents.executions import mark
from agents.models import ENDED, UNSETTLED, Execution, ExecutionStatus, Run, RunStatus
from agents.progress import shown_steps
from agents.registry import BUILT_IN, graph_spec
from agents.standing import cancel_pending, end, go_on, hint, locked
from agents.templates import SINGLE_TASK, UnfitTask, single_step, workflow_templates
from approvals import outbox, services, trail
from approvals.actors import able
from approvals.clock import clock
from approvals.core import intake
from approvals.core.canonical import digest
from approvals.core.events import EventName
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability, to_cancel
from approvals.errors import (
    AlreadyEnded,
    IdempotencyConflict,
    InvalidInput,
    NotAllowed,
)
from approvals.inputs import must_be_one_pull_request, must_be_texts, must_be_words
from approvals.masking import quiet

log = logging.getLogger(__name__)

# What a person may say of a run that needs attention.
OUTCOMES = ("done", "retry", "abandon")


def start_run(
    *,
    actor: Actor,
    workflow: str,
    task: Mapping[str, Any],
    requested_by: str | None = None,
    pr_number: int | None = None,
    pr_url: str | None = None,
    github_repo: str | None = None,
    idempotency_key: str | None = None,
) -> Run:
    """Record a run that a worker then starts; the same idempotency key returns the same run.

    `workflow` names a file of config/workflows, a registered graph, or `task` for one operation.
    Raises InvalidInput and IdempotencyConflict.
    """
    facts = {
        "pr_number": pr_number,
        "pr_url": pr_url or "",
        "github_repo": github_repo or str(task.get("github_repo") or ""),
    }
    asked_by, key = (requested_by or "").strip() or actor.name, idempotency_key or ""
    _check(task, facts, {"requested_by": asked_by, "idempotency_key": key})
    body_digest = digest([workflow, task, asked_by, facts]) if key else ""
    with trail.step("start_run", via=actor.via), transaction.atomic():
        if key and (existing := _existing(actor, key)) is not None:
            return _same(existing, body_digest)
        run = _drafted(workflow, task, facts)
        run.requested_by, run.opened_by_id = asked_by, actor.user_id
        run.idempotency_key, run.idempotency_digest = key, body_digest
        trail.know(workflow_id=run.pk)
        run.save(force_insert=True)
        told = {"workflow": workflow}
        services.record_run_event(run.pk, EventName.RUN_STARTED, told, actor=actor)
        trail.tell(log, "Run started", workflow=workflow)
        transaction.on_commit(hint, robust=True)
    return run


def cancel_run(run_id: UUID, *, actor: Actor, reason: str) -> None:
    """End a run and whatever it still waits for; whoever asked, or an operator, may.

    An action that is at work is not interrupted. Raises RequestNotFound, NotAllowed, AlreadyEnded
    and InvalidInput.
    """
    must_be_words("reason", reason)
    with trail.step("cancel_run", workflow_id=run_id, via=actor.via), transaction.atomic():
        run = locked(run_id)
        if not able(actor, to_cancel(actor, run.opened_by_id)):
            raise NotAllowed("Only whoever asked for it, or an operator, may cancel a run.")
        _must_not_have_ended(run)
        end(run, RunStatus.CANCELLED, {"outcome": "cancelled", "reason": reason})
        told = {"reason": quiet(run, reason)}
        services.record_run_event(run.pk, EventName.RUN_CANCELLED, told, actor=actor)
        cancel_pending(run, actor, reason)


def settle_run(run_id: UUID, outcome: str, *, actor: Actor, reason: str) -> Run:
    """A person's way out of `needs_attention`, after looking; returns the run as it then stands.

    done: the action happened; the run goes on. retry: begin it once more, or go on where the graph
    stopped. abandon: it did not happen and shall not; the run ends as failed. Whatever a worker
    still says about the action counts no more. Raises RequestNotFound, NotAllowed and InvalidInput.
    """
    if outcome not in OUTCOMES:
        raise InvalidInput("outcome", "A run is settled as done, retry or abandon.")
    must_be_words("reason", reason, required=True)
    if not able(actor, Ability.SETTLE_RUN):
        raise NotAllowed("Only an operator may settle a run.")
    with trail.step("settle_run", workflow_id=run_id, via=actor.via), transaction.atomic():
        run = locked(run_id)
        if run.status != RunStatus.NEEDS_ATTENTION:
            raise NotAllowed(f"The run is {run.status}; only one that needs attention is settled.")
        words = {"reason": quiet(run, reason), "attention": quiet(run, run.attention)}
        data = {"outcome": outcome, **words}
        services.record_run_event(run.pk, EventName.RUN_SETTLED, data, actor=actor)
        trail.tell(log, "Run settled", outcome=outcome, user_id=actor.user_id)
        _settle(run, outcome, f"Settled as {outcome} by {actor.name}: {reason}", actor)
    return run


def _settle(run: Run, outcome: str, sentence: str, actor: Actor) -> None:
    unsettled = Execution.objects.filter(run=run, status__in=UNSETTLED)
    now = clock()
    if outcome == "retry":
        unsettled.exclude(status=ExecutionStatus.STARTED).update(
            retry_granted_at=now, claim_token=None
        )
    else:
        stands = ExecutionStatus.SUCCEEDED if outcome == "done" else ExecutionStatus.ABANDONED
        rows = list(unsettled.select_for_update())
        for row in rows:
            mark(row, stands, sentence, settled_by=actor, finished_at=now, claim_token=None)
        if outcome == "abandon" or not rows:
            status = RunStatus.COMPLETED if outcome == "done" else RunStatus.FAILED
            end(run, status, {"outcome": status, "summary": sentence})
            cancel_pending(run, actor, sentence)
            return
    go_on(run, may_continue=True)
    outbox.nudge_thread(run.thread_id)


def _must_not_have_ended(run: Run) -> None:
    if run.status in ENDED:
        raise AlreadyEnded(f"This workflow has already ended: {run.status}.")


def _drafted(workflow: str, task: Mapping[str, Any], facts: Mapping[str, Any]) -> Run:
    run_id = uuid4()
    graph, version, graph_input = _planned(run_id, workflow, task, facts)
    return Run(
        id=run_id,
        workflow=workflow,
        graph=graph,
        graph_version=version,
        thread_id=str(run_id),
        task=dict(task),
        input=graph_input,
        steps=shown_steps(graph_input) if graph == BUILT_IN else [],
        wanted=1,
        **facts,
    )


def _planned(
    run_id: UUID, workflow: str, task: Mapping[str, Any], facts: Mapping[str, Any]
) -> tuple[str, str, dict[str, Any]]:
    """The graph, its version and what it starts from; InvalidInput where the task does not fit."""
    registered = graph_spec(workflow) if workflow != BUILT_IN else None
    if registered is not None:
        return registered.name, registered.version, dict(task)
    template = workflow_templates().get(workflow)
    if template is None and workflow != SINGLE_TASK:
        known = ", ".join([SINGLE_TASK, *workflow_templates()])
        raise InvalidInput("workflow", f"There is no workflow {workflow!r}; there are {known}.")
    try:
        steps = single_step(task) if template is None else template.plan({**task, **facts})
    except UnfitTask as error:
        raise InvalidInput("task", str(error)) from error
    spec = graph_spec(BUILT_IN)
    if spec is None:
        raise RuntimeError("the built-in graph is always there")
    return (
        spec.name,
        spec.version,
        {
            "run_id": str(run_id),
            "facts": _shared_facts(task, facts),
            "steps": steps,
            "position": 0,
            "results": [],
        },
    )


def _shared_facts(task: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What every step is assessed with beside its own words: whatever else the task says."""
    own = {"operation", "environment", "description", "arguments", "agent", "action", "step"}
    said = {key: value for key, value in task.items() if key not in own}
    return {**said, **{key: value for key, value in facts.items() if value}}


def _check(task: Mapping[str, Any], facts: Mapping[str, Any], asked: Mapping[str, str]) -> None:
    if (fault := intake.task_fault(task)) is not None:
        raise InvalidInput("task", f"The task {fault}.")
    url, repository = facts["pr_url"], facts["github_repo"]
    must_be_texts({"pr_url": url, "github_repo": repository, **asked})
    must_be_one_pull_request(facts["pr_number"], url, repository)


def _existing(actor: Actor, key: str) -> Run | None:
    """The run that the key began before, if any; nobody else uses it until the commit."""
    # The constraint does not see keys of nobody's, and would fail with the task in the statement.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"starting {actor.user_id} {key}"],
        )
    return Run.objects.filter(opened_by_id=actor.user_id, idempotency_key=key).first()


def _same(run: Run, body_digest: str) -> Run:
    if run.idempotency_digest != body_digest:
        raise IdempotencyConflict(
            f"The idempotency key was used before with another body, for workflow {run.pk}."
        )
    return run
