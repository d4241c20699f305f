"""How somebody likes the pages in this browser: a phone and a desk differ, so a cookie keeps it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache
from urllib.parse import parse_qsl, urlencode
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

COOKIE = "hitl_preferences"
# What the browser says of itself, by static/zone.js; only where no zone was chosen.
ZONE_COOKIE = "hitl_zone"
_YEAR_SECONDS = 365 * 86_400


class Theme(StrEnum):
    """Light or dark, or whichever the system is in."""

    SYSTEM = "system"
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True)
class Preferences:
    """What was chosen; an empty zone is the browser's own."""

    theme: Theme = Theme.SYSTEM
    zone: str = ""
    keys: bool = True
    notify: bool = False


@cache
def zones() -> frozenset[str]:
    """Every time zone by its name, such as Europe/Berlin."""
    # Those of a machine, and of nowhere, are no place that a person is at.
    return frozenset(available_timezones()) - {"Factory", "localtime"}


def read(cookies: Mapping[str, str]) -> Preferences:
    """What the cookie holds; what nobody could have chosen is left out."""
    found = dict(parse_qsl(cookies.get(COOKIE, "")[:500]))
    theme, zone = found.get("theme", ""), found.get("zone", "")
    return Preferences(
        theme=Theme(theme) if theme in set(Theme) else Theme.SYSTEM,
        zone=zone if zone in zones() else "",
        keys=found.get("keys") != "0",
        notify=found.get("notify") == "1",
    )


def write(response: HttpResponseBase, chosen: Preferences) -> None:
    """Keep what was chosen for a year."""
    values = {name: int(v) if isinstance(v, bool) else v for name, v in asdict(chosen).items()}
    response.set_cookie(
        COOKIE,
        urlencode(values),
        max_age=_YEAR_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def zone_of(cookies: Mapping[str, str]) -> ZoneInfo:
    """The zone that was chosen, else the browser's, else UTC."""
    name = read(cookies).zone or cookies.get(ZONE_COOKIE, "")
    return ZoneInfo(name if name in zones() else "UTC")


def in_zone(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: times are shown in the zone of whoever looks."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        with timezone.override(zone_of(request.COOKIES)):
            return get_response(request)

    return answer


def for_templates(request: HttpRequest) -> dict[str, Preferences]:
    """Context processor: `preferences`."""
    return {"preferences": read(request.COOKIES)}
