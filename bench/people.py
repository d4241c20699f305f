"""The people of the benchmark: who asks, who decides, and a crowd that looks."""

import time
from collections.abc import Mapping, Sequence
from functools import cache

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User

from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.preferences import ZONE_COOKIE
from approvals.services import cast_vote, create_approver, create_token, open_request
from hitl_project.sessions import USED, SessionStore

ASKS = "rosa"
DECIDES = "ada"
DECIDES_LINEAR_ID = "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba"

# The groups of each in a crowd; which of six asks, and which may vote on it.
ROLES = (
    ("developers",),
    ("platform",),
    ("release-managers",),
    ("developers", "platform"),
    ("developers", "platform", "release-managers"),
    ("operators",),
)
ASKING, VOTING = 0, 2
ZONES = ("UTC", "Europe/Berlin")
# Waits on after one vote.
FOR_TWO = {"operation": "delete_bucket", "environment": "production", "arguments": {"name": "old"}}


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
    return _session_of(User.objects.get(username=DECIDES))


def logged_in() -> dict[str, str]:
    """The header with which a browser shows its session."""
    return _cookies(session(), ZONES[0])


def crowd(number: int) -> Sequence[Mapping[str, str]]:
    """The headers of so many people's browsers, with several rights and in two time zones.

    They are made in the gateway that Django works in. Of each six, one has asked for something that
    waits and one has voted on it, so that those see what nobody else does.
    """
    names = [(f"p{place}", ROLES[place % len(ROLES)]) for place in range(number)]
    people = [create_approver(name, email=f"{name}@x.io", groups=groups) for name, groups in names]
    actors = [user_actor(person, Via.WEB) for person in people]
    asking_ones, voting_ones = (actors[place :: len(ROLES)] for place in (ASKING, VOTING))
    for asks, votes in zip(asking_ones, voting_ones, strict=False):
        opened = open_request(
            workflow_id="crowd", thread_id="crowd", task=FOR_TWO, agent_name="cicd", actor=asks
        )
        if opened.request_id is None:
            raise ValueError("The rules let it through without a human.")
        cast_vote(opened.request_id, actor=votes, choice=Choice.APPROVE)
    return [
        _cookies(_session_of(person), ZONES[place // len(ROLES) % len(ZONES)])
        for place, person in enumerate(people)
    ]


def _cookies(session_key: str, zone: str) -> dict[str, str]:
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session_key}; {ZONE_COOKIE}={zone}"}


def _session_of(user: User) -> str:
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store[USED] = int(time.time())
    store.create()
    return str(store.session_key)
