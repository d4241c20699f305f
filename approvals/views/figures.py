"""What insights show: for each figure its words, its numbers as a table, and how it is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

from approvals import charts
from approvals.charts import Series, Size
from approvals.core.risk import Risk
from approvals.preferences import Theme
from approvals.selectors import insights
from approvals.selectors.insights import Latency, Span, Window
from approvals.wording import duration, headline, plain

# More bars than that are no picture any more; the table has all rows.
BARS = 10
Draw: TypeAlias = Callable[[Theme, Size], str]


@dataclass(frozen=True)
class Figure:
    """A heading, a sentence on what the numbers mean, and the numbers: the first column names rows.

    `gist` is what the picture says, for those who do not see it. The table of a wide figure stands
    open beside the picture, any other is folded below it.
    """

    title: str
    note: str
    gist: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    draw: Draw
    empty: str = ""
    wide: bool = False


class Reading:
    """What the figures of a window need, each read once, and only when it is asked for."""

    def __init__(self, window: Window) -> None:
        self.window = window

    @cached_property
    def opened(self) -> insights.Opened:
        """What was asked for."""
        return insights.opened(self.window)

    @cached_property
    def ended(self) -> insights.Ended:
        """How requests ended."""
        return insights.ended(self.window)

    @cached_property
    def approvers(self) -> Sequence[insights.Approver]:
        """Who voted."""
        return insights.approvers(self.window)

    @cached_property
    def fastest(self) -> Sequence[insights.Timed]:
        """Who voted the fastest."""
        return insights.fastest_approvers(self.window)

    @cached_property
    def risks(self) -> Sequence[Latency]:
        """How long decisions took, by risk."""
        return insights.latency_by_risk(self.window)

    @cached_property
    def agents(self) -> Sequence[Latency]:
        """How long decisions took, by agent."""
        return insights.latency_by_agent(self.window)

    @cached_property
    def slowest(self) -> Sequence[Latency]:
        """Which operations waited longest."""
        return insights.slowest_operations(self.window)

    @cached_property
    def rejected(self) -> Sequence[insights.Rejected]:
        """Which operations were rejected most."""
        return insights.most_rejected_operations(self.window)


@lru_cache(maxsize=32)
def reading(span: Span, until: datetime, zone: ZoneInfo) -> Reading:
    """What was read for that moment: a page and its pictures, which ask for it one by one.

    Only so many are kept, each of a few kilobytes; what another process read is read again.
    """
    return Reading(insights.window(span, until, zone))


def volume(reading: Reading) -> Figure:
    """Requests opened over time, by risk."""
    opened, window = reading.opened, reading.window
    daily = window.span is not Span.DAY
    unit = "day" if daily else "hour"
    local = [start.astimezone(window.zone) for start in window.starts]
    labels = [f"{at.day} {at:%b}" if daily else f"{at:%H:%M}" for at in local]
    named = [f"{at:%a} {at.day} {at:%b}" if daily else f"{at:%a} {at:%H:%M}" for at in local]
    risks = list(reversed(Risk))
    series = [
        Series(risk.capitalize(), risk, [bucket[risk] for bucket in opened.by_bucket])
        for risk in risks
    ]
    totals = [sum(bucket.values()) for bucket in opened.by_bucket]
    most = max(range(len(totals)), key=totals.__getitem__)
    return Figure(
        title="Requests opened",
        note=f"By {unit} and risk.",
        gist=f"{opened.total} in all; the busiest {unit} is {named[most]} with {totals[most]}.",
        head=(unit.capitalize(), *(risk.capitalize() for risk in risks), "All"),
        rows=[
            (name, *(str(bucket[risk]) for risk in risks), str(total))
            for name, bucket, total in zip(named, opened.by_bucket, totals, strict=True)
        ],
        draw=lambda theme, size: charts.columns(
            "Requests opened", labels, series, theme=theme, size=size, stacked=True
        ),
        empty="" if opened.total else "Nothing was asked for in this time.",
    )


def outcomes(reading: Reading) -> Figure:
    """How requests ended."""
    ended = reading.ended
    names = [status.capitalize() for status in ended.by_status]
    counts = list(ended.by_status.values())
    shares = [_share(count, ended.total) for count in counts]
    words = [f"{count} ({share})" for count, share in zip(counts, shares, strict=True)]
    return Figure(
        title="Outcomes",
        note="Of the requests that ended in this time, whenever they were opened.",
        gist=", ".join(f"{name} {text}" for name, text in zip(names, words, strict=True)) + ".",
        head=("Outcome", "Requests", "Share"),
        rows=[
            (name, str(count), share)
            for name, count, share in zip(names, counts, shares, strict=True)
        ],
        draw=_one("Outcomes", names, "Requests", counts, words),
        empty="" if ended.total else "Nothing was decided or ended in this time.",
    )


def hours(reading: Reading) -> Figure:
    """When of the day agents ask and people decide."""
    opened, ended = reading.opened.by_hour, reading.ended.by_hour
    labels = [f"{hour:02}:00" for hour in range(24)]
    series = [Series("Opened", "accent", opened), Series("Decided", "ink-soft", ended)]
    busiest = max(range(24), key=opened.__getitem__)
    return Figure(
        title="Time of day",
        note=f"When agents ask and when people approve or reject, in {_zone(reading.window)}.",
        gist=f"The busiest hour begins at {labels[busiest]}, with {opened[busiest]} opened.",
        head=("From", "Opened", "Decided"),
        rows=[
            (label, str(asked), str(decided))
            for label, asked, decided in zip(labels, opened, ended, strict=True)
        ],
        draw=lambda theme, size: charts.columns(
            "Time of day", labels, series, theme=theme, size=size, stacked=False
        ),
        empty="" if any([*opened, *ended]) else "Nothing was asked for or decided in this time.",
    )


def risks(reading: Reading) -> Figure:
    """How long decisions take, by risk."""
    return _latency(
        "Time to a decision, by risk",
        "From the opening until people approved or rejected: half of the decisions took no longer"
        " than the median, 95 of 100 no longer than the 95th percentile.",
        "Risk",
        [(row.name.capitalize(), row) for row in reading.risks],
    )


def agents(reading: Reading) -> Figure:
    """How long decisions take, by agent."""
    return _latency(
        "Time to a decision, by agent",
        f"The {insights.TOP} agents with the most decisions, at most.",
        "Agent",
        [(plain(row.name), row) for row in reading.agents],
    )


def slowest(reading: Reading) -> Figure:
    """The operations that wait longest for people."""
    return _latency(
        "Slowest operations",
        f"The {insights.TOP} operations with the longest median time to a decision, at most.",
        "Operation",
        [(headline(row.name), row) for row in reading.slowest],
    )


def rejected(reading: Reading) -> Figure:
    """The operations that people say no to."""
    rows = reading.rejected
    names = [headline(row.operation) for row in rows]
    words = [
        f"{row.rejected} of {row.decided} ({_share(row.rejected, row.decided)})" for row in rows
    ]
    return Figure(
        title="Most rejected operations",
        note="Rejections among the decisions of people; what expired is not counted.",
        gist=_first(names, words),
        head=("Operation", "Decided", "Rejected", "Share rejected"),
        rows=[
            (name, str(row.decided), str(row.rejected), _share(row.rejected, row.decided))
            for name, row in zip(names, rows, strict=True)
        ],
        draw=_one("Most rejected operations", names, "Rejected", [r.rejected for r in rows], words),
        empty="" if rows else "Nothing was rejected in this time.",
    )


def approvers(reading: Reading) -> Figure:
    """How the votes are spread over people."""
    rows = reading.approvers
    names = [plain(row.name) for row in rows]
    words = [f"{row.votes}, {_share(row.rejected, row.votes)} rejected" for row in rows]
    return Figure(
        title="Votes, by approver",
        note="By whatever way they came; of a changed vote the last word counts. The"
        f" {insights.APPROVERS} with the most votes, at most.",
        gist=_first(names, words),
        head=("Approver", "Votes", "Approved", "Rejected", "Share rejected"),
        rows=[
            (
                name,
                str(row.votes),
                str(row.approved),
                str(row.rejected),
                _share(row.rejected, row.votes),
            )
            for name, row in zip(names, rows, strict=True)
        ],
        draw=_one("Votes, by approver", names, "Votes", [row.votes for row in rows], words),
        empty="" if rows else "Nobody voted in this time.",
    )


def care(reading: Reading) -> Figure:
    """How long people look before they vote."""
    rows = reading.fastest
    names = [plain(row.name) for row in rows]
    medians = [row.median_seconds for row in rows]
    # In seconds as far as that reads well: it is seconds that tell.
    words = [f"{s:.0f} s" if 9.95 <= s < 600 else _seconds(s) for s in medians]
    untimed = [row for row in reading.approvers if not row.timed]
    none = (
        "Nobody voted by a request's page in this time."
        f" Votes that were cast without opening it: {sum(row.votes for row in untimed)}."
    )
    return Figure(
        title="From opening the page to the vote",
        note="Half of a person's votes came within this time of opening the request's page; only"
        " votes by that page are timed. A median of a few seconds hints at rubber-stamping: at"
        " votes for what nobody read. A page that lies open counts as read. Other votes were cast"
        " without opening it: several at once, in the admin, by the API or in Linear. The"
        f" {insights.APPROVERS} with the shortest median, at most.",
        gist=_first(names, words),
        head=("Approver", "Timed votes", "Median", "Other votes"),
        rows=[
            *(
                (name, str(row.timed), text, str(row.votes - row.timed))
                for name, row, text in zip(names, rows, words, strict=True)
            ),
            *((plain(row.name), "0", "none", str(row.votes)) for row in untimed),
        ],
        draw=_one("From opening the page to the vote", names, "Median", medians, words),
        empty="" if rows else none,
        wide=True,
    )


FIGURES: Mapping[str, Callable[[Reading], Figure]] = {
    "volume": volume,
    "outcomes": outcomes,
    "risks": risks,
    "hours": hours,
    "agents": agents,
    "slowest": slowest,
    "rejected": rejected,
    "approvers": approvers,
    "care": care,
}


def _latency(title: str, note: str, kind: str, rows: Sequence[tuple[str, Latency]]) -> Figure:
    names = [name for name, _ in rows]
    halves = [row.p50_seconds for _, row in rows]
    most = [row.p95_seconds for _, row in rows]
    words = [_seconds(seconds) for seconds in halves]
    series = [
        Series("Median", "accent", halves, words),
        Series("95th percentile", "ink-soft", most, [_seconds(seconds) for seconds in most]),
    ]
    return Figure(
        title=title,
        note=note,
        gist=_first(names, words),
        head=(kind, "Decisions", "Median", "95th percentile"),
        rows=[
            (name, str(row.number), _seconds(row.p50_seconds), _seconds(row.p95_seconds))
            for name, row in rows
        ],
        draw=lambda theme, size: charts.bars(title, names, series, theme=theme, size=size),
        empty="" if rows else "Nobody decided anything in this time.",
    )


def _one(
    title: str, names: Sequence[str], kind: str, values: Sequence[float], words: Sequence[str]
) -> Draw:
    """Draws the first rows as bars of one kind."""
    series = [Series(kind, "accent", values[:BARS], words[:BARS])]
    return lambda theme, size: charts.bars(title, names[:BARS], series, theme=theme, size=size)


def _first(names: Sequence[str], words: Sequence[str]) -> str:
    return f"First {names[0]}: {words[0]}." if names else ""


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "0%"


def _seconds(seconds: float) -> str:
    """A duration, with tenths where they tell something."""
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(round(seconds))


def _zone(window: Window) -> str:
    return window.zone.key.replace("_", " ")
