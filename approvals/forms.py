"""What people fill in: filters of the queue, words with a decision."""

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django import forms

from approvals.core.intake import MAX_WORDS
from approvals.core.lifecycle import Choice, Status
from approvals.core.risk import Risk
from approvals.preferences import Preferences, Theme, zones
from approvals.selectors.waiting import Sort
from approvals.wording import plain

# What people reject for most often; each is enough without a word more.
REJECTION_PRESETS = (
    "Wrong time",
    "Needs a review first",
    "Not what was agreed",
    "Too risky as it is",
)


class QueueFilters(forms.Form):
    """Which requests to show; every field may stay empty."""

    text = forms.CharField(label="Search", required=False, max_length=200)
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
    group = forms.CharField(label="Decided by", required=False, max_length=200, widget=forms.Select)
    sort = forms.ChoiceField(
        label="Order",
        required=False,
        choices=[
            ("", "Urgent first"),
            (Sort.EXPIRING, "Expiring first"),
            (Sort.NEWEST, "Newest first"),
            (Sort.OLDEST, "Oldest first"),
        ],
    )
    older = forms.BooleanField(required=False, widget=forms.HiddenInput)

    def offer(
        self, agents: Sequence[str], environments: Sequence[str], groups: Sequence[str]
    ) -> None:
        """Offer these values, besides the ones that are chosen already."""
        self._offer("agent", "Any agent", agents)
        self._offer("environment", "Everywhere", environments)
        self._offer("group", "Any group", groups)

    def _offer(self, field: str, anything: str, values: Sequence[str]) -> None:
        chosen = str(self.data.get(field, ""))
        offered = sorted({*values, chosen} - {""})
        widget = self.fields[field].widget
        if isinstance(widget, forms.Select):
            widget.choices = [("", anything), *((value, plain(value)) for value in offered)]

    def chosen(self) -> dict[str, str | None]:
        """The filters that are set and fit."""
        values = self.cleaned_data.items()
        return {name: str(value) for name, value in values if value and name != "sort"}

    def order(self) -> Sort:
        """The order that is chosen and fits."""
        return Sort(self.cleaned_data.get("sort") or Sort.URGENT)


def _words(label: str, *, required: bool, missing: str = "") -> forms.CharField:
    return forms.CharField(
        label=label,
        required=required,
        max_length=MAX_WORDS,
        widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off"}),
        error_messages={"required": missing},
    )


class PreferencesForm(forms.Form):
    """How somebody likes the pages in this browser."""

    theme = forms.ChoiceField(
        choices=[(Theme.SYSTEM, "As the system"), (Theme.LIGHT, "Light"), (Theme.DARK, "Dark")],
        widget=forms.RadioSelect,
    )
    zone = forms.ChoiceField(label="Time zone", required=False)
    keys = forms.BooleanField(label="Keyboard shortcuts; ? lists them", required=False)
    notify = forms.BooleanField(
        label="Notify me, while the queue is open, of what waits for me", required=False
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(name, name.replace("_", " ")) for name in sorted(zones())]
        self.fields["zone"].choices = [("", "The browser's own"), *names]  # type: ignore[attr-defined]

    @classmethod
    def of(cls, chosen: Preferences) -> "PreferencesForm":
        """The form with what was chosen."""
        return cls(initial=asdict(chosen))

    def chosen(self) -> Preferences:
        """What was chosen now."""
        return Preferences(**{**self.cleaned_data, "theme": Theme(self.cleaned_data["theme"])})


class ApproveForm(forms.Form):
    """Words that may go with an approval, and the name that a critical one takes.

    `must_type` is that name as the page shows it; empty asks for none.
    """

    # The browser's own bubble would not say which name is meant.
    use_required_attribute = False

    words = _words("Comment (optional)", required=False)
    typed = forms.CharField(
        required=False,
        max_length=MAX_WORDS,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )

    def __init__(self, *args: Any, must_type: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.must_type = must_type
        if must_type:
            self.fields["typed"].label = f"This is critical. To approve it, type “{must_type}”"
        else:
            del self.fields["typed"]

    def clean_typed(self) -> str:
        """Refuse another name than the one that is asked for; case and outer space do not count."""
        typed = str(self.cleaned_data["typed"])
        if _comparable(typed) != _comparable(self.must_type):
            raise forms.ValidationError(
                f"Nothing was approved. Type “{self.must_type}” to show that you mean it."
            )
        return typed


def _comparable(name: str) -> str:
    return unicodedata.normalize("NFC", " ".join(name.split())).casefold()


class RejectForm(forms.Form):
    """Why not, as a preset, in words or both: whoever asked has to know what to change."""

    preset = forms.ChoiceField(
        label="Reason",
        required=False,
        choices=[*((text, text) for text in REJECTION_PRESETS), ("", "Another reason")],
        widget=forms.RadioSelect,
        error_messages={"invalid_choice": "This reason is not offered any more; choose another."},
    )
    words = _words("In your own words", required=False)

    def clean(self) -> dict[str, Any]:
        """Put the preset before the words; one of the two must be there."""
        given = {**self.cleaned_data}
        if self.errors:
            return given
        given["words"] = ": ".join(filter(None, (given["preset"], given["words"])))
        if not given["words"]:
            self.add_error(
                "words",
                "Say why, or choose a reason, so that whoever asked knows what to change.",
            )
        elif len(given["words"]) > MAX_WORDS:
            self.add_error("words", f"With the reason this is longer than {MAX_WORDS} characters.")
        return given


class _IdsField(forms.Field):
    """The ids of several rows, each once, in the order in which they were sent."""

    widget = forms.MultipleHiddenInput

    def to_python(self, value: Any) -> list[UUID]:
        """Whatever is an id at all; which row it is of, the verb looks up."""
        try:
            return list(dict.fromkeys(UUID(text) for text in value or ()))
        except ValueError as error:
            raise forms.ValidationError("A request is named by its id.") from error


class BatchForm(forms.Form):
    """One word about several requests."""

    MOST = 50

    request = _IdsField(error_messages={"required": "Choose at least one request."})
    choice = forms.ChoiceField(
        choices=[(choice, choice) for choice in Choice],
        error_messages={"required": "Choose Approve or Reject."},
    )
    words = _words("Comment, or the reason for a rejection", required=False)

    def clean(self) -> None:
        """A rejection has a reason, and only so many are decided at once."""
        if len(self.cleaned_data.get("request", ())) > self.MOST:
            self.add_error("request", f"At most {self.MOST} requests are decided at once.")
        reason = str(self.cleaned_data.get("words") or "").strip()
        if self.cleaned_data.get("choice") == Choice.REJECT and not reason:
            self.add_error("words", "Say why, so that whoever asked knows what to change.")


class CancelForm(forms.Form):
    """Why the request is withdrawn."""

    words = _words("Reason", required=True, missing="Say why the request is withdrawn.")


class RetryForm(forms.Form):
    """Why a delivery is tried again."""

    words = forms.CharField(
        label="Reason",
        max_length=MAX_WORDS,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Say why it should work now."},
    )
