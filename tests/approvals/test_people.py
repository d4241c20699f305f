"""Approvers, their tokens, and the actors that they become."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from pytest_django import Settings

from approvals import audit, services
from approvals.actors import find_token, linear_actor, token_digest, user_actor
from approvals.clock import clock
from approvals.core.lifecycle import Via
from approvals.errors import InvalidInput, NotAllowed
from approvals.models import ApiToken, ApproverProfile, AuditEntry
from approvals.services.people import account_stream, record_account
from tests.approvals.scenes import person, switched_off

pytestmark = pytest.mark.django_db


def grace(**changes: object) -> User:
    facts = {"email": "grace@example.com", "groups": ["platform"], "linear_user_id": "u-1"}
    return services.create_approver("grace", **{**facts, **changes})  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def quick_passwords(settings: Settings) -> None:
    """Slow hashes prove nothing here."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def test_an_approver_has_groups_a_linear_user_and_no_password_unless_given() -> None:
    user = grace(groups=["platform", "release-managers"])
    assert set(user.groups.values_list("name", flat=True)) == {"platform", "release-managers"}
    assert (user.email, user.approver_profile.linear_user_id) == ("grace@example.com", "u-1")
    assert not user.has_usable_password()
    assert not user.is_staff
    assert not user.is_superuser
    assert grace(password="correct horse battery").check_password("correct horse battery")


def test_creating_an_approver_again_updates_and_keeps_what_is_not_given() -> None:
    grace(password="correct horse battery")
    again = grace(email="g@example.com", groups=["release-managers"], linear_user_id="")
    assert User.objects.count() == 1
    assert set(again.groups.values_list("name", flat=True)) == {"platform", "release-managers"}
    assert again.check_password("correct horse battery")
    assert again.email == "g@example.com"
    assert ApproverProfile.objects.get().linear_user_id == "u-1"
    grace(linear_user_id="u-2")
    assert ApproverProfile.objects.get().linear_user_id == "u-2"


def test_a_linear_user_belongs_to_one_account_and_a_failed_change_changes_nothing() -> None:
    grace()
    with pytest.raises(InvalidInput) as caught:
        services.create_approver(
            "mallory", email="m@example.com", groups=["new"], linear_user_id="u-1"
        )
    assert caught.value.field == "linear_user"
    assert not User.objects.filter(username="mallory").exists()
    assert not Group.objects.filter(name="new").exists()


def test_many_may_have_no_linear_user() -> None:
    for name in ("a", "b"):
        services.create_approver(name, email=f"{name}@example.com", groups=[])
    assert ApproverProfile.objects.filter(linear_user_id="").count() == 2


def test_a_linear_person_is_the_account_they_are_linked_to() -> None:
    user = grace()
    actor = linear_actor("u-1", "Somebody Else", Via.LINEAR_MOVE)
    assert actor == user_actor(user, Via.LINEAR_MOVE)
    assert (actor.name, actor.user_id) == ("grace", user.pk)
    assert actor.groups == {"platform"}


@pytest.mark.parametrize("linear_user_id", ["u-404", "", "U-1", " u-1"])
def test_any_other_linear_person_is_nobody(linear_user_id: str) -> None:
    grace()
    services.create_approver("unlinked", email="u@example.com", groups=["platform"])
    actor = linear_actor(linear_user_id, "", Via.LINEAR_MOVE)
    assert (actor.user_id, actor.name, actor.groups) == (None, "somebody", frozenset())
    assert actor.key == f"linear:{linear_user_id}"


def test_an_actor_is_known_by_name_email_and_full_name() -> None:
    actor = person("grace", first_name="Grace", last_name="Hopper")
    assert actor.aliases == {"grace", "grace@example.com", "Grace Hopper"}
    assert person("bare", email="").aliases == {"bare"}


def test_operators_and_superusers_may_operate() -> None:
    assert person("op", "operators").operator
    assert person("root", is_superuser=True).operator
    assert not person("grace", "platform", is_staff=True).operator


def test_a_token_is_shown_once_and_stored_as_a_digest() -> None:
    grace()
    token = services.create_token("grace", scope="decide", label="laptop")
    stored = ApiToken.objects.get()
    assert (stored.scope, stored.label, stored.revoked_at) == ("decide", "laptop", None)
    assert token.startswith(stored.prefix)
    assert len(token) > 40
    assert token not in str(ApiToken.objects.values().get())
    assert stored.digest == token_digest(token)
    assert services.create_token("grace", scope="request") != token


