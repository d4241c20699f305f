"""From a session, a token or a Linear person to the actor of a verb, and what they may do."""

import hashlib
from typing import cast

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User

from approvals.core.lifecycle import Actor, Via
from approvals.core.roles import OPERATORS, Ability, may, roles_of
from approvals.models import ApiToken, ApproverProfile, ClockTimestamp
from approvals.policy import policy_groups


def user_actor(user: User | AbstractBaseUser | AnonymousUser, via: Via) -> Actor:
    """The actor of an account; reads its groups."""
    account = cast("User", user)
    groups = frozenset(account.groups.values_list("name", flat=True))
    return Actor(
        name=account.get_username(),
        via=via,
        user_id=account.pk,
        aliases=frozenset(
            filter(None, (account.get_username(), account.email, account.get_full_name()))
        ),
        groups=groups,
        active=account.is_active,
        # A superuser may operate, but decides only what the policy lets them decide.
        operator=account.is_superuser or OPERATORS in groups,
    )


def able(actor: Actor, ability: Ability) -> bool:
    """Whether the actor's roles have the ability; who decides at all, the policies say."""
    return may(roles_of(actor, policy_groups()), ability)


def linear_actor(linear_user_id: str, name: str, via: Via) -> Actor:
    """The actor behind a Linear user; one without an account here has no `user_id`."""
    profile = (
        ApproverProfile.objects.select_related("user").filter(linear_user_id=linear_user_id).first()
        if linear_user_id
        else None
    )
    if profile is None:
        return Actor(name=name or "somebody", via=via, key=f"linear:{linear_user_id}")
    return user_actor(profile.user, via)


def token_digest(token: str) -> str:
    """What is stored of a token: tokens are long and random, so a plain sha256 is enough."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def find_token(token: str) -> ApiToken | None:
    """The live token of an active account, with its use recorded at most once a minute."""
    found = (
        ApiToken.objects.select_related("user")
        .filter(digest=token_digest(token), revoked_at=None, user__is_active=True)
        .annotate(now=ClockTimestamp())
        .first()
    )
    if found is None:
        return None
    if found.last_used_at is None or (found.now - found.last_used_at).total_seconds() > 60:
        ApiToken.objects.filter(pk=found.pk).update(last_used_at=found.now)
    return found
