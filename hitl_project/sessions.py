"""How long a login lasts: so long after it at most, and no longer than somebody uses it.

Named in SESSION_ENGINE. A session holds no rights, only who logged in: groups are read anew for
every request, so what an account gains or loses counts at once in the sessions it has.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone

USED = "used_at"
# Not every click is worth a write.
NOTE_SECONDS = 60


class SessionStore(db.SessionStore):
    """Django's sessions in the database; a login that nobody used for long is none any more."""

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """What the session holds; nothing where it was not used for HITL_SESSION_IDLE_MINUTES."""
        data = super().decode(session_data)
        # A login without a note is older than this rule, and nobody knows when it was used.
        if SESSION_KEY in data and time.time() - data.get(USED, 0) > settings.SESSION_IDLE_SECONDS:
            return {}
        return data


def begin(request: HttpRequest, **_: object) -> None:
    """Set when a new login ends, whatever is done in it."""
    request.session.set_expiry(timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE))
    request.session[USED] = int(time.time())


def note_use(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: notes when somebody last used their login."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        session = request.session
        if _by_hand(request) and session.accessed and SESSION_KEY in session:
            now = int(time.time())
            if now - session.get(USED, 0) >= NOTE_SECONDS:
                session[USED] = now
        return response

    return answer


def _by_hand(request: HttpRequest) -> bool:
    """Whether a person asked: an open page follows what changes with nobody in front of it."""
    refresh = request.method == "GET" and "HX-Request" in request.headers
    return not refresh and request.path != reverse("events")
