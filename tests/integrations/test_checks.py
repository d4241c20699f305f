"""`manage.py check_integrations` says what works, and what somebody has to act on."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command

from approvals.policy import policy_groups

pytestmark = pytest.mark.django_db


def said() -> tuple[str, int]:
    """What the command prints, and its exit status."""
    output = StringIO()
    try:
        call_command("check_integrations", stdout=output)
    except SystemExit as ended:
        return output.getvalue(), int(str(ended.code))
    return output.getvalue(), 0


@pytest.fixture
def _members(settings: Any) -> None:
    user = User.objects.create_user("ada")
    for name in policy_groups():
        user.groups.add(Group.objects.create(name=name))


@pytest.mark.usefixtures("_members")
def test_without_keys_both_channels_are_said_to_be_off() -> None:
    text, status = said()
    assert "Linear is off: LINEAR_API_KEY is not set." in text
    assert "GitHub is off: GITHUB_TOKEN is not set." in text
    assert status == 0


def test_a_group_that_could_decide_but_has_nobody_fails() -> None:
    text, status = said()
    assert "FAIL  0 active members in the group release-managers" in text
    assert status == 1


@pytest.mark.usefixtures("_members")
def test_a_github_that_does_not_answer_fails_with_its_sentence(settings: Any) -> None:
    settings.GITHUB_TOKEN = "token"
    settings.GITHUB_API_URL = "http://127.0.0.1:9"
    text, status = said()
    assert "FAIL  GitHub:" in text
    assert status == 1
