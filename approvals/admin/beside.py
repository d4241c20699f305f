"""What stands beside a request on its page: votes, deliveries, and what was heard of it."""

from django.db.models import QuerySet
from django.http import HttpRequest

from approvals.admin.cells import heard_outcome, shown, told_state
from approvals.admin.lists import ReadOnlyInline
from approvals.models import Delivery, InboundWebhook, Vote

_COMMENT, _LAST_ERROR = shown("comment", quiet=True), shown("last_error", quiet=True)
_DELIVERY_ID, _WHY = shown("delivery_id", "delivery id"), shown("reason", quiet=True)
_REFERENCE = shown("reference")


class VoteInline(ReadOnlyInline):
    """Who voted what."""

    model = Vote
    fields = readonly_fields = ("user", "choice", _COMMENT, "via", "cast_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Vote]:
        """Votes with their people, in one query."""
        rows: QuerySet[Vote] = super().get_queryset(request).select_related("user", "request")
        return rows.order_by("cast_at")


class DeliveryInline(ReadOnlyInline):
    """What each channel has been told."""

    model = Delivery
    fields = readonly_fields = (
        "channel",
        told_state,
        "attempts",
        _REFERENCE,
        _LAST_ERROR,
        "delivered_at",
    )
    show_change_link = True
    ordering = ("channel",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Deliveries with the request, whose secrets they may repeat."""
        rows: QuerySet[Delivery] = super().get_queryset(request)
        return rows.select_related("request")


class WebhookInline(ReadOnlyInline):
    """What was heard about it."""

    model = InboundWebhook
    fields = readonly_fields = ("received_at", "source", heard_outcome, _WHY, _DELIVERY_ID)
    show_change_link = True
    ordering = ("id",)
    verbose_name_plural = "heard from outside"

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundWebhook]:
        """Webhooks without their bodies, with the request whose secrets they may repeat."""
        rows: QuerySet[InboundWebhook] = super().get_queryset(request)
        return rows.defer("body").select_related("request")
