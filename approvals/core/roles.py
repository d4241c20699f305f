"""Who may do what: the one table of roles, shared by the code and its tests."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from approvals.core.lifecycle import Actor, Via

# The group whose members operate.
OPERATORS = "operators"


class Ability(StrEnum):
    """Something a person or a program may be allowed to do."""

    READ = "read"
    START = "start"
    CANCEL_OWN = "cancel_own"
    CANCEL_ANY = "cancel_any"
    DECIDE = "decide"
    RETRY_DELIVERY = "retry_delivery"
    SETTLE_RUN = "settle_run"
    MANAGE_PEOPLE = "manage_people"
    MANAGE_TOKENS = "manage_tokens"


class Role(StrEnum):
    """What an account is to the gateway; it may be several things at once."""

    VIEWER = "viewer"
    REQUESTER = "requester"
    APPROVER = "approver"
    OPERATOR = "operator"


# An approver decides only what the policy of the request lets them decide; nobody is exempt.
# Who may decide, and how one logs in, is a superuser's word or the command line's: whoever runs
# commands on the gateway's machines is the root of trust. They may leave it to a provider of
# single sign-on to say who is in the groups that they name for it. Operators look after everything
# else about people and tokens; no operator can become several approvers, or ask as somebody else.
ABILITIES: Mapping[Role, frozenset[Ability]] = {
    Role.VIEWER: frozenset({Ability.READ}),
    Role.REQUESTER: frozenset({Ability.READ, Ability.START, Ability.CANCEL_OWN}),
    Role.APPROVER: frozenset({Ability.READ, Ability.DECIDE}),
    Role.OPERATOR: frozenset(
        {
            Ability.READ,
            Ability.CANCEL_ANY,
            Ability.RETRY_DELIVERY,
            Ability.SETTLE_RUN,
            Ability.MANAGE_PEOPLE,
            Ability.MANAGE_TOKENS,
        }
    ),
}

# A token acts in the one role its scope names, whatever else its owner may do.
SCOPES: Mapping[str, Role] = {"request": Role.REQUESTER, "decide": Role.APPROVER}


def may(roles: Iterable[Role], ability: Ability) -> bool:
    """Whether one of the roles has the ability."""
    return any(ability in ABILITIES[role] for role in roles)


def may_say_who_decides(actor: Actor) -> bool:
    """Whether a verb may take this actor's word for it; superusers give theirs in the admin."""
    return actor.via is Via.COMMAND


def may_vouch(actor: Actor) -> bool:
    """Whether the actor says who logged in at a provider, and which groups it gives them."""
    return actor.via is Via.SIGN_ON


def may_make_token(actor: Actor, owner_id: int) -> bool:
    """Whether the actor may make a token of this account, whatever its scope.

    To ask as somebody else is as good as to decide for them: one's own vote would no longer be
    the vote of whoever asked.
    """
    own = actor.active and actor.user_id == owner_id
    return own or may_say_who_decides(actor)


def to_cancel(actor: Actor, opened_by_id: int | None) -> Ability:
    """What it takes to cancel what this account asked for; None stands for no account."""
    own = actor.user_id is not None and actor.user_id == opened_by_id
    return Ability.CANCEL_OWN if own else Ability.CANCEL_ANY


def roles_of(actor: Actor, deciding_groups: Collection[str]) -> frozenset[Role]:
    """The roles of whoever acts; none for somebody without a live account.

    `deciding_groups` are the groups that some policy names.
    """
    if actor.user_id is None or not actor.active:
        return frozenset()
    roles = {Role.VIEWER, Role.REQUESTER}
    if not actor.groups.isdisjoint(deciding_groups):
        roles.add(Role.APPROVER)
    if actor.operator:
        roles.add(Role.OPERATOR)
    return frozenset(roles)
