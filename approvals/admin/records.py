"""What was said and done, for reading only."""

from django.contrib import admin

from approvals import wording
from approvals.admin.access import ReadOnlyAdmin
from approvals.models import AuditEntry, InboundWebhook, Vote


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The log over all streams, the newest first."""

    list_display = ("at", "name", "actor", "via", "words", "stream", "number")
    list_filter = ("name", "via")
    search_fields = ("=stream", "=actor")
    search_help_text = "A request's or run's whole id, or an actor's name."
    ordering = ("-id",)
    date_hierarchy = "at"

    @admin.display(description="what happened")
    def words(self, row: AuditEntry) -> str:
        """The entry in words."""
        return wording.told(row.name, row.data).phrase


@admin.register(Vote)
class VoteAdmin(ReadOnlyAdmin):
    """People's votes."""

    list_display = ("request", "user", "choice", "via", "cast_at", "comment")
    list_filter = ("choice", "via")
    list_select_related = ("request", "user")
    search_fields = ("=user__username", "=request__linear_issue_id")
    search_help_text = "A person's name or a Linear identifier."
    ordering = ("-id",)


@admin.register(InboundWebhook)
class InboundWebhookAdmin(ReadOnlyAdmin):
    """Verified messages from outside, and what became of them."""

    list_display = ("received_at", "source", "outcome", "reason", "request", "delivery_id")
    list_filter = ("source", "outcome")
    list_select_related = ("request",)
    search_fields = ("=delivery_id", "=request__linear_issue_id")
    search_help_text = "A delivery id or a Linear identifier."
    ordering = ("-id",)
    date_hierarchy = "received_at"
