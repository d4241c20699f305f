"""Who may do what: the one table of roles, shared by the code and its tests."""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum

from approvals.core.lifecycle import Actor


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
