"""config/linear/linear-config.yaml: what fits, and what stops the start."""

from pathlib import Path

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from approvals.configfile import ConfigError
from approvals.core.lifecycle import Choice, Status
from approvals.core.risk import Risk
from integrations.linear.config import LinearConfig, load_linear_config


def written(folder: Path, text: str) -> Path:
    """A configuration file with this text."""
    path = folder / "linear" / "linear-config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_the_shipped_file_fits(settings: Settings) -> None:
    config = load_linear_config(settings.HITL_CONFIG_DIR / "linear" / "linear-config.yaml")
    assert (config.team, config.project) == ("CHEF", "Approvals")
    assert config.webhook.trigger_on_states == ("Done", "Approved")
    assert config.webhook.reject_on_states == ("Canceled", "Rejected")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("team: CHEF\nteem: X\n", "linear-config.yaml:2: teem: Extra inputs"),
        ("team: ''\n", "linear-config.yaml:1: team:"),
        ("approval_template:\n  priority: 7\n", ":2: approval_template.priority:"),
        ("webhook:\n  trigger_on_states: []\n", ":2: webhook.trigger_on_states:"),
        (
            "webhook:\n  trigger_on_states: [Done]\n  reject_on_states: [done]\n",
            "a state cannot both approve and reject: done",
        ),
        (
            "outcome_states:\n  expired: Done\n",
            "outcome_states.expired is Done, which webhook counts as a vote to approve",
        ),
        ("- team\n", ":1:"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_line_and_sentence(
    tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_linear_config(written(tmp_path, text))
    assert expected in str(caught.value)


def test_a_bad_file_stops_the_start(tmp_path: Path, settings: Settings) -> None:
    written(tmp_path, "teem: CHEF\n")
    settings.HITL_CONFIG_DIR = tmp_path
    with pytest.raises(ImproperlyConfigured, match="teem"):
        apps.get_app_config("integrations").ready()


@pytest.mark.parametrize(
    ("state", "choice"),
    [("done", Choice.APPROVE), (" Rejected ", Choice.REJECT), ("Todo", None), ("", None)],
)
def test_states_are_compared_without_case(state: str, choice: Choice | None) -> None:
    assert LinearConfig().choice_for(state) is choice


@pytest.mark.parametrize(
    ("risk", "floor", "priority"),
    [
        (Risk.CRITICAL, 4, 1),
        (Risk.HIGH, 4, 2),
        (Risk.MEDIUM, 4, 3),
        (Risk.LOW, 4, 4),
        (Risk.LOW, 2, 2),
        (Risk.CRITICAL, 2, 1),
    ],
)
def test_the_priority_is_the_more_urgent_of_risk_and_template(
    risk: Risk, floor: int, priority: int
) -> None:
    config = LinearConfig.model_validate({"approval_template": {"priority": floor}})
    assert config.priority_for(risk) == priority


@pytest.mark.parametrize(
    ("status", "state", "shows"),
    [
        (Status.APPROVED, "Approved", True),
        (Status.APPROVED, "Canceled", False),
        (Status.REJECTED, "Rejected", True),
        (Status.EXPIRED, "Canceled", True),
        (Status.EXPIRED, "Rejected", False),
        (Status.SUPERSEDED, "Done", False),
    ],
)
def test_an_issue_that_already_shows_the_outcome_is_not_moved(
    status: Status, state: str, shows: bool
) -> None:
    assert LinearConfig().shows(status, state) is shows
