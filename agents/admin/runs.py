"""Runs for operators: read-only, except through the verbs."""

from collections.abc import Sequence
from functools import partial

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from agents import services
from agents.admin.executions import ExecutionInline
from agents.models import ENDED, Run, RunStatus
from approvals.actors import able as actor_able
from approvals.admin import cells, search
from approvals.admin.access import able
from approvals.admin.cells import age, shown, shown_status
from approvals.admin.concerns import Concern, Urgency, concern
from approvals.admin.filters import newest
from approvals.admin.history import History, history_of
from approvals.admin.lists import Offer, ReadOnlyAdmin
from approvals.admin.reasons import Verb, acting
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability, to_cancel
from approvals.masking import masked_beside, quiet_json
from approvals.selectors.request import statuses_of_workflow
from approvals.wording import headline

_WORKFLOW, _ASKED_BY = shown("workflow"), shown("requested_by", "asked by")
_SHORT_ASKED_BY = shown("requested_by", "asked by", most=40)
_ATTENTION = shown("attention", "needs attention because", quiet=True)
_SHORT_ATTENTION = shown("attention", "needs attention because", most=120, quiet=True)
_LAST_ERROR, _THREAD = shown("last_error", quiet=True), shown("thread_id", "thread")


def _settle(outcome: str, run: Run, actor: Actor, reason: str) -> str:
    services.settle_run(run.pk, outcome, actor=actor, reason=reason)
    return f"settled as {outcome}."


def _cancel(run: Run, actor: Actor, reason: str) -> str:
    services.cancel_run(run.pk, actor=actor, reason=reason)
    return "cancelled."


