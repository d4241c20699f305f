"""Rules and an operation in, an assessment out; no Django, no clock, no I/O."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

_UNSEEN = {"Cc", "Cf", "Co", "Cs"}
# Alphabets whose letters are taken for each other.
_ALIKE = {"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"}


class Risk(StrEnum):
    """How much harm an operation can do, in ascending order of severity."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def severity(self) -> int:
        """0 for low to 3 for critical; the text values do not sort by harm."""
        return list(Risk).index(self)

    @property
    def urgency(self) -> int:
        """0 for critical to 3 for low: what is most severe comes first."""
        return len(Risk) - 1 - self.severity


def most_severe(*risks: Risk) -> Risk:
    """The most severe of at least one risk; ValueError when there is none."""
    return max(risks, key=lambda risk: risk.severity)


@dataclass(frozen=True)
class Rule:
    """One rule: when every condition holds, the operation is at least this risky.

    `conditions` maps a field of the task (dots reach into mappings; `agent` is the agent's name)
    to the patterns of which one must match. A pattern is compared without regard to case and
    surrounding space; `*` and `?` stand for any text and any character.
    """

    name: str
    conditions: Mapping[str, tuple[str, ...]]
    risk_level: Risk
    requires_approval: bool


@dataclass(frozen=True)
class RuleSet:
    """All rules, and what holds where none of them matches."""

    rules: tuple[Rule, ...]
    default_risk_level: Risk = Risk.HIGH
    default_requires_approval: bool = True


@dataclass(frozen=True)
class Match:
    """A rule that matched, with the reason in words."""

    rule: str
    risk_level: Risk
    reason: str


@dataclass(frozen=True)
class Assessment:
    """What the rules say about one operation, and why."""

    risk_level: Risk
    requires_approval: bool
    matches: tuple[Match, ...]

    def raised_to(self, stated: Risk) -> "Assessment":
        """The assessment at the stated risk where that is higher: callers raise, never lower."""
        if stated.severity <= self.risk_level.severity:
            return self
        match = Match("stated_by_caller", stated, f"the caller states {stated} risk")
        return Assessment(
            stated,
            self.requires_approval or stated.severity >= Risk.HIGH.severity,
            (*self.matches, match),
        )


def nothing_is_secret(key: str) -> bool:  # noqa: ARG001 - takes what any such predicate takes
    """For tasks that nobody is shown."""
    return False


def assess(
    rules: RuleSet,
    task: Mapping[str, object],
    agent: str,
    *,
    is_secret: Callable[[str], bool] = nothing_is_secret,
) -> Assessment:
    """Assess a task: the most severe matching rule wins, whatever the order of the rules.

    Approval is required if any matching rule requires it. A task that no rule matches, or that
    names no environment, is assessed by fail-closed defaults, and one whose names read as others
    is critical. No reason tells a value that stands under a key for which `is_secret` holds.
    """
    fields = {**task, "agent": agent}
    matches: list[Match] = []
    requires_approval = False
    for rule in rules.rules:
        every = not rule.requires_approval
        reason = explain(rule.conditions, fields, every=every, is_secret=is_secret)
        if reason is not None:
            matches.append(Match(rule.name, rule.risk_level, reason))
            requires_approval = requires_approval or rule.requires_approval
    if not matches:
        matches.append(Match("default", rules.default_risk_level, "no rule knows this operation"))
        requires_approval = rules.default_requires_approval
    if not any(_texts(task.get("environment"))):
        matches.append(Match("no_environment", Risk.HIGH, "no environment is given"))
        requires_approval = True
    for name in ("operation", "environment", "agent"):
        if _disguised(str(fields.get(name) or "")):
            reason = f"{name} holds characters that nobody sees or that look like others"
            matches.append(Match("disguised_name", Risk.CRITICAL, reason))
            requires_approval = True
    return Assessment(
        most_severe(*(match.risk_level for match in matches)), requires_approval, tuple(matches)
    )


def explain(
    conditions: Mapping[str, tuple[str, ...]],
    fields: Mapping[str, object],
    *,
    every: bool = False,
    is_secret: Callable[[str], bool] = nothing_is_secret,
) -> str | None:
    """Why all conditions hold, in words, or None where one does not.

    Of a list one item is enough, or `every` one must match.
    """
    reasons = []
    for field, wanted in conditions.items():
        text = _matching(fields, field, wanted, every=every)
        if text is None:
            return None
        hidden = any(is_secret(key) for key in field.split("."))
        reasons.append(f"{field} has a value of the rule" if hidden else f"{field} is {text}")
    return " and ".join(reasons)


def _matching(
    fields: Mapping[str, object], field: str, wanted: Sequence[str], *, every: bool
) -> str | None:
    """The field's text for which the condition holds, or None where it does not."""
    value: object = fields
    for key in field.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    texts = _texts(value)
    held = [text for text in texts if text and _matches(text, wanted)]
    if not held or (every and len(held) < len(texts)):
        return None
    return ", ".join(held) if every else held[0]


def _matches(text: str, wanted: Sequence[str]) -> bool:
    return any(fnmatchcase(text, _glob(pattern)) for pattern in wanted)


def _texts(value: object) -> list[str]:
    """The texts to compare: a scalar gives its own, a list one for each item."""
    return [_text(item) for item in (value if isinstance(value, (list, tuple)) else [value])]


def _text(item: object) -> str:
    """The text of a scalar; nothing for what has no plain one."""
    if isinstance(item, bool):
        return "true" if item else "false"
    return _normal(str(item)) if isinstance(item, (str, int, float)) else ""


def _disguised(name: str) -> bool:
    """Whether a name holds what nobody sees, or mixes alphabets or forms of the same letter."""
    name = unicodedata.normalize("NFC", name.strip())
    if any(unicodedata.category(char) in _UNSEEN for char in name):
        return True
    alphabets = {unicodedata.name(char, "?").split()[0] for char in name if char.isalpha()}
    return len(alphabets & _ALIKE) > 1 or unicodedata.normalize("NFKC", name) != name


def _glob(pattern: str) -> str:
    """The pattern with brackets meant as themselves; fnmatch would read a set of characters."""
    return _normal(pattern).replace("[", "[[]")


def _normal(text: str) -> str:
    return text.strip().casefold()
