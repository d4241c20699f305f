"""Pages about runs: the list, one run, and a person's way out of what needs attention."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from agents import selectors, services, wording
from agents.forms import ReasonForm, RunFilters
from agents.models import ENDED, RunStatus
from agents.outline import unsettled
from approvals.actors import able
from approvals.clock import clock
from approvals.core.lifecycle import Actor
from approvals.core.roles import Ability, to_cancel
from approvals.errors import RequestNotFound
from approvals.masking import quiet, quiet_json
from approvals.templatetags.pages import plain_lines
from approvals.views.access import PageRequest, actor_of, is_live, signed_in
from approvals.views.acting import NOTHING_SENT, Answer, Button, act


@require_safe
@signed_in
def run_list(request: PageRequest) -> HttpResponse:
    """The whole page, or its live part for htmx; 422 where a filter makes no sense."""
    filters = RunFilters(request.GET)
    fits = filters.is_valid()
    chosen = filters.chosen() if fits else {}
    after = filters.cleaned_data.get("after") if fits else None
    now = clock()
    found = selectors.list_runs(chosen, now, after=after) if fits else None
    context = {
        "now": now,
        "filters": filters,
        "filtered": bool(chosen),
        "chosen": urlencode(chosen),
        "query": request.GET.urlencode(),
        "after": after,
        "found": found,
        "heading": wording.STATUSES.get(chosen.get("status", ""), ""),
    }
    if is_live(request):
        return render(request, "agents/_runs.html", context, status=200 if fits else 422)
    filters.offer(wording.known_workflows(settings.HITL_GRAPHS))
    return render(request, "agents/runs.html", context, status=200 if fits else 422)


@require_safe
@signed_in
def run_page(request: PageRequest, run_id: UUID) -> HttpResponse:
    """The whole page, or its live part for htmx."""
    return _page(request, run_id, actor_of(request))


@require_safe
@signed_in
def output(_: PageRequest, run_id: UUID, execution_id: UUID) -> HttpResponse:
    """All that an action printed or answered, as plain text, secrets masked."""
    try:
        row = selectors.get_execution(run_id, execution_id)
    except RequestNotFound as missing:
        raise Http404(str(missing)) from missing
    text = plain_lines(quiet(row, row.output))
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


@signed_in
def settle(request: PageRequest, run_id: UUID, outcome: str) -> HttpResponse:
    """Give the word on a run that needs attention, for a reason."""

    def verb(actor: Actor, words: str) -> str:
        run = services.settle_run(run_id, outcome, actor=actor, reason=words)
        return wording.settled(run, outcome)

    return _act(request, run_id, outcome, verb)


@signed_in
def cancel(request: PageRequest, run_id: UUID) -> HttpResponse:
    """End a run and whatever it waits for, for a reason."""

    def verb(actor: Actor, words: str) -> str:
        services.cancel_run(run_id, actor=actor, reason=words)
        return "The run is cancelled, and so is what it waited for."

    return _act(request, run_id, "cancel", verb)


def _act(
    request: PageRequest, run_id: UUID, name: str, verb: Callable[[Actor, str], str]
) -> HttpResponse:
    button = Button(name, partial(ReasonForm, prefix=name), verb)
    page = partial(_page, request, run_id)
    return act(request, button, page=page, address=reverse("run", args=[run_id]))


def _page(
    request: PageRequest, run_id: UUID, actor: Actor, answer: Answer = NOTHING_SENT
) -> HttpResponse:
    try:
        context = _context(run_id, actor, answer.bound)
    except RequestNotFound as missing:
        raise Http404(str(missing)) from missing
    answer = answer.where_asked(_asked(context))
    context["notice"] = answer.notice
    template = "agents/_run.html" if is_live(request) else "agents/run.html"
    return render(request, template, context, status=answer.status)


def _asked(context: Mapping[str, Any]) -> set[str]:
    """The forms that the page lets this person send."""
    ways = {way.outcome for way, _ in context["ways"]} if context["may_settle"] else set()
    may_cancel = context["may_cancel"] and not context["ended"]
    return ways | {"cancel"} if may_cancel else ways


def _context(run_id: UUID, actor: Actor, bound: Mapping[str, forms.Form]) -> dict[str, Any]:
    now = clock()
    found = selectors.run_detail(run_id, now)
    run, shown = found.run, found.outline
    stopped = run.status == RunStatus.NEEDS_ATTENTION
    ways = wording.ways_out(shown) if stopped else ()
    return {
        "now": now,
        "run": run,
        "outline": shown,
        # What it does next without telling the log is looked for often, as long as it does.
        "every": 5 if run.status == RunStatus.RUNNING else 60,
        "streams": [run.pk, *found.requests],
        "ended": run.status in ENDED,
        "open_step": unsettled(shown) if stopped else None,
        "ways": [(way, _form(way.outcome, bound)) for way in ways],
        "may_settle": able(actor, Ability.SETTLE_RUN),
        "may_cancel": able(actor, to_cancel(actor, run.opened_by_id)),
        "cancel_form": _form("cancel", bound),
        "task": quiet_json(run, run.task),
        "result": None if run.result is None else quiet_json(run, run.result),
        "timeline": [wording.happened(run, entry, found.requests) for entry in found.entries],
        "more_entries": len(found.entries) == selectors.ENTRIES_SHOWN,
    }


def _form(name: str, bound: Mapping[str, forms.Form]) -> forms.Form:
    return bound.get(name) or ReasonForm(prefix=name)
