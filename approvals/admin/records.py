"""What was said and done, for reading only."""

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import wording
from approvals.admin.access import ReadOnlyAdmin, shown
from approvals.models import AuditEntry, InboundWebhook, Vote

_ACTOR, _REQUEST, _COMMENT = shown("actor"), shown("request"), shown("comment")
_REASON, _BODY, _DELIVERY_ID = shown("reason"), shown("body"), shown("delivery_id")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The log over all streams, the newest first."""

    list_display = ("at", "name", _ACTOR, "via", "words", "stream", "number")
    list_filter = ("name", "via")
    search_fields = ("=stream", "=actor")
    search_help_text = "A request's or run's whole id, or an actor's name."
    ordering = ("-id",)
    date_hierarchy = "at"

    fields = readonly_fields = (
        "at",
        "name",
        _ACTOR,
        "actor_key",
        "via",
        "words",
        "shown_data",
        "stream",
        "number",
        "digest",
    )

    @admin.display(description="what happened")
    def words(self, row: AuditEntry) -> str:
        """The entry in words."""
        return wording.plain(wording.told(row.name, row.data).phrase)

    @admin.display(description="data")
    def shown_data(self, row: AuditEntry) -> SafeString:
        """Everything that was kept with the entry."""
        return format_html('<pre class="hitl-json">{}</pre>', wording.readable_json(row.data))


@admin.register(Vote)
class VoteAdmin(ReadOnlyAdmin):
    """People's votes."""

    list_display = (_REQUEST, "user", "choice", "via", "cast_at", _COMMENT)
    list_filter = ("choice", "via")
    list_select_related = ("request", "user")
    search_fields = ("=user__username", "=request__linear_issue_id")
    search_help_text = "A person's name or a Linear identifier."
    ordering = ("-id",)
    fields = readonly_fields = list_display


@admin.register(InboundWebhook)
class InboundWebhookAdmin(ReadOnlyAdmin):
    """Verified messages from outside, and what became of them."""

    list_display = ("received_at", "source", "outcome", _REASON, _REQUEST, _DELIVERY_ID)
    list_filter = ("source", "outcome")
    list_select_related = ("request",)
    search_fields = ("=delivery_id", "=request__linear_issue_id")
    search_help_text = "A delivery id or a Linear identifier."
    ordering = ("-id",)
    date_hierarchy = "received_at"
    fields = readonly_fields = (*list_display, _BODY)
