"""Charts as SVG images in the pages' own colours: no script, nothing from elsewhere.

A picture is drawn for a wide or a narrow place, since its text shrinks and grows with it. An image
knows nothing of the page that shows it, so it is told the theme. Series differ by pattern as well
as by colour.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any
from xml.etree.ElementTree import Element

import pygal
from pygal.style import Style

from approvals.preferences import Theme
from approvals.wording import plain

# As in static/hitl.css, where each is light-dark(…).
PALETTE: Mapping[str, tuple[str, str]] = {
    "ink": ("#18201e", "#e6ece9"),
    "ink-soft": ("#4d5a56", "#a3b1ac"),
    "surface": ("#ffffff", "#181f1c"),
    "line": ("#d5dcd8", "#2c3632"),
    "line-strong": ("#84918c", "#6d7b76"),
    "accent": ("#0e5c56", "#7fd8cb"),
    "critical": ("#a3113a", "#ff9db4"),
    "high": ("#96420a", "#fbb37c"),
    "medium": ("#6b5600", "#e5cd68"),
    "low": ("#3a6226", "#aed694"),
}
# How each series is filled, in turn: full, striped, dotted, and hardly more than its outline.
_TILE = '<rect width="8" height="8" class="ground"/><rect width="8" height="8" class="{}"/>'
_PATTERNS = (
    _TILE.format("colour"),
    _TILE.format("colour") + '<path d="M-2 2 2-2M-1 9 9-1M6 10 10 6" class="stripe"/>',
    _TILE.format("colour half") + '<circle cx="4" cy="4" r="1.7" class="colour"/>',
    _TILE.format("colour hint"),
)
_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif'
_TEXT_PX = 13
_CSS = """
text { font: 13px FONT; fill: var(--ink); stroke: none; }
.axis text { fill: var(--ink-soft); }
.axis.x text { text-anchor: middle; }
.axis.y text { text-anchor: end; }
.horizontal .axis.y text { fill: var(--ink); }
.text-overlay text.value { text-anchor: start; fill: var(--ink-soft); }
.background { fill: none; }
.line { fill: none; stroke: var(--line); stroke-width: 1; }
.axis.line, .axis > .line { stroke: var(--line-strong); }
.axis.x:not(.always_show) .line, .axis.y:not(.always_show) .line { stroke: none; }
.reactive { stroke-width: 1; }
.ground { fill: var(--surface); }
.stripe { fill: none; stroke: var(--surface); stroke-width: 1.6; }
.half { fill-opacity: 0.3; }
.hint { fill-opacity: 0.1; }
"""
_DROPPED = {"script", "desc"}


@dataclass(frozen=True)
class Size:
    """The width in pixels of the place a chart is drawn for, and how many labels fit below it."""

    width: int
    label_characters: int
    labels_below: int


WIDE = Size(600, 24, 8)
NARROW = Size(350, 15, 4)


@dataclass(frozen=True)
class Series:
    """Values of one kind in one colour of the palette, each with the words that stand beside it."""

    name: str
    colour: str
    values: Sequence[float]
    words: Sequence[str] = ()


def columns(
    title: str,
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    theme: Theme,
    size: Size,
    stacked: bool,
) -> str:
    """Counts along time as upright columns, on top of or beside each other."""
    totals = (
        [sum(heap) for heap in zip(*(one.values for one in series), strict=True)]
        if stacked
        else [value for one in series for value in one.values]
    )
    every = ceil(len(labels) / size.labels_below)
    shown = [label if place % every == 0 else "" for place, label in enumerate(labels)]
    chart = pygal.StackedBar if stacked else pygal.Bar
    drawn = chart(
        **_look(series, theme),
        width=size.width,
        height=300,
        y_labels=_ticks(max(totals, default=0)),
        value_formatter=lambda value: f"{value:,.0f}",
        legend_at_bottom_columns=len(series) if size is WIDE else min(len(series), 2),
    )
    return _drawn(drawn, title, shown, series)


def bars(
    title: str, labels: Sequence[str], series: Sequence[Series], *, theme: Theme, size: Size
) -> str:
    """What has names as lying bars, the first on top, with the words at the end of each."""
    names = [_short(label, size.label_characters) for label in reversed(labels)]
    lying = [Series(one.name, one.colour, one.values[::-1], one.words[::-1]) for one in series]
    longest = max((value for one in series for value in one.values), default=0) or 1
    beside = 8 * max((len(text) for one in series for text in one.words), default=0)
    plot = size.width - 40 - 0.6 * _TEXT_PX * max(map(len, names), default=0)
    # As much room at the end of the longest bar as its words take.
    reach = longest * plot / max(plot - beside, plot / 4)
    legend_rows = 0 if len(series) == 1 else len(series) if size is NARROW else 1
    thickness = 34 if len(series) == 1 else 24 * len(series)
    drawn = pygal.HorizontalBar(
        **_look(series, theme),
        width=size.width,
        height=thickness * len(labels) + 30 + 24 * legend_rows,
        range=(0, reach),
        show_x_labels=False,
        show_x_guides=False,
        show_y_guides=False,
        print_values=True,
        print_values_position="top",
        legend_at_bottom_columns=1 if size is NARROW else len(series),
    )
    return _drawn(drawn, title, names, lying)


def _look(series: Sequence[Series], theme: Theme) -> dict[str, Any]:
    places = range(len(series))
    fills = (
        f".color-{place} .rect, rect.color-{place} {{ fill: url(#fill-{place});"
        f" stroke: var(--{one.colour}); }}"
        f" #fill-{place} .colour {{ fill: var(--{one.colour}); }}"
        for place, one in enumerate(series)
    )
    css = "".join([_tokens(theme), _CSS.replace("FONT", _FONT), *fills])
    return {
        "style": Style(
            font_family=_FONT,
            colors=tuple("#000000" for _ in places),
            label_font_size=_TEXT_PX,
            major_label_font_size=_TEXT_PX,
            value_font_size=_TEXT_PX,
            legend_font_size=_TEXT_PX,
        ),
        "css": [f"inline:{css}"],
        "defs": [
            f'<pattern id="fill-{place}" width="8" height="8" patternUnits="userSpaceOnUse">'
            f"{_PATTERNS[place % len(_PATTERNS)]}</pattern>"
            for place in places
        ],
        "js": [],
        "no_prefix": True,
        "disable_xml_declaration": True,
        "explicit_size": True,
        "show_legend": len(series) > 1,
        "legend_at_bottom": True,
        "legend_box_size": 14,
        "truncate_legend": -1,
        "truncate_label": -1,
        "margin": 10,
    }


def _tokens(theme: Theme) -> str:
    def palette(which: int) -> str:
        return "".join(f"--{name}:{colours[which]};" for name, colours in PALETTE.items())

    if theme is Theme.SYSTEM:
        dark = f"@media (prefers-color-scheme: dark){{svg{{{palette(1)}}}}}"
        return f"svg{{{palette(0)}}}{dark}"
    return f"svg{{{palette(1 if theme is Theme.DARK else 0)}}}"


def _drawn(chart: Any, title: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    chart.x_labels = [plain(label) for label in labels]
    for one in series:
        words = one.words or [""] * len(one.values)
        chart.add(
            plain(one.name),
            [
                {"value": value, "formatter": lambda _, text=text: text}
                for value, text in zip(one.values, words, strict=True)
            ],
        )
    chart.add_xml_filter(lambda root: _quiet(root, plain(title)))
    picture: str = chart.render()
    return picture


def _quiet(root: Element, title: str) -> Element:
    """The drawing without what only a script would use; its title is what a tab would show."""
    root.attrib.pop("id", None)
    for parent in list(root.iter()):
        for child in list(parent):
            if _is_noise(child):
                parent.remove(child)
            elif child.tag == "title":
                child.text = title
    return root


def _is_noise(element: Element) -> bool:
    # Comments have a function for a tag; titles of parts are tooltips, too.
    named = isinstance(element.tag, str) and element.tag not in _DROPPED
    return not named or "tooltip-overlay" in element.get("class", "")


def _short(text: str, characters: int) -> str:
    words = plain(text)
    return words if len(words) <= characters else f"{words[: characters - 1]}…"


def _ticks(highest: float) -> list[int]:
    """At most six whole numbers from 0, of which the last is not below the highest value."""
    step = next(
        step
        for power in range(20)
        for step in (10**power, 2 * 10**power, 5 * 10**power)
        if step * 5 >= highest
    )
    return list(range(0, step * max(ceil(highest / step), 1) + 1, step))
