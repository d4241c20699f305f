"""People and tokens in the admin: what an operator does there, and what only a superuser may."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.test import Client

from approvals import services
from approvals.actors import find_token
from approvals.models import ApiToken, ApproverProfile
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import manager, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

TOKENS = "/admin/approvals/apitoken/"


@pytest.fixture
def operator() -> Client:
    """A browser of an operator who is no superuser."""
    return signed_in(person("olga", "operators"), staff=True)


def test_an_operator_makes_a_token_that_is_shown_once(operator: Client) -> None:
    maria = manager("maria")
    answer = operator.post(
        f"{TOKENS}add/", {"user": str(maria.user_id), "scope": "decide", "label": "laptop"}
    )
    found = re.search(r"hitl_[\w-]{20,}", answer.content.decode())
    assert found is not None
    made = find_token(found[0])
    assert made is not None
    assert (made.user.username, made.scope, made.label) == ("maria", "decide", "laptop")
    assert "no-store" in answer["Cache-Control"]
    listed = operator.get(TOKENS).content.decode()
    shown = operator.get(f"{TOKENS}{made.pk}/change/").content.decode()
    for html in (listed, shown):
        assert found[0] not in html
        assert made.digest not in html
        assert made.prefix in html
    assert LogEntry.objects.get().user.username == "olga"


def test_a_token_for_nobody_is_not_made(operator: Client) -> None:
    answer = operator.post(f"{TOKENS}add/", {"user": "", "scope": "all"})
    assert "This field is required" in read(answer).text
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
    again = operator.post(TOKENS, {**chosen, "confirmed": "1", "reason": "Twice"}, follow=True)
    assert "may revoke a live token" in read(again).text


def test_staff_who_are_no_operators_see_only_their_own_tokens() -> None:
    maria = manager("maria")
    manager("otto")
    mine = services.create_token("maria", scope="request")[:12]
    theirs = services.create_token("otto", scope="request")[:12]
    client = signed_in(maria, staff=True)
    html = client.get(TOKENS).content.decode()
    assert mine in html
    assert theirs not in html
    assert client.get(f"{TOKENS}add/").status_code == 403
    assert client.post(f"{TOKENS}add/", {"user": "1", "scope": "decide"}).status_code == 403


def test_an_operator_adds_people_to_groups_and_links_them_to_linear(operator: Client) -> None:
    maria = person("maria")
    group = Group.objects.get_or_create(name="release-managers")[0]
    address = f"/admin/auth/user/{maria.user_id}/change/"
    page = read(operator.get(address))
    assert not page.find("input", name="is_superuser")
    given = {
        field.attributes["name"]: field.attributes.get("value", "")
        for field in page.find("input")
        if "name" in field.attributes and field.attributes.get("type") != "submit"
    }
    given |= {
        "groups": str(group.pk),
        "approver_profile-0-linear_user_id": "11111111-2222-4333-8444-555555555555",
        "is_superuser": "on",
        "is_active": "on",
    }
    del given["is_staff"]
    answer = operator.post(address, given)
    assert answer.status_code == 302, read(answer).text
    user = User.objects.get(username="maria")
    assert [group.name for group in user.groups.all()] == ["release-managers"]
    assert not user.is_superuser
    assert ApproverProfile.objects.get(user=user).linear_user_id.startswith("11111111")


def test_an_operator_touches_no_superuser(operator: Client) -> None:
    root = person("root")
    signed_in(root, superuser=True)
    answer = operator.post(f"/admin/auth/user/{root.user_id}/change/", {"username": "mine"})
    assert answer.status_code == 403
    address = f"/admin/auth/user/{root.user_id}/password/"
    words = {"password1": "a-long-password", "password2": "a-long-password"}
    assert operator.post(address, words).status_code == 403
    assert User.objects.filter(username="root").exists()


def test_staff_who_are_no_operators_look_after_nobody() -> None:
    client = signed_in(manager("maria"), staff=True)
    for place in ("auth/user/", "auth/group/", "approvals/approverprofile/"):
        assert client.get(f"/admin/{place}").status_code == 403


def test_two_accounts_cannot_be_the_same_linear_user(operator: Client) -> None:
    linear = "11111111-2222-4333-8444-555555555555"
    services.create_approver("maria", email="m@e.org", groups=[], linear_user_id=linear)
    otto = person("otto")
    answer = operator.post(
        "/admin/approvals/approverprofile/add/",
        {"user": str(otto.user_id), "linear_user_id": linear},
    )
    assert answer.status_code == 200
    assert ApproverProfile.objects.count() == 1
