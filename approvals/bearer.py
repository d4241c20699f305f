"""`Authorization: Bearer TOKEN`: from the header of an API call to the actor behind it."""

from dataclasses import dataclass, replace

from django.contrib.auth.models import User
from django.http import HttpRequest
from ninja.security import HttpBearer

from approvals.actors import find_token, user_actor
from approvals.core.lifecycle import Actor, Via
from approvals.core.roles import ABILITIES, SCOPES, Ability
from approvals.errors import NotAllowed

_NEEDS = {
    Ability.START: "A token with the scope request",
    Ability.CANCEL_OWN: "A token with the scope request",
    Ability.DECIDE: "A token with the scope decide",
}


@dataclass(frozen=True)
class Bearer:
    """Whose token came with a call, and what it is for."""

    user: User
    scope: str


class ApiCall(HttpRequest):
    """An HTTP request whose token was accepted."""

    auth: Bearer


class BearerToken(HttpBearer):
    """Accepts the live token of an active account; reads the database."""

    def authenticate(self, request: HttpRequest, token: str) -> Bearer | None:  # noqa: ARG002
        """The token's bearer, or None, which is answered with 401."""
        found = find_token(token)
        return None if found is None else Bearer(found.user, found.scope)


def actor_of(call: ApiCall, ability: Ability) -> Actor:
    """The actor of a call that needs the ability; NotAllowed where the token's scope lacks it.

    Nobody operates by token, so an operator's token cancels no more than its owner's requests.
    Groups are read only where they matter: for deciding.
    """
    user, scope = call.auth.user, call.auth.scope
    if ability not in ABILITIES[SCOPES[scope]]:
        needed = _NEEDS.get(ability, "Another way than the API")
        raise NotAllowed(f"{needed} is needed for this; yours has the scope {scope}.")
    if ability is Ability.DECIDE:
        return replace(user_actor(user, Via.API), operator=False)
    return Actor(name=user.get_username(), via=Via.API, user_id=user.pk, active=user.is_active)
