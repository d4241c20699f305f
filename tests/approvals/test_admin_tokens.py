"""Tokens in the admin: everybody makes and revokes their own, operators revoke any."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from approvals import services
from approvals.actors import find_token
from approvals.models import ApiToken
from tests.approvals.accounts import account, told
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import manager, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

TOKENS = "/admin/approvals/apitoken/"


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
