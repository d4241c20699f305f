"""API tokens: made here and shown once, revoked here; what is stored of one is never shown."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django.utils.safestring import SafeString

from approvals import services
from approvals.actors import able as actor_able
from approvals.actors import token_digest
from approvals.admin import cells
from approvals.admin.access import able, actor_of, is_staff
from approvals.admin.cells import age, shown
from approvals.admin.history import History, history_of
from approvals.admin.lists import Offer, ReadOnlyAdmin
from approvals.admin.reasons import Verb, act_with_reason
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability
from approvals.models import ApiToken
from approvals.services.people import account_stream

_LABEL = shown("label")


class TokenForm(forms.Form):
    """What a token of one's own may do."""

    scope = forms.ChoiceField(choices=ApiToken.Scope.choices)
    label = forms.CharField(required=False, max_length=100, help_text="what uses it")


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """Everybody makes, sees and revokes their own tokens; operators see and revoke every one."""

    list_display = (
        "prefix",
        "user",
        "scope",
        _LABEL,
        "shown_state",
        age("created_at", "made"),
        age("last_used_at", "last used"),
    )
    list_filter = (
        "scope",
        ("revoked_at", admin.EmptyFieldListFilter),
        ("last_used_at", admin.EmptyFieldListFilter),
        ("created_at", admin.DateFieldListFilter),
    )
    list_select_related = ("user",)
    search_fields = ("prefix",)
    search_help_text = "The beginning of a token or of a name, or words of a label."
    ordering = ("-id",)
    actions = ("revoke",)
    fields = (
        ("prefix", "shown_state"),
        ("user", "scope", _LABEL),
        ("created_at", "last_used_at", "revoked_at"),
    )
    readonly_fields = flatten(fields)

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Whoever may open the admin makes tokens of their own."""
        return is_staff(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """The tokens that whoever is at work may know of."""
        rows: QuerySet[ApiToken] = super().get_queryset(request)
        if able(request, Ability.MANAGE_TOKENS):
            return rows
        return rows.filter(user=request.user.pk)

    def meant(self, term: str) -> Q:
        """Tokens by what is shown of them and by their owners; there are few of them."""
        # Somebody may paste a whole token: what is stored of it is its beginning.
        beginning = term[: ApiToken._meta.get_field("prefix").max_length]
        return (
            Q(prefix__startswith=beginning)
            | Q(user__username__istartswith=term)
            | Q(label__icontains=term)
        )

    def may_take(self, request: HttpRequest, action: str) -> bool:  # noqa: ARG002
        """Everybody revokes their own."""
        return is_staff(request)

    def offers(self, row: ApiToken, actor: Actor) -> Sequence[Offer]:
        """To revoke it, for its owner and for operators, while it is live."""
        own = row.user_id == actor.user_id
        if row.revoked_at is not None or not (own or actor_able(actor, Ability.MANAGE_TOKENS)):
            return ()
        return (Offer("revoke", "Revoke"),)

    def history(self, row: ApiToken) -> History:
        """What the account's stream says of this token."""
        about = Q(name__startswith="token.", data__token=row.pk)
        return history_of(account_stream(row.user_id), "What happened", about)

    @admin.display(description="state")
    def shown_state(self, row: ApiToken) -> SafeString:
        """Whether it still opens anything."""
        if row.revoked_at is not None:
            return cells.state("revoked")
        return cells.state("live" if row.user.is_active else "account off")

    def add_view(
        self,
        request: HttpRequest,
        form_url: str = "",  # noqa: ARG002
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Ask what for, then show the token this one time."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = TokenForm(request.POST if request.method == "POST" else None)
        token = self._made(request, form) if form.is_bound and form.is_valid() else ""
        context = {
            **self.admin_site.each_context(request),
            "title": "The new token" if token else f"Make a token of {request.user}",
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "token": token,
            **(extra_context or {}),
        }
        response = TemplateResponse(request, "admin/approvals/apitoken/make.html", context)
        add_never_cache_headers(response)
        return response

    def _made(self, request: HttpRequest, form: TokenForm) -> str:
        actor, scope = actor_of(request), form.cleaned_data["scope"]
        token = services.create_token(
            actor.name, scope=scope, label=form.cleaned_data["label"], actor=actor
        )
        made = ApiToken.objects.get(digest=token_digest(token))
        self.log_addition(request, made, f"Made with scope {scope}.")
        return token

    @admin.action(description="Revoke the chosen tokens")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> HttpResponse | None:
        """End tokens at once."""

        def call(row: ApiToken, actor: Actor, reason: str) -> str:
            services.revoke_token(row.pk, actor=actor, reason=reason)
            self.log_change(request, row, f"Revoked: {reason}")
            return "revoked."

        meaning = "Its next call is answered with 401. What was asked with it stays as it is."
        verb = Verb("revoke", "Revoke", call, meaning=meaning)
        return act_with_reason(self, request, queryset, verb)
