"""What people fill in about runs: filters of the list, the reason of a word."""

from collections.abc import Sequence
from typing import Any

from django import forms

from agents.models import RunStatus
from agents.wording import STATUSES
from approvals.core.intake import MAX_WORDS
from approvals.wording import plain


class RunFilters(forms.Form):
    """Which runs to show; every field may stay empty. `after` is where an older page begins."""

    status = forms.ChoiceField(
        required=False,
        choices=[("", "Any status"), *((status, STATUSES[status]) for status in RunStatus)],
    )
    workflow = forms.CharField(required=False, max_length=100, widget=forms.Select)
    text = forms.CharField(
        label="Id or who asked",
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs={
                "placeholder": "Id or who asked",
                "autocomplete": "off",
                "type": "search",
                "data-key": "/",
            }
        ),
    )
    after = forms.UUIDField(required=False, widget=forms.HiddenInput)

    def offer(self, workflows: Sequence[str]) -> None:
        """Offer these workflows, besides the one that is chosen already."""
        chosen = str(self.data.get("workflow", ""))
        offered = [*workflows, *({chosen} - {"", *workflows})]
        widget = self.fields["workflow"].widget
        if isinstance(widget, forms.Select):
            widget.choices = [("", "Any workflow"), *((name, plain(name)) for name in offered)]

    def chosen(self) -> dict[str, Any]:
        """The filters that are set and fit."""
        return {
            name: value for name, value in self.cleaned_data.items() if value and name != "after"
        }


class ReasonForm(forms.Form):
    """Why: the audit log keeps it beside the name of whoever said it."""

    words = forms.CharField(
        label="Reason",
        max_length=MAX_WORDS,
        widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off"}),
        error_messages={"required": "Say why; the audit log keeps it."},
    )
