"""What was said and done, for reading only."""

import json
from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import Max, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.safestring import SafeString

from approvals import wording
from approvals.admin import cells, search
from approvals.admin.cells import (
    age,
    heard_outcome,
    outside_pages,
    request_page,
    request_risk,
    run_page,
    shown,
)
from approvals.admin.filters import OfRisk, known
from approvals.admin.history import History, history_of
from approvals.admin.lists import ReadOnlyAdmin
from approvals.core.events import LINEAR, EventName, Hearing
from approvals.core.lifecycle import Via
from approvals.masking import masked_beside, quiet
from approvals.models import ApprovalRequest, AuditEntry, InboundWebhook, Vote
from approvals.services.people import account_stream

_ACTOR, _COMMENT, _REASON = (
    shown("actor"),
    shown("comment", quiet=True),
    shown("reason", quiet=True),
)
_SHORT_COMMENT = shown("comment", most=120, quiet=True)
_SHORT_REASON = shown("reason", most=120, quiet=True)
_DELIVERY_ID = shown("delivery_id", "delivery id")
# Entries of so many numbers back are looked through for an actor's name, which has no index.
LATEST_ENTRIES = 100_000
# `linear_history` is what was read back because no webhook told it.
SOURCES = (LINEAR, f"{LINEAR}_history")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The log over all streams, the newest first."""

    list_display = ("at", age("at", "ago"), "name", _ACTOR, "via", "words", "stream_page", "number")
    list_filter = (
        known("name", "event", lambda: EventName),
        known("via", "via", lambda: Via),
        ("at", admin.DateFieldListFilter),
    )
    search_fields = ("pk",)
    search_help_text = (
        "A request's or run's id, a Linear identifier, a workflow, a pull request, an account, or"
        f" an actor's name among the latest {LATEST_ENTRIES:,} entries."
    )
    ordering = ("-id",)
    list_deferred = ("digest",)
    fields = (
        ("at", "name"),
        (_ACTOR, "via", "actor_key"),
        "words",
        "quote",
        "shown_data",
        ("stream_page", "stream", "number"),
        "digest",
    )
    readonly_fields = flatten(fields)

    def meant(self, term: str) -> Q:
        """The entries of a stream, of the requests that are meant, of an account or of an actor."""
        streams = {*search.request_ids(term), *map(account_stream, search.accounts_meant(term))}
        if (identifier := search.as_uuid(term)) is not None:
            return Q(stream__in=streams | {identifier})
        of_streams = AuditEntry.objects.filter(stream__in=streams)
        newest = AuditEntry.objects.aggregate(newest=Max("pk"))["newest"] or 0
        by_actor = AuditEntry.objects.filter(actor=term, pk__gt=newest - LATEST_ENTRIES)
        # Each finds its entries by an index of its own; joined by OR, neither would be used.
        return Q(pk__in=of_streams.values("pk").union(by_actor.values("pk"), all=True))

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Entries with what the request of their stream was given, whose secrets they may repeat.

        What a run itself writes comes without its secrets.
        """
        rows: QuerySet[AuditEntry] = super().get_queryset(request)
        asked = ApprovalRequest.objects.filter(pk=OuterRef("stream")).values("task")
        return rows.annotate(asked=Subquery(asked))

    def history(self, row: AuditEntry) -> History:
        """Everything in the same stream."""
        return history_of(row.stream, "The whole stream", given=_asked(row))

    @admin.display(description="what happened")
    def words(self, row: AuditEntry) -> str:
        """The entry in words."""
        return wording.plain(_told(row).phrase)

    @admin.display(description="in whose words")
    def quote(self, row: AuditEntry) -> str:
        """What the actor said with it."""
        return _told(row).quote or cells.NOTHING

    @admin.display(description="data")
    def shown_data(self, row: AuditEntry) -> SafeString:
        """Everything that was kept with the entry, secrets masked."""
        return cells.folded(masked_beside(_asked(row), row.data))

    @admin.display(description="request or run")
    def stream_page(self, row: AuditEntry) -> SafeString | str:
        """The way to what the stream is about, as far as the event's name tells."""
        kind, short = row.name.partition(".")[0], str(row.stream)[:8]
        if kind in {"approver", "database", "token"}:
            return short
        if kind == "execution" or row.name == EventName.NOT_REQUIRED:
            # In the request's stream, or in the run's where no request was needed.
            return cells.link(f"?q={row.stream}", short)
        try:
            name = "admin:agents_run_change" if kind == "run" else "request"
            return cells.link(reverse(name, args=[row.stream]), short)
        except NoReverseMatch:
            return short


