"""The rules and policies of `config/hitl`, read once at start into the core's types."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings
from pydantic import Field, field_validator

from approvals.configfile import ConfigModel, load_config
from approvals.core.lifecycle import Policy
from approvals.core.risk import Risk, Rule, RuleSet, explain

Patterns = tuple[str, ...]
_YEAR_SECONDS = 366 * 86_400


def _as_list(value: object) -> list[str]:
    """One value or a list of values; YAML's numbers and booleans are compared as text."""
    values = value if isinstance(value, list) else [value]
    if not values or any(isinstance(item, (dict, list)) or item is None for item in values):
        raise ValueError("give one value, or a list of values")
    return [("true" if v else "false") if isinstance(v, bool) else str(v) for v in values]


class _Conditions(ConfigModel):
    conditions: dict[str, Patterns] = Field(min_length=1)

    @field_validator("conditions", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 - pydantic reports no other error
                "give a mapping of fields to values"
            )
        return {field: _as_list(wanted) for field, wanted in value.items()}


class _RuleEntry(_Conditions):
    name: str = Field(min_length=1)
    risk_level: Risk
    requires_approval: bool


class _DefaultEntry(ConfigModel):
    risk_level: Risk
    requires_approval: bool


class _RulesFile(ConfigModel):
    default: _DefaultEntry
    rules: tuple[_RuleEntry, ...]

    @field_validator("rules")
    @classmethod
    def _names_are_unique(cls, rules: tuple[_RuleEntry, ...]) -> tuple[_RuleEntry, ...]:
        names = [rule.name for rule in rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are named {name!r}")
        return rules


class _PolicyEntry(ConfigModel):
    name: str = Field(min_length=1)
    match: dict[str, Patterns] = Field(default_factory=dict)
    groups: tuple[str, ...] = Field(min_length=1)
    quorum: int = Field(default=1, ge=1, le=20)
    expires_after_seconds: int = Field(default=86_400, ge=1, le=_YEAR_SECONDS)
    execute_within_seconds: int = Field(default=86_400, ge=1, le=_YEAR_SECONDS)
    requester_may_decide: bool = False

    @field_validator("match", mode="before")
    @classmethod
    def _known_fields(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 - pydantic reports no other error
                "give a mapping of risk_level, agent, operation or environment"
            )
        known = {"risk_level", "agent", "operation", "environment"}
        if unknown := {str(field) for field in value} - known:
            raise ValueError(f"cannot match on {', '.join(sorted(unknown))}")
        match = {field: _as_list(wanted) for field, wanted in value.items()}
        for pattern in match.get("risk_level", []):
            # One that never matches would hand its requests to a weaker policy.
            if not any(explain({"risk": (pattern,)}, {"risk": risk}) for risk in Risk):
                raise ValueError(f"no risk level is {pattern!r}: use one of {', '.join(Risk)}")
        return match

    def frozen(self) -> Policy:
        return Policy(
            self.name,
            self.groups,
            self.quorum,
            self.expires_after_seconds,
            self.execute_within_seconds,
            self.requester_may_decide,
        )


class _PoliciesFile(ConfigModel):
    masked_keys: tuple[str, ...]
    policies: tuple[_PolicyEntry, ...] = Field(min_length=1)

    @field_validator("policies")
    @classmethod
    def _last_catches_all(cls, policies: tuple[_PolicyEntry, ...]) -> tuple[_PolicyEntry, ...]:
        if policies[-1].match:
            raise ValueError("the last policy must have no match, so that every request has one")
        for entry in policies[:-1]:
            if not entry.match:
                raise ValueError(f"the policy {entry.name!r} has no match and hides those after it")
        return policies


@lru_cache(maxsize=8)
def load_rules(path: Path) -> RuleSet:
    """The risk rules of a file; ConfigError with file and line where it does not fit."""
    file = load_config(path, _RulesFile)
    return RuleSet(
        tuple(
            Rule(rule.name, rule.conditions, rule.risk_level, rule.requires_approval)
            for rule in file.rules
        ),
        file.default.risk_level,
        file.default.requires_approval,
    )


@lru_cache(maxsize=8)
def load_policies(path: Path) -> _PoliciesFile:
    """The policies of a file; ConfigError with file and line where it does not fit."""
    return load_config(path, _PoliciesFile)


def current_rules() -> RuleSet:
    """The rules this process started with."""
    return load_rules(settings.HITL_CONFIG_DIR / "hitl" / "risk-assessment-rules.yaml")


def literal_environments() -> tuple[str, ...]:
    """The environments that the rules name in full, without a pattern, in the rules' order."""
    named = [v for rule in current_rules().rules for v in rule.conditions.get("environment", ())]
    return tuple(dict.fromkeys(v.strip() for v in named if v.strip() and not set(v) & set("*?")))


def _current_policies() -> _PoliciesFile:
    return _policies_in(settings.HITL_CONFIG_DIR)


# Asked several times for each row of a page: even putting the path together would be felt.
@lru_cache(maxsize=8)
def _policies_in(folder: Path) -> _PoliciesFile:
    return load_policies(folder / "hitl" / "approval-policies.yaml")


def masked_keys() -> tuple[str, ...]:
    """Patterns of the task's keys whose values are never shown."""
    return _current_policies().masked_keys


def policy_groups() -> set[str]:
    """Every group that some policy names."""
    return {group for entry in _current_policies().policies for group in entry.groups}


def choose_policy(risk_level: Risk, agent: str, task: Mapping[str, Any]) -> Policy:
    """The first policy of the file that matches; the last one matches everything."""
    fields = {
        "risk_level": str(risk_level),
        "agent": agent,
        "operation": task.get("operation", ""),
        "environment": task.get("environment", ""),
    }
    entries = _current_policies().policies
    return next(entry for entry in entries if explain(entry.match, fields) is not None).frozen()
