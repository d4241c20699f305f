"""What channels still have to be told, for whoever has to find out why one was not."""

from collections.abc import Sequence

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from approvals import outbox, services
from approvals.actors import able as actor_able
from approvals.admin import cells, search
from approvals.admin.access import RowAdmin, able
from approvals.admin.cells import (
    age,
    outside_pages,
    request_page,
    request_risk,
    run_page,
    shown,
    told_state,
)
from approvals.admin.concerns import Concern, Urgency, concern
from approvals.admin.filters import OfRisk, OneOf, known
from approvals.admin.history import History, history_of
from approvals.admin.lists import Offer, ReadOnlyAdmin
from approvals.admin.reasons import Verb, acting
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability
from approvals.masking import quiet_json
from approvals.models import ChannelPause, Delivery, Heartbeat
from approvals.selectors.request import delivery_state

_REFERENCE, _LAST_ERROR = shown("reference"), shown("last_error", quiet=True)
_SHORT_ERROR = shown("last_error", most=120, quiet=True)


class StateFilter(OneOf):
    """Deliveries by how they stand."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: RowAdmin) -> list[tuple[str, str]]:  # noqa: ARG002
        """The states in words."""
        return [
            ("given_up", "given up"),
            ("failing", "failing, tried again"),
            ("owed", "owed"),
            ("told", "told"),
        ]

    @staticmethod
    def conditions() -> dict[str, Q]:
        """The same rule as `delivery_state`; what is given up is untold, as its index says."""
        untold = Q(done__lt=F("wanted"))
        open_rows = untold & Q(gave_up_at=None)
        return {
            "given_up": untold & Q(gave_up_at__isnull=False),
            "failing": open_rows & Q(attempts__gt=0),
            "owed": open_rows & Q(attempts=0),
            "told": Q(gave_up_at=None, done__gte=F("wanted")),
        }


def _retry(row: Delivery, actor: Actor, reason: str) -> str:
    services.retry_delivery(row.pk, actor=actor, reason=reason)
    return "tried again now."


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """One channel's news of one request."""

    list_display = (
        request_page,
        "channel",
        told_state,
        "attempts",
        "next_attempt",
        _SHORT_ERROR,
        request_risk,
        run_page,
        outside_pages,
        age("delivered_at", "told"),
    )
    list_display_links = ("channel",)
    list_filter = (
        StateFilter,
        known("channel", "channel", outbox.channels),
        OfRisk,
    )
    list_deferred = (
        *("memory", "url"),
        *("request__action", "request__matches", "request__policy"),
    )
    search_fields = ("pk",)
    search_help_text = (
        "A request's id, its Linear identifier, workflow or pull request, who asked, or the"
        " delivery's number."
    )
    ordering = ("-id",)
    actions = (
        acting(
            Verb(
                "retry",
                "Try again now",
                _retry,
                meaning="The channel is shown the request as it is now; nothing is told twice.",
            ),
            "Try the chosen deliveries again now",
        ),
    )
    fieldsets = (
        (None, {"fields": ((request_page, run_page), ("channel", told_state), "attempts")}),
        ("Last error", {"fields": (_LAST_ERROR,)}),
        (
            "When",
            {
                "fields": (
                    ("next_attempt", "not_before"),
                    ("delivered_at", "gave_up_at"),
                    "lease_until",
                )
            },
        ),
        (
            "What it knows",
            {"fields": (("wanted", "done", "told"), (_REFERENCE, "address"), "folded_memory")},
        ),
    )
    readonly_fields = (
        request_page,
        run_page,
        told_state,
        "next_attempt",
        "address",
        "folded_memory",
        _LAST_ERROR,
        _REFERENCE,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Deliveries with their requests."""
        rows: QuerySet[Delivery] = super().get_queryset(request)
        return rows.select_related("request")

    def meant(self, term: str) -> Q:
        """A delivery by its number, or the deliveries of the requests that are meant."""
        number = search.as_number(term)
        return Q(request__in=search.request_ids(term)) | (Q() if number is None else Q(pk=number))

    def may_take(self, request: HttpRequest, action: str) -> bool:  # noqa: ARG002
        """Operators retry."""
        return able(request, Ability.RETRY_DELIVERY)

    def offers(self, row: Delivery, actor: Actor) -> Sequence[Offer]:
        """Another attempt, for operators, while the channel has not been told."""
        if row.done >= row.wanted or not actor_able(actor, Ability.RETRY_DELIVERY):
            return ()
        return (Offer("retry", "Try again now"),)

    def history(self, row: Delivery) -> History:
        """What of the request's history is about this channel."""
        about = Q(name__startswith="delivery.", data__channel=row.channel)
        title = f"What happened with {row.channel}"
        return history_of(row.request_id, title, about, given=row.given)

    def concerns(self) -> Sequence[Concern]:
        """Those that nobody tries any more."""
        rows = Delivery.objects.filter(StateFilter.conditions()["given_up"])
        words = ("delivery given up", "deliveries given up")
        return (concern(Urgency.UNTOLD, Delivery, rows, words, "state=given_up"),)

    @admin.display(description="next attempt")
    def next_attempt(self, row: Delivery) -> SafeString | str:
        """When it is tried, where it still is."""
        if delivery_state(row) not in {"owed", "failing"}:
            return cells.NOTHING
        return "due" if row.not_before <= row.now else cells.moment(row.not_before, row.now)  # type: ignore[attr-defined]

    @admin.display(description="address")
    def address(self, row: Delivery) -> SafeString | str:
        """Where people see what the channel was told."""
        return cells.outside(row.url, row.url)

    @admin.display(description="memory")
    def folded_memory(self, row: Delivery) -> SafeString:
        """What the channel keeps about the request."""
        return cells.folded(quiet_json(row, row.memory))


@admin.register(ChannelPause)
class ChannelPauseAdmin(ReadOnlyAdmin):
    """Channels that asked for silence."""

    list_display = ("channel", "until_at")
    ordering = ("channel",)


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnlyAdmin):
    """When background processes were last seen."""

    list_display = ("name", "seen_at", age("seen_at", "seen"))
    ordering = ("name",)