_DONE = Verb(
    "settle_done",
    "Settle as done: the action did happen",
    partial(_settle, "done"),
    meaning="The action counts as succeeded, and the run goes on with the next step. Where no"
    " action stands open the run ends as completed, and what it still waits for is cancelled.",
)
_RETRY = Verb(
    "settle_retry",
    "Begin the action once more",
    partial(_settle, "retry"),
    meaning="The action is begun once more, with the same key. Where none stands open the run goes"
    " on where it stopped. Look first: what may have happened would happen twice.",
)
_ABANDON = Verb(
    "settle_abandon",
    "Abandon: end the run as failed",
    partial(_settle, "abandon"),
    meaning="The action counts as not done, and the run ends as failed. Its rollback steps do not"
    " run; what it still waits for is cancelled.",
)
_CANCEL = Verb(
    "cancel",
    "Cancel the run",
    _cancel,
    meaning="The run ends, and what it waits for is cancelled. An action that is at work is not"
    " interrupted, and nothing that has run is undone.",
)


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs, with the way out of what needs attention."""

    list_display = (
        "name",
        shown_status,
        _SHORT_ATTENTION,
        _SHORT_ASKED_BY,
        "pull",
        age("created_at", "started"),
        age("ended_at", "ended"),
    )
    list_filter = (
        "status",
        newest("workflow", "workflow"),
        ("created_at", admin.DateFieldListFilter),
    )
    list_deferred = ("steps", "result", "last_error")
    search_fields = ("pk",)
    search_help_text = (
        "The run's id, a request's id or Linear identifier, a pull request, or who asked."
    )
    sortable_by = ("created_at",)
    ordering = ("-created_at",)
    inlines = (ExecutionInline,)
    actions = (
        acting(_DONE, "Settle as done: the action did happen, go on"),
        acting(_RETRY, "Settle by a retry: begin the action once more"),
        acting(_ABANDON, "Abandon: it did not happen and shall not"),
        acting(_CANCEL, "Cancel the run and whatever it waits for"),
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    (_WORKFLOW, shown_status),
                    _ATTENTION,
                    (_ASKED_BY, "opened_by", "pull"),
                    ("created_at", "ended_at"),
                    "requests",
                )
            },
        ),
        ("What was asked, and how it ended", {"fields": ("masked_task", "masked_result")}),
        (
            "Inside",
            {
                "fields": (
                    ("id", _THREAD),
                    ("graph", "graph_version"),
                    ("wanted", "done", "attempts"),
                    ("not_before", "in_invocation", "purged_at"),
                    _LAST_ERROR,
                    "folded_steps",
                )
            },
        ),
    )
    readonly_fields = (
        shown_status,
        "pull",
        "requests",
        "masked_result",
        "masked_task",
        "folded_steps",
        _WORKFLOW,
        _ATTENTION,
        _ASKED_BY,
        _THREAD,
        _LAST_ERROR,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        """Runs with the accounts that asked."""
        rows: QuerySet[Run] = super().get_queryset(request)
        return rows.select_related("opened_by")

    def meant(self, term: str) -> Q:
        """Runs by their own identifiers, and those of the requests that are meant."""
        found = Q(thread_id__in=[term, *search.threads_meant(term)]) | search.pull_meant(term)
        found |= Q(requested_by=term) | Q(opened_by__in=search.accounts_meant(term))
        identifier = search.as_uuid(term)
        return found if identifier is None else found | Q(pk=identifier)

    def may_take(self, request: HttpRequest, action: str) -> bool:
        """Operators settle; whoever asked, and operators, cancel."""
        # Anybody may have asked for something, and cancel that.
        return action == "cancel" or able(request, Ability.SETTLE_RUN)

    def offers(self, row: Run, actor: Actor) -> Sequence[Offer]:
        """The ways out, where the verbs would take them from whoever looks."""
        offers = []
        attention = row.status == RunStatus.NEEDS_ATTENTION
        if attention and actor_able(actor, Ability.SETTLE_RUN):
            offers += [
                Offer("settle_done", "It happened: go on"),
                Offer("settle_retry", "Begin it once more"),
                Offer("settle_abandon", "Abandon"),
            ]
        if row.status not in ENDED and actor_able(actor, to_cancel(actor, row.opened_by_id)):
            offers.append(Offer("cancel", "Cancel the run"))
        return offers

    def history(self, row: Run) -> History:
        """The run's stream."""
        return history_of(row.pk, "Audit timeline", given=row.given)

    def concerns(self) -> Sequence[Concern]:
        """Those that wait for a person's word."""
        rows = Run.objects.filter(status=RunStatus.NEEDS_ATTENTION)
        filtered = f"status__exact={RunStatus.NEEDS_ATTENTION}"
        words = ("run that needs attention", "runs that need attention")
        return (concern(Urgency.STOPPED, Run, rows, words, filtered),)

    @admin.display(description="run")
    def name(self, row: Run) -> str:
        """The workflow and the beginning of the id."""
        return f"{headline(row.workflow)} {str(row.pk)[:8]}"

    @admin.display(description="pull request")
    def pull(self, row: Run) -> SafeString | str:
        """The way to the pull request."""
        return cells.pull_link(row)

    @admin.display(description="requests")
    def requests(self, row: Run) -> SafeString | str:
        """The ways to what the run has asked, and how those stand."""
        asked = (
            (
                cells.status(one["status"]),
                reverse("request", args=[one["request_id"]]),
                headline(f"{one['operation']} to {one['environment']}".removesuffix(" to ")),
            )
            for one in statuses_of_workflow(str(row.pk))
        )
        return format_html_join("\n", '<p>{} <a href="{}">{}</a></p>', asked) or cells.NOTHING

    @admin.display(description="result")
    def masked_result(self, row: Run) -> SafeString | str:
        """How it ended, secrets masked."""
        return cells.NOTHING if row.result is None else cells.folded(quiet_json(row, row.result))

    @admin.display(description="task")
    def masked_task(self, row: Run) -> SafeString:
        """What was asked, secrets masked."""
        return cells.folded(quiet_json(row, row.task))

    @admin.display(description="steps")
    def folded_steps(self, row: Run) -> SafeString:
        """The steps as the run keeps them, secrets masked."""
        return cells.folded(masked_beside(row.given, row.steps))
