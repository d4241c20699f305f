"""Filters for pages: text from outside passes `plain` or `headline`, addresses `web_address`."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from django import template
from django.utils import timezone

from approvals import masking, wording

register = template.Library()

# When a deadline is shown as urgent; static/desk.js counts down to the same.
SOON = timedelta(minutes=15)
# A phone shows some 40 characters a line and 20 lines beside the rest.
LONG_CHARACTERS = 1000
LONG_LINES = 20


@register.filter
def plain(value: object) -> str:
    """The value on one line, with nothing invisible in it."""
    return wording.plain(" ".join(str(value).split()))


@register.filter
def plain_lines(value: object) -> str:
    """The value with its lines kept, and nothing else invisible in it."""
    return wording.plain(str(value).replace("\r\n", "\n"), keep="\n")


@register.filter
def quiet(text: object, row: masking.Given) -> str:
    """A text that was left with a request, a run or what belongs to it, without its secrets."""
    return masking.quiet(row, str(text))


@register.filter
def headline(title: str) -> str:
    """A request's title as a heading."""
    return wording.headline(title)


@register.filter
def heading(row: Any) -> str:
    """What a request asks for, as a heading: "Deploy v2.5.0 to production"."""
    return wording.heading(row.operation, row.environment, row.task)


@register.filter
def further_arguments(task: Mapping[str, Any]) -> str:
    """A task's plain arguments without what its heading says, on one line, secrets masked."""
    return wording.arguments(task, without=wording.VERSION)


@register.filter
def arguments(task: Mapping[str, Any]) -> str:
    """A task's plain arguments on one line, secrets masked."""
    return wording.arguments(task)


@register.filter
def readable_json(value: Any) -> str:
    """JSON over several lines."""
    return wording.readable_json(value)


@register.filter
def is_long(text: str) -> bool:
    """Whether a text would push what matters off the screen, so that it scrolls in place."""
    return len(text) > LONG_CHARACTERS or text.count("\n") > LONG_LINES


@register.inclusion_tag("approvals/_quote.html")
def quote(text: object, label: str, place: object) -> dict[str, Any]:
    """What somebody said, with its lines; a long one scrolls in place under that label.

    `place` tells it from every other quote on the page, through each refresh.
    """
    return {"text": plain_lines(text), "label": label, "place": place}


@register.filter
def web_address(value: object) -> str:
    """The address where it is http(s) with a host, else nothing: no other scheme becomes a link."""
    text = str(value or "")
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in {"http", "https"} and parts.hostname else ""


@register.filter
def via_words(via: str) -> str:
    """The way by which something came, in words."""
    return wording.VIA.get(via, via)


@register.filter
def channel_words(name: str) -> str:
    """A channel's name for people."""
    return wording.CHANNELS.get(name, name)


@register.filter
def pips(approvals: int, quorum: int) -> list[bool]:
    """One truth for each vote that is needed: whether it was given."""
    return [place < approvals for place in range(quorum)]


@register.inclusion_tag("approvals/_moment.html")
def moment(value: datetime, now: datetime, *, absolute: bool = True) -> dict[str, Any]:
    """A time element: the absolute time in the viewer's zone, and how far it is from now."""
    at = timezone.localtime(value)
    day = f"{at:%d %b %Y}" if at.year != now.year else f"{at:%d %b}"
    zone = at.tzname() or ""
    return {
        "iso": value.astimezone(UTC).isoformat(timespec="seconds"),
        "full": f"{at:%A, %d %B %Y, %H:%M:%S} {zone}",
        "short": f"{day}, {at:%H:%M} {zone}",
        "words": wording.relative(value, now),
        "absolute": absolute,
    }


@register.inclusion_tag("approvals/_moment.html")
def deadline(value: datetime, now: datetime) -> dict[str, Any]:
    """A time element that counts down, and is urgent shortly before."""
    return {**moment(value, now), "until": True, "soon": value - now < SOON}


@register.inclusion_tag("approvals/_status.html")
def status(name: str) -> dict[str, str]:
    """A status by shape, colour and word."""
    return {"name": name}


@register.inclusion_tag("approvals/_risk.html")
def risk(level: str) -> dict[str, str]:
    """A risk by shape, colour and word."""
    return {"level": level}
