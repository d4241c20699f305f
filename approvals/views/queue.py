"""The queue: what waits, what I may decide first, and what was decided lately."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from approvals import outbox
from approvals.core.lifecycle import Status
from approvals.forms import QueueFilters
from approvals.selectors import queue as requests
from approvals.selectors.request import status_at
from approvals.views.access import PageRequest, actor_of, signed_in

WAITING_SHOWN = 100
DECIDED_SHOWN = 25


@require_safe
@signed_in
def queue(request: PageRequest) -> HttpResponse:
    """The whole page, or its live part for htmx; 422 where a filter makes no sense."""
    filters = QueueFilters(request.GET)
    fits = filters.is_valid()
    chosen = filters.chosen() if fits else {}
    status = chosen.get("status")
    actor, now = actor_of(request), outbox.clock()
    waiting = (
        requests.waiting_for(actor, chosen, now, WAITING_SHOWN)
        if fits and status in {None, Status.PENDING}
        else []
    )
    decided = (
        requests.list_decided(chosen, DECIDED_SHOWN) if fits and status != Status.PENDING else []
    )
    context = {
        "now": now,
        "groups": sorted(actor.groups),
        "filters": filters,
        "filtered": bool(chosen),
        "query": request.GET.urlencode(),
        "shows_waiting": status in {None, Status.PENDING},
        "shows_decided": status != Status.PENDING,
        "mine": [item for item in waiting if item.needs_me],
        "others": [item for item in waiting if not item.needs_me],
        "more_wait": len(waiting) == WAITING_SHOWN,
        "waiting_shown": WAITING_SHOWN,
        "decided": [(row, status_at(row, now)) for row in decided],
        "more_decided": len(decided) == DECIDED_SHOWN,
        "decided_shown": DECIDED_SHOWN,
    }
    if request.htmx and not request.htmx.history_restore_request:
        return render(request, "approvals/_queue.html", context, status=200 if fits else 422)
    seen = requests.recently_seen()
    filters.offer(seen.agents, seen.environments)
    return render(request, "approvals/queue.html", context, status=200 if fits else 422)
