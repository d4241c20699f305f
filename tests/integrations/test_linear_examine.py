"""What an operator is told about the set-up of Linear."""

from pathlib import Path

import pytest
from pytest_django import Settings

from approvals import services
from integrations.linear.examine import examine_linear
from tests.integrations.linear_world import GATEWAY, LinearWorld

pytestmark = pytest.mark.django_db


def faults() -> list[str]:
    """The sentences of everything that is not as it should be."""
    return [finding.sentence for finding in examine_linear() if not finding.ok]


def test_a_right_set_up_has_no_fault_and_names_the_identity(
    linear: LinearWorld, settings: Settings
) -> None:
    settings.PUBLIC_URL = "http://127.0.0.1:1"
    linear.sandbox.send_webhooks_to("http://127.0.0.1:1/resume")
    assert faults() == []
    said = [finding.sentence for finding in examine_linear()]
    assert said[0] == "The gateway acts in Linear as HITL Gateway."
    # Whoever may list webhooks may read their secrets.
    assert "Linear sends its webhook to http://127.0.0.1:1/resume." in said
    assert "give the gateway a key of a user who is no administrator" in said[-1]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("FORBIDDEN", "Invalid role: admin required"),
        ("FORBIDDEN", "You are not allowed to see this"),
        ("SOMETHING_ELSE", "Invalid scope: `admin` required"),
    ],
)
def test_a_key_that_may_not_list_webhooks_is_the_right_one(
    linear: LinearWorld, settings: Settings, code: str, message: str
) -> None:
    linear.sandbox.fault("linear", "graphql_error", "webhooks", code=code, message=message)
    assert faults() == []
    said = [finding.sentence for finding in examine_linear()]
    (untold,) = [sentence for sentence in said if "was not looked at" in sentence]
    assert said[-1] == untold
    assert "as it should be" in untold
    assert "an administrator has to" in untold
    assert f"{settings.PUBLIC_URL}/resume" in untold
    for kind in ("Comment", "Issue", "Reaction"):
        assert kind in untold


def test_webhooks_that_could_not_be_listed_for_another_reason_are_a_fault(
    linear: LinearWorld,
) -> None:
    linear.sandbox.fault("linear", "graphql_error", "webhooks", code="LOCK_TIMEOUT", message="m")
    (fault,) = faults()
    assert "The webhooks could not be listed. Linear failed: m." in fault


def test_a_name_that_linear_does_not_know_is_a_fault_and_the_others_are_looked_at(
    linear: LinearWorld, settings: Settings, tmp_path: Path
) -> None:
    shipped = (settings.HITL_CONFIG_DIR / "linear" / "linear-config.yaml").read_text()
    (tmp_path / "linear").mkdir()
    changed = shipped.replace("rejected: Canceled", "rejected: Shipped")
    assert changed != shipped
    (tmp_path / "linear" / "linear-config.yaml").write_text(changed)
    settings.HITL_CONFIG_DIR = tmp_path
    said = {finding.sentence: finding.ok for finding in examine_linear()}
    (unknown,) = [sentence for sentence in said if "Linear does not know" in sentence]
    assert "the state 'Shipped' in the team 'CHEF'" in unknown
    assert not said[unknown]
    assert said["Linear knows the team CHEF."]
    assert said["Linear knows the state Done."]


def test_a_missing_webhook_is_a_fault(linear: LinearWorld) -> None:
    linear.sandbox.send_webhooks_to("http://127.0.0.1:1/elsewhere")
    (fault,) = faults()
    assert "Linear has no webhook to" in fault


def test_an_approver_whose_key_the_gateway_holds_is_warned_of(linear: LinearWorld) -> None:
    services.create_approver("owner", email="o@example.com", groups=[], linear_user_id=GATEWAY)
    assert any("cannot decide in Linear" in fault for fault in faults())


def test_a_refused_key_is_all_that_can_be_said(linear: LinearWorld, settings: Settings) -> None:
    settings.LINEAR_API_KEY = "wrong"
    (fault,) = faults()
    assert "check LINEAR_API_KEY" in fault


def test_without_a_key_linear_is_off(linear: LinearWorld, settings: Settings) -> None:
    settings.LINEAR_API_KEY = ""
    assert [finding.sentence for finding in examine_linear()] == [
        "Linear is off: LINEAR_API_KEY is not set."
    ]
