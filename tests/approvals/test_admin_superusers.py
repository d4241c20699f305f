"""What a superuser says in the admin: who decides, who is whom in Linear, which groups exist."""

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.test import Client

from approvals.models import ApproverProfile
from tests.approvals.accounts import (
    LINEAR,
    PASSWORD,
    PASSWORDS,
    PEOPLE,
    PROFILES,
    account,
    linked,
    saved,
    told,
)
from tests.approvals.scenes import person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

GROUPS = "/admin/auth/group/"


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
        "identities": [],
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
