"""What people fill in: filters of the queue, words with a decision."""

from collections.abc import Sequence

from django import forms

from approvals.core.lifecycle import Status
from approvals.core.risk import Risk
from approvals.wording import plain

MAX_WORDS = 4000


class QueueFilters(forms.Form):
    """Which requests to show; every field may stay empty."""

    status = forms.ChoiceField(
        required=False,
        choices=[("", "Any status"), *((status, status.capitalize()) for status in Status)],
    )
    risk_level = forms.ChoiceField(
        label="Risk",
        required=False,
        choices=[("", "Any risk"), *((risk, risk.capitalize()) for risk in reversed(Risk))],
    )
    agent = forms.CharField(required=False, max_length=200, widget=forms.Select)
    environment = forms.CharField(required=False, max_length=200, widget=forms.Select)

    def offer(self, agents: Sequence[str], environments: Sequence[str]) -> None:
        """Offer these values, besides the ones that are chosen already."""
        self._offer("agent", "Any agent", agents)
        self._offer("environment", "Any environment", environments)

    def _offer(self, field: str, anything: str, values: Sequence[str]) -> None:
        chosen = str(self.data.get(field, ""))
        offered = sorted({*values, chosen} - {""})
        widget = self.fields[field].widget
        if isinstance(widget, forms.Select):
            widget.choices = [("", anything), *((value, plain(value)) for value in offered)]

    def chosen(self) -> dict[str, str | None]:
        """The filters that are set and fit."""
        return {name: value for name, value in self.cleaned_data.items() if value}


def _words(label: str, *, required: bool, missing: str = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        required=required,
        max_length=MAX_WORDS,
        widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off"}),
        error_messages={"required": missing},
    )


class ApproveForm(forms.Form):
    """Words that may go with an approval."""

    words = _words("Comment (optional)", required=False)


class RejectForm(forms.Form):
    """Why not: whoever asked has to know what to change."""

    words = _words(
        "Reason", required=True, missing="Say why, so that whoever asked knows what to change."
    )


class CancelForm(forms.Form):
    """Why the request is withdrawn."""

    words = _words("Reason", required=True, missing="Say why the request is withdrawn.")


class RetryForm(forms.Form):
    """Why a delivery is tried again."""

    words = forms.CharField(
        label="Reason",
        max_length=300,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Say why it should work now."},
    )
