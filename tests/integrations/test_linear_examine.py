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
