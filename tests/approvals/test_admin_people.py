"""Accounts in the admin: what an operator does there, and what is a superuser's alone."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from approvals.models import ApproverProfile
from tests.approvals.accounts import (
    LINEAR,
    PASSWORD,
    PASSWORDS,
    PEOPLE,
    PROFILES,
    account,
    groups_of,
    linked,
    saved,
    told,
)
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import manager, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

GROUPS = "/admin/auth/group/"


def test_an_operator_makes_accounts_that_can_neither_log_in_nor_decide(operator: Client) -> None:
    given = {
        **PASSWORDS,
        "groups": str(Group.objects.create(name="release-managers").pk),
        "email": "olga@example.com",
        "is_staff": "on",
        "approver_profile-TOTAL_FORMS": "1",
        "approver_profile-INITIAL_FORMS": "0",
        "approver_profile-0-linear_user_id": LINEAR,
    }
    saved(operator, f"{PEOPLE}add/", username="robot", **given)
    robot = account("robot")
    assert not robot.has_usable_password()
    assert (robot.is_active, robot.is_staff, robot.is_superuser) == (True, False, False)
    assert (robot.email, groups_of("robot")) == ("", [])
    assert not ApproverProfile.objects.exists()
    (entry,) = told(robot)
    assert (entry.name, entry.actor, entry.via) == ("approver.saved", "olga", "admin")
    assert entry.data["name"] == "robot"


def test_an_account_differs_from_the_others_in_more_than_capitals(operator: Client) -> None:
    person("maria")
    answer = operator.post(f"{PEOPLE}add/", {"username": "Maria"})
    assert "already exists" in read(answer).text
    assert User.objects.count() == 2


def test_an_operator_renames_an_account_without_rights_and_gives_it_none(operator: Client) -> None:
    maria = person("maria")
    groups = [Group.objects.get_or_create(name=name)[0] for name in ("platform", "operators")]
    page = f"{PEOPLE}{maria.user_id}/change/"
    saved(
        operator,
        page,
        username="mary",
        first_name="Mary",
        email="olga@example.com",
        password="!",
        groups=[str(group.pk) for group in groups],
        is_staff="on",
        is_superuser="on",
        **{
            "approver_profile-TOTAL_FORMS": "1",
            "approver_profile-INITIAL_FORMS": "0",
            "approver_profile-0-linear_user_id": LINEAR,
        },
    )
    mary = account("mary")
    assert (mary.first_name, mary.email, groups_of("mary")) == ("Mary", "maria@example.com", [])
    assert (mary.is_active, mary.is_staff, mary.is_superuser) == (True, False, False)
    assert not ApproverProfile.objects.exists()
    saved(operator, page, is_active=None)
    assert not account("mary").is_active
    saved(operator, page, is_active="on")
    assert account("mary").is_active
    assert [entry.data["changed"] for entry in told(mary)] == [
        ["Username", "First name"],
        ["Active"],
        ["Active"],
    ]


@pytest.mark.parametrize(
    "make",
    [
        manager,
        lambda name: person(name, "operators"),
        # No policy names it now, but one may, and requests keep the groups they opened with.
        lambda name: person(name, "former-managers"),
        lambda name: person(name, is_staff=True),
        linked,
    ],
    ids=["approver", "operator", "any group", "staff", "linked to Linear"],
)
def test_an_operator_switches_off_an_account_with_rights_and_does_no_more_to_it(
    operator: Client, make: Callable[[str], object]
) -> None:
    make("maria")
    page = f"{PEOPLE}{account().pk}/change/"
    before = User.objects.filter(username="maria").values().get()
    tried = {"username": "olga2", "first_name": "Olga", "last_name": "O", "email": "o@example.com"}
    saved(operator, page, **tried, groups=[], **{"approver_profile-0-linear_user_id": ""})
    assert User.objects.filter(username="maria").values().get() == before
    saved(operator, page, is_active=None)
    assert User.objects.filter(username="maria").values().get() == before | {"is_active": False}
    saved(operator, page, is_active="on")
    assert not account().is_active
    switched_off = told(account())[-2]
    assert (switched_off.actor, switched_off.via) == ("olga", "admin")
    assert switched_off.data["active"] is False
    assert switched_off.data["groups"] == groups_of()
    assert ApproverProfile.objects.filter(linear_user_id=LINEAR).count() == (make is linked)


@pytest.mark.parametrize("name", ["maria", "otto", "olga"])
def test_an_operator_sets_no_password_but_their_own_with_the_old_one(
    operator: Client, name: str
) -> None:
    manager("maria")
    # Whoever knew the password of an account would decide with it once it joins a group.
    person("otto")
    before = account(name).password
    address = f"{PEOPLE}{account(name).pk}/password/"
    assert operator.get(address).status_code == 403
    assert operator.post(address, PASSWORDS).status_code == 403
    assert account(name).password == before
    page = read(operator.get(f"{PEOPLE}{account(name).pk}/change/"))
    assert not [link for link in page.links() if link.endswith("../password/")]


def test_an_operator_changes_their_own_password(operator: Client) -> None:
    olga = account("olga")
    olga.set_password("the-old-password-1")
    olga.save()
    operator.force_login(olga)
    words = {"new_password1": PASSWORD, "new_password2": PASSWORD}
    operator.post("/admin/password_change/", {"old_password": "a guess", **words})
    assert not account("olga").check_password(PASSWORD)
    operator.post("/admin/password_change/", {"old_password": "the-old-password-1", **words})
    assert account("olga").check_password(PASSWORD)


def test_an_operator_sees_whom_linear_knows_and_links_nobody(operator: Client) -> None:
    linked("maria")
    otto = person("otto")
    profile = ApproverProfile.objects.get()
    assert "maria" in read(operator.get(PROFILES)).text
    assert LINEAR in read(operator.get(f"{PROFILES}{profile.pk}/change/")).text
    assert LINEAR in read(operator.get(f"{PEOPLE}{account().pk}/change/")).text
    given = {"user": str(otto.user_id), "linear_user_id": "u-2"}
    assert operator.post(f"{PROFILES}add/", given).status_code == 403
    assert operator.post(f"{PROFILES}{profile.pk}/change/", given).status_code == 403
    assert ApproverProfile.objects.values().get() == {
        "id": profile.pk,
        "user_id": account().pk,
        "linear_user_id": LINEAR,
    }


def test_an_operator_touches_no_superuser(operator: Client) -> None:
    root = person("root")
    signed_in(root, superuser=True)
    answer = operator.post(f"{PEOPLE}{root.user_id}/change/", {"username": "mine"})
    assert answer.status_code == 403
    assert account("root").is_active


def test_staff_who_are_no_operators_look_after_nobody() -> None:
    client = signed_in(manager("maria"), staff=True)
    for place in (PEOPLE, GROUPS, PROFILES):
        assert client.get(place).status_code == 403
