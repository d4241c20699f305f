"""Runs and their executions for operators: read-only, except through the verbs."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents import services
from agents.models import Execution, Run
from approvals.admin.access import ReadOnlyAdmin, ReadOnlyInline
from approvals.admin.reasons import Verb, act_with_reason
from approvals.core.lifecycle import Actor
from approvals.masking import masked, masked_action
from approvals.wording import readable_json


class ExecutionInline(ReadOnlyInline):
    """What the run has begun."""

    model = Execution
    fields = ("position", "status", "attempts", "started_at", "finished_at", "summary")
    ordering = ("position",)


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs, with the way out of what needs attention."""

    list_display = ("id", "workflow", "status", "requested_by", "created_at", "short_attention")
    list_filter = ("status", "workflow")
    list_select_related = ("opened_by",)
    search_fields = ("=id", "=thread_id", "requested_by")
    search_help_text = "The run's id, or who asked for it."
    ordering = ("-created_at",)
    inlines = (ExecutionInline,)
    actions = ("settle_done", "settle_retry", "settle_abandon", "cancel")
    fields = (
        ("id", "workflow", "status"),
        "attention",
        ("graph", "graph_version", "thread_id"),
        ("requested_by", "opened_by"),
        ("pr_number", "pr_url", "github_repo"),
        ("created_at", "ended_at"),
        ("wanted", "done", "attempts", "not_before", "in_invocation"),
        "last_error",
        "steps",
        "masked_result",
        "masked_task",
    )
    readonly_fields = ("masked_result", "masked_task")

    @admin.display(description="needs attention because")
    def short_attention(self, row: Run) -> str:
        """The beginning of why a person is needed."""
        return row.attention if len(row.attention) <= 120 else f"{row.attention[:119]}…"

    @admin.display(description="result")
    def masked_result(self, row: Run) -> SafeString | str:
        """How it ended, secrets masked."""
        return "-" if row.result is None else _json(masked(row.result))

    @admin.display(description="task")
    def masked_task(self, row: Run) -> SafeString:
        """What was asked, secrets masked."""
        return _json(masked(row.task))

    @admin.action(description="Settle as done: the action did happen, go on")
    def settle_done(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Take a person's word that the action happened."""
        verb = Verb("settle_done", "Settle as done: the action did happen", _settle("done"))
        return act_with_reason(self, request, queryset, verb)

    @admin.action(description="Settle by a retry: begin the action once more")
    def settle_retry(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Take a person's word that the action may be begun again."""
        verb = Verb("settle_retry", "Begin the action once more", _settle("retry"))
        return act_with_reason(self, request, queryset, verb)

    @admin.action(description="Abandon: it did not happen and shall not")
    def settle_abandon(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """End a run as failed."""
        verb = Verb("settle_abandon", "Abandon: end the run as failed", _settle("abandon"))
        return act_with_reason(self, request, queryset, verb)

    @admin.action(description="Cancel the run and whatever it waits for")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """End a run that has not ended."""
        return act_with_reason(self, request, queryset, Verb("cancel", "Cancel the run", _cancel))


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    """Every action that was begun, with its output."""

    list_display = ("key", "run", "status", "attempts", "started_at", "finished_at", "summary")
    list_filter = ("status",)
    list_select_related = ("run",)
    search_fields = ("=key", "=run__id", "=request_id")
    ordering = ("-started_at",)
    fields = (
        ("key", "run", "position", "request_id"),
        ("status", "attempts"),
        ("started_at", "finished_at", "lease_until", "retry_granted_at"),
        "exact_action",
        "digest",
        "summary",
        "output",
        "data",
    )
    readonly_fields = ("exact_action",)

    @admin.display(description="action")
    def exact_action(self, row: Execution) -> SafeString:
        """The frozen action, secrets masked."""
        return _json(masked_action(row.run.task, row.action))


def _json(value: Any) -> SafeString:
    return format_html('<pre class="hitl-json">{}</pre>', readable_json(value))


def _settle(outcome: str) -> Callable[[Run, Actor, str], str]:
    return partial(_settle_as, outcome)


def _settle_as(outcome: str, run: Run, actor: Actor, reason: str) -> str:
    services.settle_run(run.pk, outcome, actor=actor, reason=reason)
    return f"settled as {outcome}."


def _cancel(run: Run, actor: Actor, reason: str) -> str:
    services.cancel_run(run.pk, actor=actor, reason=reason)
    return "cancelled."
