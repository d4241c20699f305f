"""Buttons of a page: the verb is called with what was typed, and the page tells what came of it."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace

from django import forms
from django.contrib import messages
from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect

from approvals.core.lifecycle import Actor
from approvals.errors import InvalidInput, Refusal
from approvals.views.access import PageRequest, actor_of
from approvals.views.notice import Notice

_NOT_ASKED = "Nothing was done: this is not asked of you here, or not any more."


@dataclass(frozen=True)
class Button:
    """A form of a page, by its name there, and the verb behind it.

    `make` binds the form to what was sent. `verb` returns what came of it, or raises Refusal;
    `refuse` raises what the verb would, whatever the words, for a form that does not fit.
    """

    name: str
    make: Callable[[QueryDict], forms.Form]
    verb: Callable[[Actor, str], str]
    refuse: Callable[[Actor], object] | None = None


@dataclass(frozen=True)
class Answer:
    """What a page shows of a press: the form that was sent, by its name, and what came of it."""

    bound: Mapping[str, forms.Form] = field(default_factory=dict)
    notice: Notice | None = None
    status: int = 200

    def where_asked(self, names: Container[str]) -> "Answer":
        """The same on a page that asks for these forms.

        What was written in another one is given back: there it cannot be mended.
        """
        lost = [form for name, form in self.bound.items() if name not in names]
        if self.notice is not None or not lost:
            return self
        return replace(self, notice=_refused(_NOT_ASKED, lost[0]), status=409)


NOTHING_SENT = Answer()


def act(
    request: PageRequest,
    button: Button,
    *,
    page: Callable[[Actor, Answer], HttpResponse],
    address: str,
) -> HttpResponse:
    """Call a verb with what was typed, and show the result or the refusal in place.

    Reading the address changes nothing and leads to the page: after a login people arrive so.
    """
    if request.method != "POST":
        return redirect(address)
    actor, form = actor_of(request), button.make(request.POST)
    bound = {button.name: form}
    try:
        done = _press(button, form, actor)
    except Refusal as refusal:
        return page(actor, Answer(bound, _refused(str(refusal), form), refusal.http_status))
    if done is None:
        return page(actor, _to_mend(bound))
    if request.htmx:
        return page(actor, Answer(notice=Notice(done)))
    messages.success(request, done)
    return redirect(address)


def _press(button: Button, form: forms.Form, actor: Actor) -> str | None:
    """What came of it; None where the form has to be mended first."""
    if form.is_valid():
        try:
            return button.verb(actor, form.cleaned_data["words"])
        except InvalidInput as fault:
            form.add_error("words", str(fault))
    if button.refuse is not None:
        button.refuse(actor)
    return None


def _to_mend(bound: Mapping[str, forms.Form]) -> Answer:
    """Let the keyboard stand where something has to be mended, with and without JavaScript."""
    for form in bound.values():
        name = next((name for name in form.errors if name in form.fields), None)
        if name is not None:
            form.fields[name].widget.attrs["autofocus"] = True
    return Answer(bound, status=422)


def _refused(sentence: str, form: forms.Form) -> Notice:
    """All that somebody chose and wrote goes with it, so that nothing is lost with the form."""
    typed = "\n".join(str(bound.value()) for bound in form if bound.value())
    return Notice(sentence, refused=True, typed=typed)
