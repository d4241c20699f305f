"""Insights: what was asked for and decided lately, in figures with a picture and a table each."""

from datetime import datetime, timedelta

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from approvals import preferences
from approvals.charts import NARROW, WIDE
from approvals.clock import clock
from approvals.selectors.insights import Span
from approvals.views.access import PageRequest, signed_in
from approvals.views.figures import FIGURES, reading

# A page asks for its pictures as of its own moment, and not much later.
_LONGEST_LAG = timedelta(days=1)
# A picture carries its style within, and nothing else may be in it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
SPANS = {Span.DAY: "24 hours", Span.WEEK: "7 days", Span.MONTH: "30 days"}


@require_safe
@signed_in
def insights(request: PageRequest) -> HttpResponse:
    """All figures of the chosen span; 422 for a span that cannot be chosen."""
    now = clock()
    given = request.GET.get("span", Span.WEEK)
    if given not in set(Span):
        return render(request, "approvals/insights.html", {"spans": SPANS}, status=422)
    read = reading(Span(given), now, preferences.zone_of(request.COOKIES))
    looked = read.window
    figures = {name: figure(read) for name, figure in FIGURES.items()}
    context = {
        "now": now,
        "spans": SPANS,
        "span": looked.span,
        "words": SPANS[looked.span],
        "since": looked.since,
        "until": looked.until.isoformat(),
        "opened": read.opened.total,
        "ended": read.ended,
        "figures": figures,
        "empty": not (read.opened.total or read.ended.total or read.approvers),
    }
    return render(request, "approvals/insights.html", context)


@require_safe
@signed_in
def chart(request: PageRequest, name: str) -> HttpResponse:
    """One figure as an SVG image, in the theme of this browser; `size=narrow` for phones.

    `until` gives the picture the same numbers as the table that was read at that moment.
    """
    span = request.GET.get("span", Span.WEEK)
    if name not in FIGURES or span not in set(Span):
        raise Http404("There is no such chart.")
    until = _moment(request.GET.get("until", ""), clock())
    figure = FIGURES[name](reading(Span(span), until, preferences.zone_of(request.COOKIES)))
    size = NARROW if request.GET.get("size") == "narrow" else WIDE
    picture = figure.draw(preferences.read(request.COOKIES).theme, size)
    return HttpResponse(
        picture,
        content_type="image/svg+xml; charset=utf-8",
        headers={"Content-Security-Policy": _POLICY},
    )


def _moment(text: str, now: datetime) -> datetime:
    """The given moment where it is a recent one, else now."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        return now
    return given if given.tzinfo and now - _LONGEST_LAG < given <= now else now