@pytest.mark.parametrize(
    ("name", "scope", "field"),
    [("nobody", "decide", "name"), ("grace", "admin", "scope"), ("grace", "", "scope")],
)
def test_a_token_for_nobody_or_for_anything_is_refused(name: str, scope: str, field: str) -> None:
    grace()
    with pytest.raises(InvalidInput) as caught:
        services.create_token(name, scope=scope)
    assert caught.value.field == field
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize("scope", ["request", "decide"])
def test_a_token_is_made_by_its_owner_or_on_the_command_line_alone(scope: str) -> None:
    owner = user_actor(grace(), Via.ADMIN)
    others = [
        person("op", "operators", via=Via.ADMIN),
        person("root", is_superuser=True, via=Via.ADMIN),
        person("mallory", "platform", via=Via.ADMIN),
        linear_actor("u-404", "grace", Via.LINEAR_MOVE),
        replace(owner, active=False),
        audit.SYSTEM,
    ]
    for actor in others:
        with pytest.raises(NotAllowed, match="made by its owner, or on the command line"):
            services.create_token("grace", scope=scope, actor=actor)
    assert not ApiToken.objects.exists()
    services.create_token("grace", scope=scope, actor=owner)
    services.create_token("grace", scope=scope)
    assert ApiToken.objects.filter(scope=scope, user__username="grace").count() == 2


def test_an_approver_is_made_on_the_command_line_alone() -> None:
    for actor in (person("op", "operators"), person("root", is_superuser=True)):
        with pytest.raises(NotAllowed, match="on the command line"):
            grace(actor=actor)
    assert not User.objects.filter(username="grace").exists()


def test_a_live_token_is_found_and_its_use_recorded_at_most_once_a_minute() -> None:
    user = grace()
    token = services.create_token("grace", scope="request")
    found = find_token(token)
    assert found is not None
    assert found.user == user
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    assert find_token(token) is not None
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=clock() - timedelta(minutes=2))
    assert find_token(token) is not None
    last = ApiToken.objects.get().last_used_at
    assert last is not None
    assert last >= first


@pytest.mark.parametrize("change", ["revoked", "inactive"])
def test_a_revoked_token_or_one_of_an_inactive_account_is_not_found(change: str) -> None:
    user = grace()
    token = services.create_token("grace", scope="request")
    if change == "revoked":
        services.revoke_token(ApiToken.objects.get().pk, actor=user_actor(user, Via.WEB))
    else:
        User.objects.update(is_active=False)
    assert find_token(token) is None
    assert ApiToken.objects.get().last_used_at is None


@pytest.mark.parametrize("token", ["", "hitl_", "x" * 100_000, "a\x00", "\ud800", "é"])
def test_any_other_text_is_no_token(token: str) -> None:
    grace()
    services.create_token("grace", scope="request")
    assert find_token(token) is None


def test_its_owner_and_operators_may_revoke_a_token_once() -> None:
    owner = user_actor(grace(), Via.WEB)
    for actor in (owner, person("op", "operators")):
        services.create_token("grace", scope="request")
        live = ApiToken.objects.get(revoked_at=None)
        with pytest.raises(NotAllowed):
            services.revoke_token(live.pk, actor=person("mallory"))
        with pytest.raises(NotAllowed):
            services.revoke_token(live.pk, actor=switched_off("off", "operators"))
        with pytest.raises(NotAllowed):
            services.revoke_token(live.pk, actor=linear_actor("u-404", "", Via.LINEAR_MOVE))
        services.revoke_token(live.pk, actor=actor)
        revoked_at = ApiToken.objects.get(pk=live.pk).revoked_at
        assert revoked_at is not None
        with pytest.raises(NotAllowed):
            services.revoke_token(live.pk, actor=actor)
        assert ApiToken.objects.get(pk=live.pk).revoked_at == revoked_at


def test_the_entry_of_an_account_says_what_it_now_is_but_no_password() -> None:
    user = grace(password="correct horse battery")
    user.is_active = False
    user.save()
    record_account(user.pk, actor=person("root", via=Via.ADMIN), changed=["Active", "password"])
    made, changed = AuditEntry.objects.filter(stream=account_stream(user.pk)).order_by("number")
    facts = {
        "name": "grace",
        "full_name": "",
        "email": "grace@example.com",
        "active": True,
        "staff": False,
        "superuser": False,
        "groups": ["platform"],
        "linear_user_id": "u-1",
        "identities": [],
    }
    assert made.data == facts | {"changed": ["password"]}
    assert changed.data == facts | {"active": False, "changed": ["Active", "password"]}
    assert (changed.name, changed.actor, changed.via) == ("approver.saved", "root", "admin")
    assert "horse" not in str([made.data, changed.data])


def test_accounts_and_tokens_leave_audit_entries_that_hold_no_secret() -> None:
    user = services.create_approver("ada", email="ada@example.com", groups=["platform"])
    token = services.create_token("ada", scope="decide", label="laptop")
    services.revoke_token(ApiToken.objects.get().pk, actor=user_actor(user, Via.WEB))
    entries = AuditEntry.objects.filter(stream=account_stream(user.pk)).order_by("number")
    assert [(entry.name, entry.actor) for entry in entries] == [
        ("approver.saved", "command line"),
        ("token.created", "command line"),
        ("token.revoked", "ada"),
    ]
    assert token not in str([entry.data for entry in entries])
    assert list(audit.broken_links()) == []