def _asked(row: AuditEntry) -> Mapping[str, Any]:
    asked: Mapping[str, Any] | None = row.asked  # type: ignore[attr-defined]  # annotated
    return asked or {}


def _told(row: AuditEntry) -> wording.Told:
    return wording.told(row.name, masked_beside(_asked(row), row.data), row.actor)


@admin.register(Vote)
class VoteAdmin(ReadOnlyAdmin):
    """People's votes."""

    list_display = (
        request_page,
        "user",
        "shown_choice",
        request_risk,
        "via",
        age("cast_at", "cast"),
        _SHORT_COMMENT,
        outside_pages,
    )
    list_display_links = ("user",)
    list_filter = (
        "choice",
        known("via", "via", lambda: Via),
        OfRisk,
    )
    list_select_related = ("request", "user")
    list_deferred = ("request__action", "request__matches", "request__policy")
    search_fields = ("pk",)
    search_help_text = (
        "A person's name, a request's id, its Linear identifier, workflow or pull request."
    )
    ordering = ("-id",)
    fields = (
        (request_page, request_risk, outside_pages),
        ("user", "shown_choice"),
        ("via", "cast_at"),
        _COMMENT,
    )
    readonly_fields = flatten(fields)

    def meant(self, term: str) -> Q:
        """The votes of a person, or on the requests that are meant."""
        people = search.accounts_meant(term)
        return Q(user__in=people) | Q(request__in=search.request_ids(term))

    def history(self, row: Vote) -> History:
        """What of the request's history is about votes."""
        about = Q(name__startswith="vote.")
        return history_of(row.request_id, "Votes on this request", about, given=row.given)

    @admin.display(description="choice")
    def shown_choice(self, row: Vote) -> SafeString:
        """Approve or reject."""
        return cells.status({"approve": "approved", "reject": "rejected"}[row.choice])


@admin.register(InboundWebhook)
class InboundWebhookAdmin(ReadOnlyAdmin):
    """Verified messages from outside, and what became of them."""

    list_display = (
        "received_at",
        age("received_at", "ago"),
        "source",
        heard_outcome,
        _SHORT_REASON,
        request_page,
        outside_pages,
        _DELIVERY_ID,
    )
    list_filter = (
        known("source", "source", lambda: SOURCES),
        known("outcome", "outcome", lambda: Hearing),
        ("received_at", admin.DateFieldListFilter),
    )
    list_deferred = (
        *("body", "body_digest"),
        *("request__action", "request__matches", "request__policy"),
    )
    search_fields = ("pk",)
    search_help_text = (
        "A delivery id, a request's id, its Linear identifier, workflow or pull request."
    )
    ordering = ("-id",)
    fields = (
        ("source", heard_outcome),
        _REASON,
        (request_page, run_page, outside_pages),
        ("received_at", "happened_at", _DELIVERY_ID),
        "shown_body",
        "body_digest",
    )
    readonly_fields = flatten(fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[InboundWebhook]:
        """Webhooks with their requests."""
        rows: QuerySet[InboundWebhook] = super().get_queryset(request)
        return rows.select_related("request")

    def meant(self, term: str) -> Q:
        """A webhook by its delivery id, or those about the requests that are meant."""
        found = Q(source__in=SOURCES, delivery_id=term)
        return found | Q(request__in=search.request_ids(term))

    def history(self, row: InboundWebhook) -> History | None:
        """What happened to the request it is about."""
        if row.request_id is None:
            return None
        return history_of(row.request_id, "What happened to the request", given=row.given)

    @admin.display(description="body")
    def shown_body(self, row: InboundWebhook) -> SafeString | str:
        """What was sent, as JSON for people; what is gone says so."""
        if not row.body:
            return "Purged: bodies are kept for as long as HITL_RETENTION_DAYS says."
        try:
            value = json.loads(row.body)
        except ValueError:
            # A long body was cut where it was kept.
            return cells.folded_text(quiet(row, row.body))
        return cells.folded(masked_beside(row.given, value))
