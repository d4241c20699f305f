"""Approval requests: read here, decided and cancelled by the same verbs as anywhere."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import DurationField, ExpressionWrapper, F, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from approvals import services, wording
from approvals.admin import cells, search
from approvals.admin.access import RowAdmin, able
from approvals.admin.beside import DeliveryInline, VoteInline, WebhookInline
from approvals.admin.cells import age, shown
from approvals.admin.concerns import Concern, Urgency, concern
from approvals.admin.filters import OneOf, newest
from approvals.admin.history import History, history_of
from approvals.admin.lists import Offer, ReadOnlyAdmin
from approvals.admin.reasons import Verb, acting
from approvals.core.lifecycle import Actor, Choice, Status
from approvals.core.risk import Risk
from approvals.core.roles import Ability
from approvals.masking import quiet_json
from approvals.models import ApprovalRequest, ClockTimestamp
from approvals.selectors.request import may_cancel, status_at, why_not

_OPERATION, _ENVIRONMENT = shown("operation"), shown("environment")
_AGENT, _ASKED_BY = shown("agent_name", "agent"), shown("requested_by", "asked by")
_SHORT_ASKED_BY = shown("requested_by", "asked by", most=40)
_DECIDED_BY, _REASON = shown("decided_by"), shown("decision_reason", quiet=True)
_WORKFLOW, _THREAD = shown("workflow_id", "workflow"), shown("thread_id", "thread")
_CHECKPOINT = shown("checkpoint_id", "checkpoint")


def _voting(choice: Choice) -> Any:
    def vote(row: ApprovalRequest, actor: Actor, reason: str) -> str:
        ballot = services.cast_vote_in_batch(row.pk, actor=actor, choice=choice, comment=reason)
        return f"now {ballot.status}, {ballot.approvals} of {ballot.quorum} approvals."

    return vote


def _cancel(row: ApprovalRequest, actor: Actor, reason: str) -> str:
    services.cancel_request(row.pk, actor=actor, reason=reason)
    return "now cancelled."


class TimeFilter(OneOf):
    """Pending requests by how much of their time is left."""

    title = "time left"
    parameter_name = "left"

    def lookups(self, request: HttpRequest, model_admin: RowAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
        """The choices in words."""
        return [
            ("half", "less than half"),
            ("hour", "less than an hour"),
            ("none", "none: expires at the next sweep"),
        ]

    @staticmethod
    def conditions() -> dict[str, Q]:
        """What each means by the database's clock."""
        now, pending = ClockTimestamp(), Q(status=Status.PENDING)
        whole = F("expires_at") - F("created_at")
        half = ExpressionWrapper(whole / 2, output_field=DurationField())
        alive = pending & Q(expires_at__gt=now)
        return {
            "half": alive & Q(expires_at__lte=now + half),
            "hour": alive & Q(expires_at__lte=now + timedelta(hours=1)),
            "none": pending & Q(expires_at__lte=now),
        }


