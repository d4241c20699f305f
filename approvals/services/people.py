"""Approvers and their tokens."""

import secrets
from collections.abc import Sequence

from django.contrib.auth.models import Group, User
from django.db import transaction

from approvals.actors import token_digest
from approvals.core.lifecycle import Actor
from approvals.errors import InvalidInput, NotAllowed
from approvals.models import ApiToken, ApproverProfile, ClockTimestamp


def create_approver(
    name: str, *, email: str, groups: Sequence[str], linear_user_id: str = "", password: str = ""
) -> User:
    """Create or update an account that may decide through the given groups.

    Raises InvalidInput where the Linear user already belongs to somebody else.
    """
    with transaction.atomic():
        taken = ApproverProfile.objects.filter(linear_user_id=linear_user_id).exclude(
            user__username=name
        )
        if linear_user_id and taken.exists():
            raise InvalidInput("linear_user", "This Linear user is linked to another account.")
        user, created = User.objects.get_or_create(username=name, defaults={"email": email})
        user.email = email
        if password:
            user.set_password(password)
        elif created:
            user.set_unusable_password()
        user.save()
        for group in groups:
            user.groups.add(Group.objects.get_or_create(name=group)[0])
        # Without one given, a link made before stays.
        known = {"linear_user_id": linear_user_id} if linear_user_id else {}
        ApproverProfile.objects.update_or_create(user=user, defaults=known)
    return user


def create_token(username: str, *, scope: str, label: str = "") -> str:
    """Make a token for an account and return it; it cannot be shown again.

    Raises InvalidInput for an unknown account or scope.
    """
    user = User.objects.filter(username=username).first()
    if user is None:
        raise InvalidInput("name", f"There is no account named {username}.")
    if scope not in ApiToken.Scope.values:
        raise InvalidInput("scope", "The scope is request or decide.")
    token = f"hitl_{secrets.token_urlsafe(32)}"
    ApiToken.objects.create(
        user=user, scope=scope, label=label, prefix=token[:12], digest=token_digest(token)
    )
    return token


def revoke_token(token_id: int, *, actor: Actor) -> None:
    """End a token at once; its owner or an operator may. Raises NotAllowed."""
    token = ApiToken.objects.filter(pk=token_id)
    if not actor.operator:
        token = token.filter(user__username=actor.name) if actor.user_id else token.none()
    if not token.filter(revoked_at=None).update(revoked_at=ClockTimestamp()):
        raise NotAllowed("Only its owner or an operator may revoke a live token.")
