"""The queue: what waits, what I may decide first, and what was decided lately."""

import secrets
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from django.http import HttpResponse, QueryDict
from django.middleware.csrf import get_token
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
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
from approvals.views.sharing import shared

# Rows on a page, of which those that were decided get what is left by those that wait.
ROWS, WAITING_SHOWN, DECIDED_SHOWN = 50, 40, 25
# The form of the filters, as htmx names it.
FORM = "filters"
# The live part, as htmx names it when the page asks for it by itself.
PART = "queue"
# Under what the session keeps the filters, and what in an address lets go of them.
KEPT, CLEAR = "queue", "clear"
# Under what it keeps what came of a batch until the next page tells it.
SAID = "batch"
# What stands in a part that is shared where something of each browser goes; no text that people or
# agents wrote can hold them.
_TOKEN, _CLOCK = (f"own-{secrets.token_hex(16)}" for _ in range(2))


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
    actor = actor_of(request)
    if is_live(request) and request.htmx.trigger == PART:
        return _refreshed(request, actor)
    return queue_page(request, actor, summary=said)


def _refreshed(request: PageRequest, actor: Actor) -> HttpResponse:
    """The live part for a page that asks by itself, as many do at once whenever something happens.

    Made once for all who see the same: with the same filters, in the same zone, and as the same
    person, who is nobody in particular where that makes no difference.
    """
    newest, zone = requests.newest(), timezone.get_current_timezone_name()
    happened = newest.happened
    seen_as = shared(happened, actor, lambda: waiting.Desk(actor, newest.now).seen_as())

    def give(key: Hashable, make: Callable[[], T]) -> T:
        return shared(happened, (zone, key), make)

    def part() -> _Part:
        # Without the request, so that nothing of whoever asked first can get into it.
        context = _context(request.GET, seen_as, give)
        blank = {"csrf_token": _TOKEN, "clock": _CLOCK}
        html = render_to_string("approvals/_queue.html", {**context, **blank})
        return _Part(html, 422 if context["filters"].errors else 200)

    made = shared(happened, (zone, seen_as, request.GET.urlencode()), part)
    # What is one browser's own, and the time by which its countdowns go.
    own = made.html.replace(_TOKEN, get_token(request)).replace(_CLOCK, newest.now.isoformat())
    return HttpResponse(own, status=made.status)


@dataclass(frozen=True)
class _Part:
    """A live part for whoever sees it alike, with places for what is each browser's own."""

    html: str
    status: int


def queue_page(
    request: PageRequest,
    actor: Actor,
    *,
    batch: BatchForm | None = None,
    summary: Any = None,
    status: int = 200,
) -> HttpResponse:
    """The queue as the filters in the address show it, with what came of a batch, if any."""
    chosen = frozenset(request.POST.getlist("request") if batch else ())
    context = _context(request.GET, actor, chosen=chosen)
    filters = context["filters"]
    context |= {"batch": batch or BatchForm(), "summary": summary}
    if filters.errors:
        status = 422
    elif request.method == "GET" and request.htmx.trigger in {None, FORM, "id_text"}:
        # Not what a page that was left open asks for by itself.
        _keep(request, filters)
    if is_live(request):
        return render(request, "approvals/_queue.html", context, status=status)
    seen = requests.recently_seen()
    filters.offer(seen.agents, seen.environments, sorted(policy_groups()))
    return render(request, "approvals/queue.html", {**context, "whole": True}, status=status)


T = TypeVar("T")


class Give(Protocol):
    """Gives what the function makes of all that the key holds, or made of it before."""

    def __call__(self, key: Hashable, make: Callable[[], T], /) -> T:
        """Raises whatever the function raises."""


def _made_now(_: Hashable, make: Callable[[], T]) -> T:
    return make()


def _context(
    address: QueryDict, actor: Actor, give: Give = _made_now, chosen: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """What the live part shows this actor for the filters in the address."""
    filters = QueueFilters(address)
    context: dict[str, Any] = {
        "filters": filters,
        "query": address.urlencode(),
        "batch": BatchForm(),
    }
    if filters.is_valid():
        try:
            with patiently() as now:
                lists = _lists(address, filters, actor, now, give)
        except InvalidInput as fault:
            filters.add_error(None, str(fault))
        else:
            context |= {**lists, **_rows(lists, give, chosen)}
    return context


def _rows(lists: Mapping[str, Any], give: Give, chosen: frozenset[str]) -> dict[str, list[str]]:
    """The rows of the lists as HTML: of what waits, and of what was decided."""
    now = lists["now"]

    def waits(item: waiting.Waiting) -> str:
        shown = {"item": item, "now": now, "chosen": chosen}
        return give(item, partial(render_to_string, "approvals/_waiting_row.html", shown))

    def decided(item: tuple[Any, Status]) -> str:
        shown = {"row": item[0], "state": item[1], "now": now}
        return give(item, partial(render_to_string, "approvals/_decided_row.html", shown))

    return {
        "mine": [waits(item) for item in lists["mine"]],
        "others": [waits(item) for item in lists["others"]],
        "decided": [decided(item) for item in lists["decided"]],
    }


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
    asked: QueryDict, filters: QueueFilters, actor: Actor, now: datetime, give: Give
) -> dict[str, Any]:
    chosen, cursor = filters.chosen(), asked.get("cursor", "")
    status = chosen.get("status")
    shows_waiting = status in {None, Status.PENDING}
    desk = waiting.Desk(actor, now)
    page = waiting.WaitingPage([], "")
    counts = waiting.Counts(0, 0)
    if shows_waiting:
        page = desk.page(chosen, sort=filters.order(), cursor=cursor, limit=WAITING_SHOWN)
        is_whole = not cursor and not page.next_cursor
        counts = page.counts() if is_whole else desk.count(chosen)
    shows_decided = status != Status.PENDING and not cursor
    room = min(DECIDED_SHOWN, ROWS - len(page.items))
    # One more than is shown tells whether there are more.
    # Who asks makes no difference to these.
    key = ("decided", frozenset(chosen.items()), room)
    latest = partial(requests.list_decided, chosen, now, room + 1)
    decided = give(key, latest) if shows_decided else []
    # What the tab tells is true whatever is filtered.
    in_all = desk.count({}) if chosen else counts
    address = asked.copy()
    address.pop("cursor", None)
    first = address.urlencode()
    address["cursor"] = page.next_cursor
    return {
        "now": now,
        "clock": now.isoformat(),
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
