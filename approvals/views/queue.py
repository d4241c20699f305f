"""The queue: what waits, what I may decide first, and what was decided lately."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from approvals.core.lifecycle import Actor, Status
from approvals.errors import InvalidInput
from approvals.forms import BatchForm, QueueFilters
from approvals.patience import patiently
from approvals.policy import policy_groups
from approvals.selectors import queue as requests
from approvals.selectors import waiting
from approvals.selectors.request import status_at
from approvals.views.access import PageRequest, actor_of, is_live, signed_in

# Rows on a page, of which those that were decided get what is left by those that wait.
ROWS, WAITING_SHOWN, DECIDED_SHOWN = 50, 40, 25
# The form of the filters, as htmx names it.
FORM = "filters"
# Under what the session keeps the filters, and what in an address lets go of them.
KEPT, CLEAR = "queue", "clear"
# Under what it keeps what came of a batch until the next page tells it.
SAID = "batch"


@require_safe
@signed_in
def queue(request: PageRequest) -> HttpResponse:
    """The whole page, or its live part for htmx; 422 where a filter makes no sense.

    Without filters in the address those of the session's last visit are gone back to.
    """
    said = None
    if not request.htmx:
        if CLEAR in request.GET:
            request.session.pop(KEPT, None)
            return redirect("queue")
        if not request.GET and (kept := request.session.get(KEPT)):
            return redirect(f"{request.path}?{kept}")
        said = request.session.pop(SAID, None)
    return queue_page(request, actor_of(request), summary=said)


def queue_page(
    request: PageRequest,
    actor: Actor,
    *,
    batch: BatchForm | None = None,
    summary: Any = None,
    status: int = 200,
) -> HttpResponse:
    """The queue as the filters in the address show it, with what came of a batch, if any."""
    filters = QueueFilters(request.GET)
    context: dict[str, Any] = {
        "filters": filters,
        "query": request.GET.urlencode(),
        "batch": batch or BatchForm(),
        "chosen": set(request.POST.getlist("request")) if batch else set(),
        "summary": summary,
    }
    if filters.is_valid():
        try:
            with patiently() as now:
                context |= _lists(request, filters, actor, now)
        except InvalidInput as fault:
            filters.add_error(None, str(fault))
        else:
            if request.method == "GET" and request.htmx.trigger in {None, FORM, "id_text"}:
                # Not what a page that was left open asks for by itself.
                _keep(request, filters)
    if filters.errors:
        status = 422
    if is_live(request):
        return render(request, "approvals/_queue.html", context, status=status)
    seen = requests.recently_seen()
    filters.offer(seen.agents, seen.environments, sorted(policy_groups()))
    return render(request, "approvals/queue.html", {**context, "whole": True}, status=status)


def _keep(request: PageRequest, filters: QueueFilters) -> None:
    """Let the session keep the filters, without the place in the pages."""
    address = request.GET.copy()
    for name in [name for name in address if name not in filters.fields or not address[name]]:
        del address[name]
    if request.session.get(KEPT, "") != (query := address.urlencode()):
        request.session[KEPT] = query


def kept_filters(request: PageRequest) -> QueueFilters:
    """The filters of the session's last visit, without those that make no sense any more."""
    kept = QueueFilters(QueryDict(request.session.get(KEPT, "")))
    kept.full_clean()
    return kept


def _lists(
    request: PageRequest, filters: QueueFilters, actor: Actor, now: datetime
) -> dict[str, Any]:
    chosen, cursor = filters.chosen(), request.GET.get("cursor", "")
    status = chosen.get("status")
    shows_waiting = status in {None, Status.PENDING}
    desk = waiting.Desk(actor, now)
    page = waiting.WaitingPage([], "")
    counts = waiting.Counts(0, 0)
    if shows_waiting:
        page = desk.page(chosen, sort=filters.order(), cursor=cursor, limit=WAITING_SHOWN)
        counts = desk.count(chosen)
    shows_decided = status != Status.PENDING and not cursor
    room = min(DECIDED_SHOWN, ROWS - len(page.items))
    # One more than is shown tells whether there are more.
    decided = requests.list_decided(chosen, now, room + 1) if shows_decided else []
    # What the tab tells is true whatever is filtered.
    in_all = desk.count({}) if chosen else counts
    address = request.GET.copy()
    address.pop("cursor", None)
    first = address.urlencode()
    address["cursor"] = page.next_cursor
    return {
        "now": now,
        "groups": sorted(actor.groups),
        "filtered": bool(chosen),
        "shows_waiting": shows_waiting,
        "shows_decided": shows_decided,
        "counts": counts,
        "in_all": in_all,
        # Something may have been opened between the two counts, or decided.
        "outside": max(in_all.mine - counts.mine, 0),
        "mine": [item for item in page.items if item.needs_me],
        "others": [item for item in page.items if not item.needs_me],
        "later": bool(cursor),
        "first_query": first,
        "next_query": address.urlencode() if page.next_cursor else "",
        "decided": [(row, status_at(row, now)) for row in decided[:room]],
        "more_decided": len(decided) > room,
        "decided_shown": room,
    }
