"""Approval requests: read here, decided and cancelled by the same verbs as anywhere."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import masking, services, wording
from approvals.admin.access import ReadOnlyAdmin, ReadOnlyInline, ShownValues, shown
from approvals.admin.reasons import Verb, act_with_reason
from approvals.core.lifecycle import Actor, Choice
from approvals.models import ApprovalRequest, ClockTimestamp, Delivery, Vote
from approvals.selectors.request import delivery_state, status_at, timeline

_COMMENT, _REFERENCE, _LAST_ERROR = shown("comment"), shown("reference"), shown("last_error")
_OPERATION, _ENVIRONMENT = shown("operation"), shown("environment")
_AGENT, _ASKED_BY = shown("agent_name", "agent"), shown("requested_by", "asked by")
_DECIDED_BY, _REASON = shown("decided_by"), shown("decision_reason")
_WORKFLOW, _THREAD = shown("workflow_id", "workflow"), shown("thread_id", "thread")
_CHECKPOINT = shown("checkpoint_id", "checkpoint")
_REPOSITORY, _PULL = shown("github_repo", "repository"), shown("pr_url", "pull request")


class VoteInline(ReadOnlyInline):
    """Who voted what."""

    model = Vote
    fields = readonly_fields = ("user", "choice", _COMMENT, "via", "cast_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Vote]:
        """Votes with their people, in one query."""
        rows: QuerySet[Vote] = super().get_queryset(request).select_related("user")
        return rows.order_by("cast_at")


class DeliveryInline(ReadOnlyInline):
    """What each channel has been told."""

    model = Delivery
    fields = readonly_fields = (
        "channel",
        "state",
        "attempts",
        _REFERENCE,
        _LAST_ERROR,
        "delivered_at",
    )
    show_change_link = True
    ordering = ("channel",)

    @admin.display(description="state")
    def state(self, row: Delivery) -> str:
        """How the delivery stands."""
        return delivery_state(row)


@admin.register(ApprovalRequest)
class ApprovalRequestAdmin(ReadOnlyAdmin):
    """A request with its votes, deliveries and everything that happened."""

    list_display = (
        "headline",
        "risk_level",
        "shown_status",
        _AGENT,
        _ASKED_BY,
        "created_at",
        "expires_at",
        _DECIDED_BY,
        "linear_issue_id",
    )
    list_filter = (
        "status",
        "risk_level",
        ("agent_name", ShownValues),
        ("environment", ShownValues),
    )
    search_fields = ("=linear_issue_id", "=workflow_id", "=thread_id", "=pr_url", "=requested_by")
    search_help_text = (
        "A request's id, its Linear identifier, workflow, thread or pull request, or who asked."
    )
    date_hierarchy = "created_at"
    ordering = ("-created_at", "-id")
    actions = ("approve", "reject", "cancel")
    inlines = (VoteInline, DeliveryInline)
    readonly_fields = (
        "shown_status",
        "exact_action",
        "masked_task",
        "why",
        "frozen_policy",
        "page",
        "replaced_by",
        _OPERATION,
        _ENVIRONMENT,
        _AGENT,
        _ASKED_BY,
        _DECIDED_BY,
        _REASON,
        _WORKFLOW,
        _THREAD,
        _CHECKPOINT,
        _REPOSITORY,
        _PULL,
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "page",
                    ("shown_status", "risk_level"),
                    (_OPERATION, _ENVIRONMENT),
                    (_AGENT, _ASKED_BY, "opened_by"),
                    ("created_at", "expires_at"),
                    ("decided_at", _DECIDED_BY),
                    _REASON,
                    "replaced_by",
                )
            },
        ),
        ("What will run", {"fields": ("exact_action", "digest", "masked_task")}),
        ("Why, and who decides", {"fields": ("why", "frozen_policy", "eligible")}),
        (
            "Where it belongs",
            {
                "fields": (
                    (_WORKFLOW, _THREAD, _CHECKPOINT),
                    ("linear_issue_id", "linear_issue_url"),
                    (_REPOSITORY, "pr_number", _PULL),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApprovalRequest]:
        """Requests with the database's clock, which says what is overdue."""
        rows: QuerySet[ApprovalRequest] = super().get_queryset(request)
        return rows.select_related("opened_by").annotate(now=ClockTimestamp())

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ApprovalRequest], search_term: str
    ) -> tuple[QuerySet[ApprovalRequest], bool]:
        """An id finds its request; anything else is compared with the other identifiers."""
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """The request's page, with the audit timeline below it."""
        row = self.get_object(request, object_id)
        context = {
            "subtitle": None if row is None else wording.plain(row),
            "timeline": _timeline(object_id),
            "offered_actions": [("approve", "Approve"), ("reject", "Reject"), ("cancel", "Cancel")],
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    @admin.display(description="status", ordering="status")
    def shown_status(self, row: ApprovalRequest) -> str:
        """The status people should see."""
        return status_at(row, row.now)  # type: ignore[attr-defined]  # annotated above

    @admin.display(description="request", ordering="operation")
    def headline(self, row: ApprovalRequest) -> str:
        """The operation in words."""
        return wording.headline(row.title)

    @admin.display(description="replaced by")
    def replaced_by(self, row: ApprovalRequest) -> SafeString | str:
        """The way to the request that superseded this one."""
        if row.superseded_by_id is None:
            return "-"
        return format_html('<a href="/approvals/{0}/">{0}</a>', row.superseded_by_id)

    @admin.display(description="page")
    def page(self, row: ApprovalRequest) -> SafeString:
        """The way to the request's page."""
        return format_html('<a href="/approvals/{}/">Open in the queue</a>', row.pk)

    @admin.display(description="action")
    def exact_action(self, row: ApprovalRequest) -> SafeString | str:
        """The frozen action, secrets masked."""
        if row.action is None:
            return "The workflow itself carries this out."
        return _json(masking.masked_action(row.task, row.action))

    @admin.display(description="task")
    def masked_task(self, row: ApprovalRequest) -> SafeString:
        """The task, secrets masked."""
        return _json(masking.masked(row.task))

    @admin.display(description="matched rules")
    def why(self, row: ApprovalRequest) -> SafeString:
        """Which rules matched, and why."""
        return _json(row.matches)

    @admin.display(description="policy")
    def frozen_policy(self, row: ApprovalRequest) -> SafeString:
        """The policy as it was when the request opened."""
        return _json(row.policy)

    @admin.action(description="Approve the chosen requests")
    def approve(
        self, request: HttpRequest, queryset: QuerySet[ApprovalRequest]
    ) -> HttpResponse | None:
        """Vote to approve."""
        verb = Verb("approve", "Approve", _voting(Choice.APPROVE), reason_required=False)
        return act_with_reason(self, request, queryset, verb)

    @admin.action(description="Reject the chosen requests")
    def reject(
        self, request: HttpRequest, queryset: QuerySet[ApprovalRequest]
    ) -> HttpResponse | None:
        """Vote to reject."""
        verb = Verb("reject", "Reject", _voting(Choice.REJECT))
        return act_with_reason(self, request, queryset, verb)

    @admin.action(description="Cancel the chosen requests")
    def cancel(
        self, request: HttpRequest, queryset: QuerySet[ApprovalRequest]
    ) -> HttpResponse | None:
        """Withdraw."""
        return act_with_reason(self, request, queryset, Verb("cancel", "Cancel", _cancel))


def _json(value: Any) -> SafeString:
    return format_html('<pre class="hitl-json">{}</pre>', wording.readable_json(value))


def _timeline(object_id: str) -> list[tuple[Any, wording.Told]]:
    try:
        stream = UUID(object_id)
    except ValueError:
        return []
    return [(entry, wording.told(entry.name, entry.data)) for entry in timeline(stream)]


def _voting(choice: Choice) -> Any:
    def vote(row: ApprovalRequest, actor: Actor, reason: str) -> str:
        ballot = services.cast_vote(row.pk, actor=actor, choice=choice, comment=reason)
        return f"now {ballot.status}, {ballot.approvals} of {ballot.quorum} approvals."

    return vote


def _cancel(row: ApprovalRequest, actor: Actor, reason: str) -> str:
    services.cancel_request(row.pk, actor=actor, reason=reason)
    return "now cancelled."
