"""What channels still have to be told, for whoever has to find out why one was not."""

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest, HttpResponse

from approvals import services
from approvals.admin.access import ReadOnlyAdmin, RowAdmin, shown
from approvals.admin.reasons import Verb, act_with_reason
from approvals.core.lifecycle import Actor
from approvals.models import ChannelPause, Delivery, Heartbeat
from approvals.selectors.request import delivery_state
from approvals.wording import plain

_REQUEST, _REFERENCE, _LAST_ERROR = shown("request"), shown("reference"), shown("last_error")


class StateFilter(admin.SimpleListFilter):
    """Deliveries by how they stand."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: RowAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
        """The states in words."""
        return [
            ("stopped", "given up"),
            ("failing", "failing, tried again"),
            ("owed", "owed"),
            ("told", "told"),
        ]

    def queryset(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Delivery],
    ) -> QuerySet[Delivery]:
        """The deliveries in the chosen state; the same rule as `delivery_state`."""
        open_rows = Q(gave_up_at=None, done__lt=F("wanted"))
        by_state = {
            "stopped": Q(gave_up_at__isnull=False),
            "failing": open_rows & Q(attempts__gt=0),
            "owed": open_rows & Q(attempts=0),
            "told": Q(gave_up_at=None, done__gte=F("wanted")),
        }
        return queryset.filter(by_state.get(self.value() or "", Q()))


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """One channel's news of one request."""

    list_display = (
        _REQUEST,
        "channel",
        "state",
        "attempts",
        "not_before",
        _REFERENCE,
        "short_error",
    )
    list_filter = (StateFilter, "channel")
    list_select_related = ("request",)
    search_fields = ("=request__linear_issue_id", "=reference", "=request__workflow_id")
    search_help_text = "A Linear identifier, what the channel calls it, or a workflow."
    ordering = ("-id",)
    actions = ("retry",)
    fields = (
        _REQUEST,
        "channel",
        "state",
        ("wanted", "done", "told"),
        "attempts",
        ("not_before", "lease_until", "gave_up_at", "delivered_at"),
        _LAST_ERROR,
        (_REFERENCE, "url"),
        "memory",
    )
    readonly_fields = ("state", _REQUEST, _LAST_ERROR, _REFERENCE)

    @admin.display(description="state")
    def state(self, row: Delivery) -> str:
        """How the delivery stands."""
        return delivery_state(row)

    @admin.display(description="last error")
    def short_error(self, row: Delivery) -> str:
        """The beginning of the last error."""
        text = plain(row.last_error)
        return text if len(text) <= 120 else f"{text[:119]}…"

    @admin.action(description="Try the chosen deliveries again now")
    def retry(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> HttpResponse | None:
        """Owe the channel another look."""
        return act_with_reason(self, request, queryset, Verb("retry", "Try again now", _retry))


@admin.register(ChannelPause)
class ChannelPauseAdmin(ReadOnlyAdmin):
    """Channels that asked for silence."""

    list_display = ("channel", "until_at")


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """When background processes were last seen."""

    list_display = ("name", "seen_at")


def _retry(row: Delivery, actor: Actor, reason: str) -> str:
    services.retry_delivery(row.pk, actor=actor, reason=reason)
    return "tried again now."
