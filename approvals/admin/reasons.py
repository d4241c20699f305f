"""Actions that ask for a reason first, then call a verb for each row and tell what came of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from approvals.admin.access import RowAdmin, actor_of
from approvals.admin.lists import chosen_ids
from approvals.core.intake import MAX_WORDS
from approvals.core.lifecycle import Actor
from approvals.errors import Refusal
from approvals.wording import plain

MOST_AT_ONCE = 100


class ReasonForm(forms.Form):
    """Why the action is taken."""

    reason = forms.CharField(
        max_length=MAX_WORDS, widget=forms.Textarea(attrs={"rows": 3, "cols": 60})
    )


@dataclass(frozen=True)
class Verb:
    """An action: what it is called, and the call itself, which returns what came of it.

    `call` takes the row, the actor and the reason, and raises Refusal. `meaning` says what follows.
    """

    action: str
    title: str
    call: Callable[[Any, Actor, str], str]
    reason_required: bool = True
    meaning: str = ""


def acting(verb: Verb, description: str) -> Any:
    """The action of an admin that takes the verb; `description` is its line in the list's menu.

    It is a function of an admin; Django's stubs take only names where an admin says its actions.
    """

    @admin.action(description=description)
    def act(
        model_admin: RowAdmin, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        return act_with_reason(model_admin, request, queryset, verb)

    act.__name__ = verb.action
    return act


def act_with_reason(
    model_admin: RowAdmin, request: HttpRequest, queryset: QuerySet[Any], verb: Verb
) -> HttpResponse | None:
    """Show the page that asks for the reason, or act; None leads back to the list."""
    rows = _chosen(model_admin, request, queryset)
    if len(rows) > MOST_AT_ONCE:
        sentence = f"Choose at most {MOST_AT_ONCE} at once; nothing was done."
        model_admin.message_user(request, sentence, messages.ERROR)
        return None
    form = ReasonForm(request.POST if "confirmed" in request.POST else None)
    form.fields["reason"].required = verb.reason_required
    if form.is_bound and form.is_valid():
        _act(model_admin, request, rows, verb, form.cleaned_data["reason"])
        return None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": verb.title,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "form": form,
        "rows": rows,
        "verb": verb,
        "checkbox": ACTION_CHECKBOX_NAME,
    }
    return TemplateResponse(request, "admin/approvals/act_with_reason.html", context)


def _act(
    model_admin: RowAdmin, request: HttpRequest, rows: Sequence[Any], verb: Verb, reason: str
) -> None:
    actor = actor_of(request)
    for row in rows:
        try:
            outcome = verb.call(row, actor, reason)
        except Refusal as refusal:
            model_admin.message_user(request, f"{plain(row)}: {refusal}", messages.ERROR)
        else:
            model_admin.message_user(request, f"{plain(row)}: {outcome}", messages.SUCCESS)


def _chosen(model_admin: RowAdmin, request: HttpRequest, queryset: QuerySet[Any]) -> Sequence[Any]:
    """The rows that were ticked, also those that meanwhile left the filtered list."""
    if request.POST.get("select_across") == "1":
        return list(queryset[: MOST_AT_ONCE + 1])
    rows = model_admin.get_queryset(request).filter(pk__in=chosen_ids(model_admin, request))
    return list(rows[: MOST_AT_ONCE + 1])
