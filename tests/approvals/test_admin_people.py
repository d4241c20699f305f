"""People and tokens in the admin: what an operator does there, and what only a superuser may."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.test import Client

from approvals import audit, services
from approvals.actors import find_token
from approvals.models import ApiToken, ApproverProfile, AuditEntry
from approvals.services.people import account_stream
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import manager, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

TOKENS = "/admin/approvals/apitoken/"
PEOPLE = "/admin/auth/user/"
PROFILES = "/admin/approvals/approverprofile/"
GROUPS = "/admin/auth/group/"
LINEAR = "11111111-2222-4333-8444-555555555555"
PASSWORD = "a-long-password-7"
PASSWORDS = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}


@pytest.fixture
def operator() -> Client:
    """A browser of an operator who is no superuser."""
    return signed_in(person("olga", "operators"), staff=True)


@pytest.fixture
def superuser() -> Client:
    """A browser of a superuser."""
    return signed_in(person("root"), superuser=True)


def account(name: str = "maria") -> User:
    """The account as it stands in the table."""
    return User.objects.get(username=name)


def groups_of(name: str = "maria") -> list[str]:
    """The names of the account's groups."""
    return sorted(account(name).groups.values_list("name", flat=True))


def saved(client: Client, address: str, **facts: object) -> None:
    """Send a form as its page shows it, but for these facts; None leaves a field out."""
    sent: dict[str, object] = {}
    for field in read(client.get(address)).find("input"):
        given = field.attributes
        box = given.get("type") == "checkbox"
        if "name" in given and (not box or "checked" in given):
            sent[given["name"]] = given.get("value", "on" if box else "")
    sent.pop("_addanother", None)
    sent = {name: value for name, value in (sent | facts).items() if value is not None}
    answer = client.post(address, sent)
    assert answer.status_code == 302, read(answer).text


def told(user: User) -> list[AuditEntry]:
    """What the log says of the account, oldest first; its chain holds."""
    assert list(audit.broken_links()) == []
    return list(AuditEntry.objects.filter(stream=account_stream(user.pk)).order_by("number"))


# Tokens


@pytest.mark.parametrize("groups", [["operators"], ["release-managers"], []])
@pytest.mark.parametrize("scope", ["request", "decide"])
def test_whoever_may_open_the_admin_makes_a_token_of_their_own_that_is_shown_once(
    groups: list[str], scope: str
) -> None:
    client = signed_in(person("sam", *groups), staff=True)
    answer = client.post(f"{TOKENS}add/", {"scope": scope, "label": "laptop"})
    found = re.search(r"hitl_[\w-]{20,}", answer.content.decode())
    assert found is not None
    made = find_token(found[0])
    assert made is not None
    assert (made.user.username, made.scope, made.label) == ("sam", scope, "laptop")
    assert "no-store" in answer["Cache-Control"]
    listed = client.get(TOKENS).content.decode()
    shown = client.get(f"{TOKENS}{made.pk}/change/").content.decode()
    for html in (listed, shown):
        assert found[0] not in html
        assert made.digest not in html
        assert made.prefix in html
    assert LogEntry.objects.get().user.username == "sam"
    assert [(entry.name, entry.actor) for entry in told(made.user)] == [("token.created", "sam")]


@pytest.mark.parametrize("scope", ["request", "decide"])
def test_nobody_makes_a_token_for_somebody_else_in_the_admin(
    operator: Client, superuser: Client, scope: str
) -> None:
    maria = manager("maria")
    for client in (operator, superuser):
        client.post(f"{TOKENS}add/", {"user": str(maria.user_id), "scope": scope})
    assert not ApiToken.objects.filter(user__username="maria").exists()


def test_of_two_tokens_made_at_once_each_is_logged_as_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, make = signed_in(person("sam"), staff=True), services.create_token

    def overtaken(username: str, **facts: Any) -> str:
        token = make(username, **facts)
        make(username, scope="request", label="the other")
        return token

    monkeypatch.setattr(services, "create_token", overtaken)
    client.post(f"{TOKENS}add/", {"scope": "decide", "label": "mine"})
    assert LogEntry.objects.get().object_id == str(ApiToken.objects.get(label="mine").pk)


def test_a_token_for_anything_is_not_made(operator: Client) -> None:
    answer = operator.post(f"{TOKENS}add/", {"scope": "all"})
    assert "Select a valid choice" in read(answer).text
    assert not ApiToken.objects.exists()


def test_a_revoked_token_opens_nothing_any_more(operator: Client) -> None:
    manager("maria")
    token = services.create_token("maria", scope="decide")
    key = ApiToken.objects.get().pk
    chosen = {"action": "revoke", "_selected_action": str(key)}
    assert read(operator.post(TOKENS, chosen)).find("textarea", name="reason")
    assert find_token(token) is not None
    answer = operator.post(TOKENS, {**chosen, "confirmed": "1", "reason": "Lost"}, follow=True)
    assert "revoked." in read(answer).text
    assert find_token(token) is None
    entry = told(account("maria"))[-1]
    assert (entry.name, entry.actor, entry.data["reason"]) == ("token.revoked", "olga", "Lost")
    page = read(operator.get(f"{TOKENS}{key}/change/"))
    assert "Lost" in page.text
    assert not page.find("input", name="action")
    again = operator.post(TOKENS, {**chosen, "confirmed": "1", "reason": "Twice"}, follow=True)
    assert "may revoke a live token" in read(again).text


