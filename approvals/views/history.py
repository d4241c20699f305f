"""The history: what was decided or ended, as pages and as one long CSV file."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from approvals import live, spreadsheet
from approvals.clock import clock
from approvals.errors import InvalidInput
from approvals.history_form import HistoryFilters
from approvals.patience import patiently
from approvals.selectors import history as requests
from approvals.selectors.queue import PAGE_SIZE, Page
from approvals.views.access import PageRequest, signed_in

# Few enough that the largest tasks of a batch take little memory.
CSV_BATCH = 200


@require_safe
@signed_in
def history(request: PageRequest) -> HttpResponse:
    """One page, the latest first; 422 where a filter or the cursor makes no sense."""
    filters = HistoryFilters(request.GET)
    cursor = request.GET.get("cursor", "")
    query = request.GET.copy()
    query.pop("cursor", None)
    fault, page, now = "", None, clock()
    if filters.is_valid():
        try:
            with patiently():
                page = _reader(filters, now)(cursor)
        except InvalidInput as refusal:
            fault = str(refusal)
    context = {
        "now": now,
        "filters": filters,
        "filtered": any(filters.cleaned_data.values()),
        "fault": fault,
        "page": page,
        "later": bool(cursor),
        "query": query.urlencode(),
        "seen": requests.suggestions(),
    }
    return render(request, "approvals/history.html", context, status=200 if page else 422)


@require_safe
@signed_in
def history_csv(request: PageRequest) -> HttpResponseBase:
    """Everything that fits the filters, line by line as it is read; 422 where one is wrong."""
    filters = HistoryFilters(request.GET)
    if not filters.is_valid():
        faults = " ".join(str(error) for errors in filters.errors.values() for error in errors)
        return HttpResponse(faults, status=422, content_type="text/plain; charset=utf-8")
    read = partial(_reader(filters, clock()), limit=CSV_BATCH)
    name = f"history-{timezone.localdate():%Y-%m-%d}.csv"
    return StreamingHttpResponse(
        _lines(read),
        content_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            # A proxy that gathers the answer first would make people wait for nothing.
            "X-Accel-Buffering": "no",
        },
    )


def _reader(filters: HistoryFilters, now: datetime) -> Callable[..., Page]:
    """Reads a page by its cursor, as filters that look at the time see it then."""
    since, until = filters.between()
    chosen = filters.chosen()

    def read(cursor: str, limit: int = PAGE_SIZE) -> Page:
        return requests.list_ended(
            chosen, now, since=since, until=until, cursor=cursor, limit=limit
        )

    return read


async def _lines(read: Callable[[str], Page]) -> AsyncIterator[str]:
    """Batch by batch, so that no more than one is ever in memory and no connection waits for it."""
    yield spreadsheet.header()
    cursor = ""
    while True:
        page = await live.let_go(partial(read, cursor))
        yield spreadsheet.lines(page.rows)
        cursor = page.next_cursor
        if not cursor:
            return
