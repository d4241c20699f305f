"""The shape of config/linear/linear-config.yaml."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated

from django.conf import settings
from pydantic import Field, StringConstraints, model_validator

from approvals.configfile import ConfigModel, load_config
from approvals.core.lifecycle import Choice, Status
from approvals.core.risk import Risk

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]

PRIORITIES = {Risk.CRITICAL: 1, Risk.HIGH: 2, Risk.MEDIUM: 3, Risk.LOW: 4}


def _folded(names: tuple[str, ...]) -> set[str]:
    return {name.casefold() for name in names}


class ApprovalTemplate(ConfigModel):
    """What every approval issue has in common; `priority` is Linear's number, 1 the most urgent."""

    title_prefix: Name = "[APPROVAL REQUIRED]"
    labels: tuple[Name, ...] = ("approval-required",)
    priority: int = Field(default=4, ge=1, le=4)


class WebhookConfig(ConfigModel):
    """Which moves are votes; the secret itself stands in the environment only."""

    trigger_on_states: tuple[Name, ...] = Field(default=("Done", "Approved"), min_length=1)
    reject_on_states: tuple[Name, ...] = Field(default=("Canceled", "Rejected"), min_length=1)

    @model_validator(mode="after")
    def _no_state_means_both(self) -> "WebhookConfig":
        both = _folded(self.trigger_on_states) & _folded(self.reject_on_states)
        if both:
            names = ", ".join(sorted(both))
            raise ValueError(f"a state cannot both approve and reject: {names}")
        return self


class OutcomeStates(ConfigModel):
    """The state that shows each outcome."""

    approved: Name = "Done"
    rejected: Name = "Canceled"
    expired: Name = "Canceled"
    cancelled: Name = "Canceled"
    superseded: Name = "Canceled"


class LinearConfig(ConfigModel):
    """How the gateway uses Linear; all names as people see them there."""

    team: Name = "CHEF"
    project: Name | None = None
    approval_template: ApprovalTemplate = Field(default_factory=ApprovalTemplate)
    webhook: WebhookConfig = Field(default_factory=WebhookConfig)
    outcome_states: OutcomeStates = Field(default_factory=OutcomeStates)

    @model_validator(mode="after")
    def _outcomes_say_what_happened(self) -> "LinearConfig":
        for status, name in self.outcome_states:
            choice = self.choice_for(name)
            wrong = Choice.REJECT if status == Status.APPROVED else Choice.APPROVE
            if choice is wrong:
                raise ValueError(
                    f"outcome_states.{status} is {name}, which webhook counts as a vote to {choice}"
                )
        return self

    def choice_for(self, state: str) -> Choice | None:
        """What moving an issue to this state says, or None where it says nothing."""
        folded = state.strip().casefold()
        if folded in _folded(self.webhook.trigger_on_states):
            return Choice.APPROVE
        if folded in _folded(self.webhook.reject_on_states):
            return Choice.REJECT
        return None

    def outcome_state(self, status: Status) -> str:
        """The state that shows a final status."""
        return str(getattr(self.outcome_states, status))

    def shows(self, status: Status, state: str) -> bool:
        """Whether an issue in this state already shows the final status."""
        if state.strip().casefold() == self.outcome_state(status).casefold():
            return True
        voted = {Status.APPROVED: Choice.APPROVE, Status.REJECTED: Choice.REJECT}.get(status)
        return voted is not None and self.choice_for(state) is voted

    def priority_for(self, risk: Risk) -> int:
        """Linear's number for this risk, at least as urgent as the template asks for."""
        return min(PRIORITIES[risk], self.approval_template.priority)


@lru_cache(maxsize=8)
def load_linear_config(path: Path) -> LinearConfig:
    """The file as a model, read once; ConfigError with file, line and sentence if it is unfit."""
    return load_config(path, LinearConfig)


def linear_config() -> LinearConfig:
    """The configuration of this process."""
    return load_linear_config(linear_config_path())


def linear_config_path() -> Path:
    """The file that the configuration of this process is read from."""
    return Path(settings.HITL_CONFIG_DIR) / "linear" / "linear-config.yaml"
