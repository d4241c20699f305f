"""The two people of the benchmark: who asks, and who decides."""

from functools import cache

from django.contrib.auth.models import User

from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via
from approvals.services import create_approver, create_token

ASKS = "rosa"
DECIDES = "ada"
DECIDES_LINEAR_ID = "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba"


def create_people() -> None:
    """Create both accounts."""
    create_approver(ASKS, email="rosa@example.com", groups=["developers"])
    create_approver(
        DECIDES,
        email="ada@example.com",
        groups=["developers", "platform", "release-managers"],
        linear_user_id=DECIDES_LINEAR_ID,
    )


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
