"""What people fill in to find something in the history."""

from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone

from approvals.core.lifecycle import Status
from approvals.core.risk import Risk


def _exactly(label: str, anything: str, name: str) -> forms.CharField:
    """A text that has to match exactly, with what was lately seen as suggestions."""
    attributes = {"list": f"seen-{name}", "autocomplete": "off", "placeholder": anything}
    return forms.CharField(
        label=label, required=False, max_length=200, widget=forms.TextInput(attrs=attributes)
    )


def _day(label: str) -> forms.DateField:
    message = "Choose a day of this century."
    return forms.DateField(
        label=label,
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        input_formats=["%Y-%m-%d"],
        validators=[
            MinValueValidator(date(2000, 1, 1), message),
            MaxValueValidator(date(2099, 12, 31), message),
        ],
    )


class HistoryFilters(forms.Form):
    """Which ended requests to show; every field may stay empty. Days are those of the viewer."""

    text = forms.CharField(
        label="Search",
        required=False,
        max_length=200,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": "Words or CHEF-271", "data-key": "/"}
        ),
    )
    status = forms.ChoiceField(
        required=False,
        choices=[
            ("", "Any outcome"),
            *((status, status.capitalize()) for status in Status if status != Status.PENDING),
        ],
        label="Outcome",
    )
    risk_level = forms.ChoiceField(
        label="Risk",
        required=False,
        choices=[("", "Any risk"), *((risk, risk.capitalize()) for risk in reversed(Risk))],
    )
    operation = _exactly("Operation", "Any operation", "operation")
    environment = _exactly("Environment", "Everywhere", "environment")
    agent = _exactly("Agent", "Any agent", "agent")
    decided_by = _exactly("Decided by", "Anybody", "decided_by")
    since = _day("From")
    until = _day("To")
    older = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        """The values; the last day is not before the first."""
        values = super().clean() or self.cleaned_data
        since, until = values.get("since"), values.get("until")
        if since and until and until < since:
            self.add_error("until", "The last day is before the first.")
        return values

    def more(self) -> list[forms.BoundField]:
        """The fields beside the search, which a phone folds."""
        return [field for field in self.visible_fields() if field.name != "text"]

    def more_set(self) -> int:
        """How many of them are set and fit."""
        return sum(bool(self.cleaned_data.get(field.name)) for field in self.more())

    def chosen(self) -> dict[str, str | None]:
        """The filters that are set and fit, without the days."""
        values = self.cleaned_data.items()
        days = {"since", "until"}
        return {name: str(value) for name, value in values if value and name not in days}

    def between(self) -> tuple[datetime | None, datetime | None]:
        """The days as moments: when the first begins, and when the last is over."""
        since, until = self.cleaned_data["since"], self.cleaned_data["until"]
        return (
            _beginning(since) if since else None,
            _beginning(until + timedelta(days=1)) if until else None,
        )


def _beginning(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
