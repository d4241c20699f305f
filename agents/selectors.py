"""Reads of runs: what the pages, the API, the admin and the commands show."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet, Subquery

from agents.models import ENDED, Execution, Run, RunStatus
from agents.outline import Outline, outline
from agents.registry import BUILT_IN
from approvals.core.events import EventName
from approvals.errors import RequestNotFound
from approvals.models import AuditEntry
from approvals.selectors.request import (
    Asked,
    asked_by_threads,
    latest_entries,
    statuses_of_workflow,
)

PAGE_SIZE = 50
# More than that is looked at with the filter, where it has pages.
ATTENTION_SHOWN = 20
ENTRIES_SHOWN = 200
# What a run's own page tells; who voted and which channel was told stands on the request's.
_TOLD = tuple(name for name in EventName if name.startswith(("run.", "execution.", "request.")))
_PART_OF_ID = re.compile(r"[0-9a-f]{4,32}")


@dataclass(frozen=True)
class RunView:
    """A run, with the requests it has opened so far."""

    run: Run
    approvals: Sequence[dict[str, Any]]


def get_run(run_id: UUID) -> RunView:
    """The run and where its requests stand; RequestNotFound."""
    return RunView(_found(run_id), statuses_of_workflow(str(run_id)))


@dataclass(frozen=True)
class RunRow:
    """A run as a list shows it."""

    run: Run
    outline: Outline


@dataclass(frozen=True)
class RunList:
    """One page of runs: those that need attention apart, on the first page without a status."""

    attention: Sequence[RunRow]
    more_attention: bool
    rows: Sequence[RunRow]
    next_after: UUID | None


def list_runs(
    filters: Mapping[str, Any], now: datetime, *, after: UUID | None = None, limit: int = PAGE_SIZE
) -> RunList:
    """Runs that fit the filters, newest first, older than the run `after` where one is given.

    `filters` may hold status, workflow, and text: the beginning of an id, or who asked.
    """
    runs = _filtered(filters)
    stopped: list[Run] = []
    if "status" not in filters:
        if after is None:
            needy = runs.filter(status=RunStatus.NEEDS_ATTENTION)
            stopped = list(needy[: ATTENTION_SHOWN + 1])
        runs = runs.exclude(status=RunStatus.NEEDS_ATTENTION)
    if after is not None:
        runs = _older(runs, after)
    found = list(runs[: limit + 1])
    shown, more_stopped = stopped[:ATTENTION_SHOWN], len(stopped) > ATTENTION_SHOWN
    rows = _rows([*shown, *found[:limit]], now)
    next_after = found[limit - 1].pk if len(found) > limit else None
    return RunList(rows[: len(shown)], more_stopped, rows[len(shown) :], next_after)


def _filtered(filters: Mapping[str, Any]) -> QuerySet[Run]:
    runs = Run.objects.defer("result").order_by("-created_at", "-pk")
    for field in ("status", "workflow"):
        if value := filters.get(field):
            runs = runs.filter(**{field: value})
    if text := str(filters.get("text") or "").strip():
        fits = Q(requested_by=text)
        digits = text.replace("-", "").casefold()
        if _PART_OF_ID.fullmatch(digits):
            fits |= Q(pk__range=(UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))))
        runs = runs.filter(fits)
    return runs


def _older(runs: QuerySet[Run], after: UUID) -> QuerySet[Run]:
    # A run is never deleted, so its id is as good a place in the list as any cursor.
    began = Subquery(Run.objects.filter(pk=after).values("created_at"))
    newer = Q(created_at=began, pk__gte=after)
    return runs.filter(created_at__lte=began).exclude(newer)


def _rows(runs: Sequence[Run], now: datetime) -> list[RunRow]:
    going = [run for run in runs if run.status not in ENDED]
    waiting = asked_by_threads([run.thread_id for run in going], now, pending=True) if going else []
    asked: dict[str, list[Asked]] = defaultdict(list)
    for request in waiting:
        asked[request.thread_id].append(request)
    begun: dict[UUID, list[Execution]] = defaultdict(list)
    executions = Execution.objects.filter(run__in=going).order_by("started_at")
    for execution in executions.only("run_id", "position", "request_id", "status", "summary"):
        begun[execution.run_id].append(execution)
    return [
        RunRow(run, outline(run, asked[run.thread_id], begun[run.pk], planned=_planned(run)))
        for run in runs
    ]


@dataclass(frozen=True)
class RunDetail:
    """A run with everything its page tells."""

    run: Run
    outline: Outline
    requests: Mapping[UUID, Asked]
    entries: Sequence[AuditEntry]


def run_detail(run_id: UUID, now: datetime) -> RunDetail:
    """The run with its steps, requests, actions and the latest of its log; RequestNotFound."""
    run = _found(run_id)
    asked = asked_by_threads([run.thread_id], now)
    executions = list(Execution.objects.filter(run=run).order_by("position", "started_at"))
    entries = latest_entries([run.pk, *(request.id for request in asked)], _TOLD, ENTRIES_SHOWN)
    planned = _planned(run)
    return RunDetail(
        run,
        outline(run, asked, executions, planned=planned),
        {request.id: request for request in asked},
        entries,
    )


def run_outline(thread_id: str, now: datetime) -> RunRow | None:
    """The run of a thread and where it stands, in two queries; None where there is none."""
    run = Run.objects.defer("result").filter(thread_id=thread_id).first()
    if run is None:
        return None
    asked = asked_by_threads([thread_id], now)
    return RunRow(run, outline(run, asked, planned=_planned(run)))


def get_execution(run_id: UUID, execution_id: UUID) -> Execution:
    """What the run began, with the run; RequestNotFound."""
    rows = Execution.objects.select_related("run").filter(run=run_id, pk=execution_id)
    row = rows.first()
    if row is None:
        raise RequestNotFound(f"The run {run_id} began no action {execution_id}.")
    return row


def _found(run_id: UUID) -> Run:
    run = Run.objects.filter(pk=run_id).first()
    if run is None:
        raise RequestNotFound(f"There is no workflow {run_id}.")
    return run


def _planned(run: Run) -> Sequence[Mapping[str, Any]]:
    if run.graph != BUILT_IN:
        return ()
    planned: Sequence[Mapping[str, Any]] = run.input.get("steps", ())
    return planned
