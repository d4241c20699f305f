"""The two people of the benchmark: who asks, and who decides."""

import time
from functools import cache

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User

from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via
from approvals.services import create_approver, create_token
from hitl_project.sessions import USED, SessionStore

ASKS = "rosa"
DECIDES = "ada"
DECIDES_LINEAR_ID = "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba"


def create_people() -> None:
    """Create both accounts, the token of the one and the session of the other."""
    create_approver(ASKS, email="rosa@example.com", groups=["developers"])
    create_approver(
        DECIDES,
        email="ada@example.com",
        groups=["developers", "platform", "release-managers"],
        linear_user_id=DECIDES_LINEAR_ID,
    )
    asking_token()
    session()


@cache
def asking() -> Actor:
    """Whoever asks, as an actor."""
    return user_actor(User.objects.get(username=ASKS), Via.API)


@cache
def deciding() -> Actor:
    """Whoever decides, as an actor."""
    return user_actor(User.objects.get(username=DECIDES), Via.API)


@cache
def asking_token() -> str:
    """A token that may ask."""
    return create_token(ASKS, scope="request")


@cache
def session() -> str:
    """The key of a session in which whoever decides has logged in."""
    user = User.objects.get(username=DECIDES)
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store[USED] = int(time.time())
    store.create()
    return str(store.session_key)


def logged_in() -> dict[str, str]:
    """The header with which a browser shows its session."""
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session()}"}
