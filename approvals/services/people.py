"""Approvers and their tokens; each account has a stream of its own in the audit log."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction

from approvals import audit
from approvals.actors import able, token_digest
from approvals.audit import Fact
from approvals.clock import clock
from approvals.core.events import EventName
from approvals.core.lifecycle import Actor, Via
from approvals.core.roles import Ability, may_make_token, may_say_who_decides
from approvals.errors import InvalidInput, NotAllowed
from approvals.inputs import must_be_words
from approvals.models import ApiToken, ApproverProfile, ClockTimestamp, ProviderIdentity

# Whoever may run commands on the gateway's machines; nobody else calls without an actor.
COMMAND_LINE = Actor(name="command line", via=Via.COMMAND, key="command line")


def account_stream(user_id: int) -> UUID:
    """The stream of an account's audit entries."""
    return uuid5(NAMESPACE_URL, f"hitl:account:{user_id}")


def create_approver(
    name: str,
    *,
    email: str,
    groups: Sequence[str],
    linear_user_id: str = "",
    identity: tuple[str, str] | None = None,
    password: str = "",
    actor: Actor = COMMAND_LINE,
) -> User:
    """Create or update an account that may decide through the given groups.

    `identity` is who the person is at a provider of single sign-on: its issuer, and their subject
    there; where somebody else was linked before, an account without a password ends its sessions.
    Raises NotAllowed for anybody but the command line, and InvalidInput where the Linear user or
    the identity already belongs to somebody else, or the account to somebody whose identity is not
    given.
    """
    if not may_say_who_decides(actor):
        raise NotAllowed("An approver is made by a superuser in the admin, or on the command line.")
    with transaction.atomic():
        taken = ApproverProfile.objects.filter(linear_user_id=linear_user_id).exclude(
            user__username=name
        )
        if linear_user_id and taken.exists():
            raise InvalidInput("linear_user", "This Linear user is linked to another account.")
        other_person = _links_another(name, identity)
        user, created = User.objects.get_or_create(username=name, defaults={"email": email})
        user.email = email
        if password:
            user.set_password(password)
        elif created or (other_person and not user.has_usable_password()):
            # A new one each time, without which no session goes on.
            user.set_unusable_password()
        user.save()
        for group in groups:
            user.groups.add(Group.objects.get_or_create(name=group)[0])
        # Without one given, a link made before stays.
        known = {"linear_user_id": linear_user_id} if linear_user_id else {}
        ApproverProfile.objects.update_or_create(user=user, defaults=known)
        if identity is not None:
            issuer, subject = identity
            ProviderIdentity.objects.update_or_create(
                user=user, issuer=issuer, defaults={"subject": subject}
            )
        record_account(user.pk, actor=actor, changed=["password"] if password else [])
    return user


def _links_another(name: str, identity: tuple[str, str] | None) -> bool:
    """Whether the account changes hands; refuses what is linked to a second account, or unsaid."""
    linked = ProviderIdentity.objects.filter(user__username=name)
    if identity is None:
        # An account that a provider's person named themselves is not yet whom the caller means.
        issuer = settings.HITL_OIDC.issuer if settings.HITL_OIDC else None
        if (known := linked.filter(issuer=issuer).first()) is not None:
            raise InvalidInput(
                "identity",
                f"There is an account named {name} already, which logs in as {known.subject} at"
                f" {known.issuer}. If that is whom you mean, give this subject, too.",
            )
        return False
    issuer, subject = identity
    taken = ProviderIdentity.objects.filter(issuer=issuer, subject=subject)
    if taken.exclude(user__username=name).exists():
        raise InvalidInput("identity", "This subject is linked to another account.")
    return linked.filter(issuer=issuer).exclude(subject=subject).exists()


def record_account(user_id: int, *, actor: Actor, changed: Sequence[str] = ()) -> None:
    """Append what an account now is, and the names of what was changed; never its password.

    The caller has judged whether the actor may, and saved the account in this transaction.
    """
    user = User.objects.select_for_update().get(pk=user_id)
    linear = ApproverProfile.objects.filter(user=user).values_list("linear_user_id", flat=True)
    identities = ProviderIdentity.objects.filter(user=user).order_by("issuer")
    data = {
        "name": user.username,
        "full_name": user.get_full_name(),
        "email": user.email,
        "active": user.is_active,
        "staff": user.is_staff,
        "superuser": user.is_superuser,
        "groups": sorted(user.groups.values_list("name", flat=True)),
        "linear_user_id": linear.first() or "",
        "identities": [f"{who.subject} at {who.issuer}" for who in identities],
        "changed": list(changed),
    }
    _record(user.pk, EventName.APPROVER_SAVED, actor, data)


def create_token(username: str, *, scope: str, label: str = "", actor: Actor = COMMAND_LINE) -> str:
    """Make a token for an account and return it; it cannot be shown again.

    Raises InvalidInput for an unknown account or scope, and NotAllowed for anybody but the
    account's owner and the command line.
    """
    user = User.objects.filter(username=username).first()
    if user is None:
        raise InvalidInput("name", f"There is no account named {username}.")
    if scope not in ApiToken.Scope.values:
        raise InvalidInput("scope", "The scope is request or decide.")
    if not may_make_token(actor, user.pk):
        raise NotAllowed(f"A token of {username} is made by its owner, or on the command line.")
    token = f"hitl_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        row = ApiToken.objects.create(
            user=user, scope=scope, label=label, prefix=token[:12], digest=token_digest(token)
        )
        data = {"token": row.pk, "scope": scope, "label": label}
        _record(user.pk, EventName.TOKEN_CREATED, actor, data)
    return token


def revoke_token(token_id: int, *, actor: Actor, reason: str = "") -> None:
    """End a token at once; its owner or an operator may. Raises InvalidInput and NotAllowed."""
    must_be_words("reason", reason)
    with transaction.atomic():
        token = ApiToken.objects.select_for_update().filter(pk=token_id, revoked_at=None).first()
        if token is None or not (
            actor.user_id == token.user_id or able(actor, Ability.MANAGE_TOKENS)
        ):
            raise NotAllowed("Only its owner or an operator may revoke a live token.")
        ApiToken.objects.filter(pk=token_id).update(revoked_at=ClockTimestamp())
        data = {"token": token_id, **({"reason": reason} if reason else {})}
        _record(token.user_id, EventName.TOKEN_REVOKED, actor, data)


def _record(user_id: int, name: EventName, actor: Actor, data: Mapping[str, Any]) -> None:
    User.objects.select_for_update().get(pk=user_id)
    audit.append([Fact(account_stream(user_id), name, actor, clock(), data)])
