"""The table of roles, read aloud."""

import pytest

from approvals.core.lifecycle import Actor, Via
from approvals.core.roles import (
    ABILITIES,
    SCOPES,
    Ability,
    Role,
    may,
    may_make_token,
    may_say_who_decides,
    roles_of,
    to_cancel,
)

DECIDING = {"release-managers"}


def test_every_role_reads_and_no_ability_is_without_a_role() -> None:
    assert set(ABILITIES) == set(Role)
    assert all(Ability.READ in abilities for abilities in ABILITIES.values())
    assert frozenset().union(*ABILITIES.values()) == set(Ability)


def test_asking_and_deciding_are_never_one_role() -> None:
    assert not any({Ability.START, Ability.DECIDE} <= abilities for abilities in ABILITIES.values())


def test_a_token_s_scope_never_operates() -> None:
    for role in SCOPES.values():
        assert not ABILITIES[role] & (ABILITIES[Role.OPERATOR] - {Ability.READ})


@pytest.mark.parametrize(
    ("facts", "roles"),
    [
        ({"user_id": None}, set()),
        ({"active": False, "operator": True}, set()),
        ({}, {Role.VIEWER, Role.REQUESTER}),
        ({"groups": frozenset({"sales"})}, {Role.VIEWER, Role.REQUESTER}),
        (
            {"groups": frozenset({"release-managers"})},
            {Role.VIEWER, Role.REQUESTER, Role.APPROVER},
        ),
        ({"operator": True}, {Role.VIEWER, Role.REQUESTER, Role.OPERATOR}),
    ],
)
def test_the_roles_of_an_account(facts: dict[str, object], roles: set[Role]) -> None:
    actor = Actor(**{"name": "ana", "via": Via.WEB, "user_id": 1, **facts})  # type: ignore[arg-type]
    assert roles_of(actor, DECIDING) == roles


def test_an_operator_does_not_decide_by_being_one() -> None:
    operator = Actor(name="oda", via=Via.WEB, user_id=1, operator=True)
    roles = roles_of(operator, DECIDING)
    assert may(roles, Ability.SETTLE_RUN)
    assert not may(roles, Ability.DECIDE)


@pytest.mark.parametrize(
    ("user_id", "opened_by_id", "ability"),
    [
        (1, 1, Ability.CANCEL_OWN),
        (1, 2, Ability.CANCEL_ANY),
        (1, None, Ability.CANCEL_ANY),
        # What the gateway opened is not everybody's who has no account.
        (None, None, Ability.CANCEL_ANY),
    ],
)
def test_cancelling_takes_one_ability_for_one_s_own_and_another_for_the_rest(
    user_id: int | None, opened_by_id: int | None, ability: Ability
) -> None:
    actor = Actor(name="ana", via=Via.WEB, user_id=user_id)
    assert to_cancel(actor, opened_by_id) is ability


@pytest.mark.parametrize(
    ("facts", "own", "says_who_decides"),
    [
        ({"user_id": 1}, True, False),
        ({"user_id": 1, "active": False}, False, False),
        ({"user_id": 2}, False, False),
        ({"user_id": 2, "operator": True}, False, False),
        ({"user_id": None, "via": Via.LINEAR_MOVE, "key": "linear:1"}, False, False),
        ({"user_id": None, "via": Via.SYSTEM}, False, False),
        ({"user_id": None, "via": Via.COMMAND}, True, True),
    ],
)
def test_a_token_is_its_owner_s_or_the_command_line_s_to_make(
    facts: dict[str, object], own: bool, says_who_decides: bool
) -> None:
    actor = Actor(**{"name": "ana", "via": Via.ADMIN, **facts})  # type: ignore[arg-type]
    assert may_make_token(actor, 1) is own
    assert may_say_who_decides(actor) is says_who_decides
