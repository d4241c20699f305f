"""API tokens: made here and shown once, revoked here; what is stored of one is never shown."""

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers

from approvals import services
from approvals.admin.access import ReadOnlyAdmin, able, actor_of, is_staff
from approvals.admin.reasons import Verb, act_with_reason
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability
from approvals.models import ApiToken


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
        "label",
        "created_at",
        "last_used_at",
        "revoked_at",
    )
    list_filter = ("scope", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    search_fields = ("=prefix", "=user__username", "label")
    search_help_text = "A token's beginning, a person's name, or a label."
    ordering = ("-id",)
    actions = ("revoke",)
    fields = list_display

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:  # noqa: ARG002
        """Whoever may open the admin makes tokens of their own."""
        return is_staff(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        """The tokens that whoever is at work may know of."""
        rows: QuerySet[ApiToken] = super().get_queryset(request)
        if able(request, Ability.MANAGE_TOKENS):
            return rows
        return rows.filter(user__username=request.user.get_username())

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
        made = ApiToken.objects.filter(user__username=actor.name).latest("pk")
        self.log_addition(request, made, f"Made with scope {scope}.")
        return token

    @admin.action(description="Revoke the chosen tokens")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> HttpResponse | None:
        """End tokens at once."""

        def call(row: ApiToken, actor: Actor, reason: str) -> str:
            services.revoke_token(row.pk, actor=actor)
            self.log_change(request, row, f"Revoked: {reason}")
            return "revoked."

        return act_with_reason(self, request, queryset, Verb("revoke", "Revoke", call))