@admin.register(ApprovalRequest)
class ApprovalRequestAdmin(ReadOnlyAdmin):
    """A request with its votes, deliveries and everything that happened."""

    list_display = (
        "headline",
        "shown_risk",
        "shown_status",
        "time_left",
        _AGENT,
        _SHORT_ASKED_BY,
        age("created_at", "opened"),
        _DECIDED_BY,
        "outside",
        "run",
        "page",
    )
    list_filter = (
        "status",
        TimeFilter,
        "risk_level",
        newest("agent_name", "agent"),
        newest("environment", "environment"),
        ("created_at", admin.DateFieldListFilter),
    )
    list_deferred = ("task", "action", "matches", "policy", "decision_reason")
    search_fields = ("pk",)
    search_help_text = (
        "A request's id, its Linear identifier, workflow, thread or pull request, or who asked."
    )
    sortable_by = ("created_at",)
    ordering = ("-created_at", "-id")
    actions = (
        acting(
            Verb("approve", "Approve", _voting(Choice.APPROVE), reason_required=False),
            "Approve the chosen requests",
        ),
        acting(Verb("reject", "Reject", _voting(Choice.REJECT)), "Reject the chosen requests"),
        acting(Verb("cancel", "Cancel", _cancel), "Cancel the chosen requests"),
    )
    inlines = (VoteInline, DeliveryInline, WebhookInline)
    readonly_fields = (
        "shown_risk",
        "shown_status",
        "time_left",
        "exact_action",
        "masked_task",
        "why",
        "frozen_policy",
        "page",
        "run",
        "issue",
        "pull",
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
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("page", "run"),
                    ("shown_status", "shown_risk", "time_left"),
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
            {"fields": (("issue", "pull"), (_WORKFLOW, _THREAD, _CHECKPOINT))},
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApprovalRequest]:
        """Requests with the accounts that asked."""
        rows: QuerySet[ApprovalRequest] = super().get_queryset(request)
        return rows.select_related("opened_by")

    def meant(self, term: str) -> Q:
        """Requests by any of their identifiers."""
        return search.requests_meant(term)

    def may_take(self, request: HttpRequest, action: str) -> bool:
        """Who decides, each request's policy says; whoever may decide none is offered no vote."""
        # Anybody may have asked for something, and cancel that.
        return action == "cancel" or able(request, Ability.DECIDE)

    def offers(self, row: ApprovalRequest, actor: Actor) -> Sequence[Offer]:
        """What the verbs would let whoever looks do now."""
        offers = []
        if why_not(row, actor, row.now) is None:  # type: ignore[attr-defined]  # annotated
            if row.risk_level != Risk.CRITICAL:
                offers.append(Offer("approve", "Approve"))
            offers.append(Offer("reject", "Reject"))
        if may_cancel(row, actor, row.now):  # type: ignore[attr-defined]  # annotated
            offers.append(Offer("cancel", "Cancel"))
        return offers

    def history(self, row: ApprovalRequest) -> History:
        """The request's stream."""
        return history_of(row.pk, "Audit timeline", given=row.given)

    def concerns(self) -> Sequence[Concern]:
        """Those that may expire before anybody looks."""
        rows = ApprovalRequest.objects.filter(TimeFilter.conditions()["half"])
        words = ("request past half of its time", "requests past half of their time")
        return (concern(Urgency.SOON, ApprovalRequest, rows, words, "left=half"),)

    @admin.display(description="status")
    def shown_status(self, row: ApprovalRequest) -> SafeString:
        """The status people should see."""
        return cells.status(status_at(row, row.now))  # type: ignore[attr-defined]  # annotated

    @admin.display(description="risk")
    def shown_risk(self, row: ApprovalRequest) -> SafeString:
        """The risk by shape, colour and word."""
        return cells.risk(row.risk_level)

    @admin.display(description="time left")
    def time_left(self, row: ApprovalRequest) -> SafeString | str:
        """How long it can still be decided."""
        now = row.now  # type: ignore[attr-defined]  # annotated
        if status_at(row, now) is not Status.PENDING:
            return cells.NOTHING
        return cells.moment(row.expires_at, now)

    @admin.display(description="request")
    def headline(self, row: ApprovalRequest) -> str:
        """The operation in words."""
        return wording.headline(row.title)

    @admin.display(description="replaced by")
    def replaced_by(self, row: ApprovalRequest) -> SafeString | str:
        """The way to the request that superseded this one."""
        return cells.request_link(None, row.superseded_by_id)

    @admin.display(description="page")
    def page(self, row: ApprovalRequest) -> SafeString:
        """The way to the request's page."""
        return cells.link(reverse("request", args=[row.pk]), "Open in the queue")

    @admin.display(description="run")
    def run(self, row: ApprovalRequest) -> SafeString | str:
        """The way to the run that asked."""
        return cells.run_link(row)

    @admin.display(description="Linear issue")
    def issue(self, row: ApprovalRequest) -> SafeString | str:
        """The way to the Linear issue."""
        return cells.issue_link(row)

    @admin.display(description="pull request")
    def pull(self, row: ApprovalRequest) -> SafeString | str:
        """The way to the pull request."""
        return cells.pull_link(row)

    @admin.display(description="Linear, pull request")
    def outside(self, row: ApprovalRequest) -> SafeString | str:
        """The ways to both."""
        return cells.links(row)

    @admin.display(description="action")
    def exact_action(self, row: ApprovalRequest) -> SafeString | str:
        """The frozen action, secrets masked."""
        if row.action is None:
            return "The workflow itself carries this out."
        return cells.folded(quiet_json(row, row.action))

    @admin.display(description="task")
    def masked_task(self, row: ApprovalRequest) -> SafeString:
        """The task, secrets masked."""
        return cells.folded(quiet_json(row, row.task))

    @admin.display(description="matched rules")
    def why(self, row: ApprovalRequest) -> SafeString:
        """Which rules matched, and why."""
        return cells.folded(row.matches)

    @admin.display(description="policy")
    def frozen_policy(self, row: ApprovalRequest) -> SafeString:
        """The policy as it was when the request opened."""
        return cells.folded(row.policy)
