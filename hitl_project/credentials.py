"""Secrets of the environment: one that is torn or cannot be sent stops the start, unrepeated.

Whoever meets it later would quote it in an error, and errors stand in logs and on pages.
"""

import re
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

# As OpenTelemetry reads the variable; it warns of anything else by quoting it.
_HEADER = re.compile(r"[\w!#$%&'*+.^`|~-]+ *=[ !#-+\--:<-\[\]-~]*", re.ASCII)


def read_postgresql(name: str, url: str) -> dict[str, Any]:
    """What an address of PostgreSQL says, in libpq's words; ImproperlyConfigured if it is torn."""
    # What is no UTF-8 is found by Python, before libpq or after it.
    with suppress(ProgrammingError, UnicodeError):
        parts = conninfo_to_dict(url)
        # Of a password with an @ or a slash the rest is taken for these. A path may hold an @, and
        # an abstract socket begins with one.
        torn = re.search("(^|,)@?[^@/,][^,]*@", str(parts.get("host", "")))
        if not torn and re.fullmatch("[0-9,]*", str(parts.get("port", ""))):
            return parts
    raise _torn(name, "postgresql://user:password@host/name")


def check_redis(name: str, url: str) -> None:
    """Raise ImproperlyConfigured where an address of Redis is torn."""
    with suppress(ValueError):
        parts = urlsplit(url)
        if parts.port != 0 and re.fullmatch("/?[0-9]*/?", parts.path):
            return
    raise _torn(name, "redis://:password@host:6379/0")


def check_header(name: str, value: str) -> None:
    """Raise ImproperlyConfigured where a value cannot be sent in a header."""
    if not _is_plain(value):
        raise ImproperlyConfigured(
            f"{name} must be printable ASCII on one line: copy it once more, as it was given."
        )


def check_header_list(name: str, text: str) -> None:
    """Raise ImproperlyConfigured where not all of name=value,name=value can be sent as headers."""
    parts = filter(None, (part.strip() for part in text.split(",")))
    if not all(_HEADER.fullmatch(part) and _is_plain(unquote(part)) for part in parts):
        raise ImproperlyConfigured(
            f"{name} must be name=value, several with commas in between, in printable ASCII; in a"
            " value write special characters as percent codes, such as %2C for a comma."
        )


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _torn(name: str, form: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"{name} cannot be read as {form}: write special characters of the password as percent"
        " codes of their UTF-8, such as %25 for %, %2F for / and %40 for @."
    )