def test_staff_who_are_no_operators_see_only_their_own_tokens() -> None:
    maria = manager("maria")
    manager("otto")
    mine = services.create_token("maria", scope="request")[:12]
    theirs = services.create_token("otto", scope="request")[:12]
    html = signed_in(maria, staff=True).get(TOKENS).content.decode()
    assert mine in html
    assert theirs not in html


# What an operator does for people


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


def linked(name: str) -> None:
    """An account with a Linear user and nothing else."""
    services.create_approver(name, email=f"{name}@example.com", groups=[], linear_user_id=LINEAR)


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


# What a superuser says


def test_a_superuser_says_who_decides_and_the_log_tells_it(superuser: Client) -> None:
    saved(superuser, f"{PEOPLE}add/", username="maria")
    group = Group.objects.create(name="release-managers")
    page = f"{PEOPLE}{account().pk}/change/"
    link = {"approver_profile-TOTAL_FORMS": "1", "approver_profile-0-linear_user_id": LINEAR}
    saved(superuser, page, groups=str(group.pk), email="m@example.com", is_staff="on", **link)
    assert superuser.post(f"{PEOPLE}{account().pk}/password/", PASSWORDS).status_code == 302
    assert account().check_password(PASSWORD)
    made, changed, password = told(account())
    assert made.data["groups"] == []
    now = {
        "name": "maria",
        "full_name": "",
        "email": "m@example.com",
        "active": True,
        "staff": True,
        "superuser": False,
        "groups": ["release-managers"],
        "linear_user_id": LINEAR,
    }
    given = ["Email address", "Groups", "Staff status", "approver profile"]
    assert sorted(changed.data.pop("changed")) == given
    assert changed.data == now
    assert password.data == now | {"changed": ["password"]}
    assert {(e.name, e.actor, e.via) for e in (made, changed, password)} == {
        ("approver.saved", "root", "admin")
    }


def test_a_superuser_links_people_to_linear_and_the_log_tells_it(superuser: Client) -> None:
    maria = person("maria")
    given = {"user": str(maria.user_id), "linear_user_id": LINEAR}
    assert superuser.post(f"{PROFILES}add/", given).status_code == 302
    page = f"{PROFILES}{ApproverProfile.objects.get().pk}/change/"
    moved = {"user": str(person("otto").user_id), "linear_user_id": "u-2"}
    assert superuser.post(page, moved).status_code == 302
    assert ApproverProfile.objects.get().user == account()
    links = [(e.actor, e.via, e.data["linear_user_id"]) for e in told(account())]
    assert links == [("root", "admin", LINEAR), ("root", "admin", "u-2")]


def test_nothing_of_a_password_is_shown_to_anybody(superuser: Client, operator: Client) -> None:
    person("maria")
    maria = account()
    maria.password = make_password(PASSWORD, hasher="pbkdf2_sha256")
    maria.save()
    salt, digest = maria.password.split("$")[2:]
    for client in (superuser, operator):
        html = client.get(f"{PEOPLE}{maria.pk}/change/").content.decode()
        assert salt[:6] not in html
        assert digest[:6] not in html


def test_profiles_are_filtered_by_group_account_and_link(operator: Client) -> None:
    linked("maria")
    person("otto", "platform", is_active=False)
    otto = ApproverProfile.objects.create(user=account("otto"))
    group = Group.objects.get(name="platform").pk
    queries = ({"linear": "missing"}, {"user__groups__id__exact": group})
    for query in (*queries, {"user__is_active__exact": "0"}):
        listed = operator.get(PROFILES, query).context["cl"].result_list
        assert [row.pk for row in listed] == [otto.pk], query


def test_two_accounts_cannot_be_the_same_linear_user(superuser: Client) -> None:
    linked("maria")
    given = {"user": str(person("otto").user_id), "linear_user_id": LINEAR}
    assert superuser.post(f"{PROFILES}add/", given).status_code == 200
    assert ApproverProfile.objects.count() == 1


def test_a_group_is_made_by_a_superuser_and_keeps_its_name(
    operator: Client, superuser: Client
) -> None:
    assert operator.get(GROUPS).status_code == 403
    assert operator.post(f"{GROUPS}add/", {"name": "platform"}).status_code == 403
    assert superuser.post(f"{GROUPS}add/", {"name": "platform"}).status_code == 302
    group = Group.objects.get(name="platform")
    # Its members would begin or cease to decide, and no entry of theirs would say so.
    for page in ("change", "delete"):
        answer = superuser.post(f"{GROUPS}{group.pk}/{page}/", {"name": "developers", "post": "y"})
        assert answer.status_code == 403
    assert Group.objects.filter(name="platform").exists()
