"""What Linear answers on a bad day becomes a sentence, and the right kind of waiting."""

import time
from pathlib import Path

import pytest
from pytest_django import Settings

from approvals.core.events import ChannelError
from approvals.models import ChannelPause
from integrations.linear.client import LinearClient, linear
from integrations.linear.directory import directory
from tests.integrations.linear_world import GATEWAY, LinearWorld
from tests.sandbox_process import LINEAR_API_KEY

# Every call is measured, which is a row.
pytestmark = pytest.mark.django_db


def configured(settings: Settings, folder: Path, line: str, changed: str) -> Path:
    """The file of a configuration elsewhere, in which one line was changed."""
    text = (settings.HITL_CONFIG_DIR / "linear" / "linear-config.yaml").read_text()
    file = folder / "linear" / "linear-config.yaml"
    file.parent.mkdir()
    file.write_text(text.replace(line, changed))
    (folder / "hitl").symlink_to(settings.HITL_CONFIG_DIR / "hitl")
    settings.HITL_CONFIG_DIR = folder
    return file


def failure() -> ChannelError:
    """What reading the gateway's identity fails with."""
    with pytest.raises(ChannelError) as caught:
        linear().viewer()
    return caught.value


def test_the_gateway_knows_whose_key_it_holds(linear: LinearWorld) -> None:
    assert directory().viewer_id() == GATEWAY


def test_a_key_that_linear_refuses_is_permanent_and_named(linear: LinearWorld) -> None:
    client = LinearClient(linear.sandbox.linear_url, "a wrong key")
    with pytest.raises(ChannelError) as caught:
        client.viewer()
    assert caught.value.permanent
    assert "check LINEAR_API_KEY" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "permanent"),
    [
        ("USAGE_LIMIT_EXCEEDED", True),
        ("FORBIDDEN", True),
        ("INPUT_ERROR", True),
        ("INTERNAL_SERVER_ERROR", False),
        ("LOCK_TIMEOUT", False),
    ],
)
def test_an_error_in_the_answer_is_permanent_or_not(
    linear: LinearWorld, code: str, permanent: bool
) -> None:
    linear.sandbox.fault("linear", "graphql_error", code=code, message="what was said", times=1)
    error = failure()
    assert error.permanent is permanent
    assert "what was said" in str(error)


def test_a_rate_limit_waits_until_it_is_lifted(linear: LinearWorld) -> None:
    linear.sandbox.fault("linear", "rate_limited", retry_after=40, times=1)
    error = failure()
    assert not error.permanent
    assert error.retry_after is not None
    # Its Date is in whole seconds, and a server renews it each second, or later where it is busy.
    assert 30 < error.retry_after <= 45


def test_a_rate_limit_pauses_the_whole_channel(linear: LinearWorld) -> None:
    linear.sandbox.fault("linear", "rate_limited", retry_after=40, times=1)
    linear.open()
    linear.opened()
    assert linear.sandbox.issues() == []
    pause = ChannelPause.objects.get(channel="linear")
    assert pause.until_at.timestamp() > time.time() + 25


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_a_server_that_fails_is_asked_again(linear: LinearWorld, status: int) -> None:
    linear.sandbox.fault("linear", "status", status=status, times=1)
    assert not failure().permanent


def test_an_address_where_nothing_listens_is_asked_again(linear: LinearWorld) -> None:
    with pytest.raises(ChannelError) as caught:
        LinearClient("http://127.0.0.1:1/graphql", LINEAR_API_KEY).viewer()
    assert not caught.value.permanent
    assert "Linear could not be reached" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "changed", "named"),
    [
        ("team: CHEF", "team: BAKERS", "a team with the key 'BAKERS'"),
        ("project: Approvals", "project: Elsewhere", "the project 'Elsewhere'"),
        (
            "labels: [approval-required]",
            "labels: [no-such]",
            "the label 'no-such' for the team 'CHEF'",
        ),
    ],
)
def test_a_name_that_linear_does_not_know_stops_the_channel_and_is_named(
    linear: LinearWorld, settings: Settings, tmp_path: Path, line: str, changed: str, named: str
) -> None:
    file = configured(settings, tmp_path, line, changed)
    delivery = linear.delivery(linear.opened())
    assert delivery.gave_up_at is not None
    assert delivery.last_error == (
        f"Linear does not know {named}: create it there or correct {file}."
    )


def test_a_name_of_two_projects_stops_the_channel_and_is_named(
    linear: LinearWorld, settings: Settings, tmp_path: Path
) -> None:
    file = configured(settings, tmp_path, "project: Approvals", "project: Twins")
    delivery = linear.delivery(linear.opened())
    assert delivery.gave_up_at is not None
    assert delivery.last_error == (
        "Linear has more than one project named 'Twins': rename one there or choose another in"
        f" {file}."
    )
