"""Rules and a task give one assessment, whatever the order, and never one that is too low."""

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.core.risk import Assessment, Risk, Rule, RuleSet, assess, most_severe
from approvals.policy import load_rules

SHIPPED = Path(__file__).parents[3] / "config" / "hitl" / "risk-assessment-rules.yaml"


def rule(
    name: str, risk: Risk = Risk.LOW, *, approval: bool = False, **conditions: str | tuple[str, ...]
) -> Rule:
    wanted = {
        field.replace("__", "."): (value,) if isinstance(value, str) else value
        for field, value in conditions.items()
    }
    return Rule(name, wanted, risk, approval)


def matched(assessment: Assessment) -> list[str]:
    return [match.rule for match in assessment.matches]


def matches(condition: Mapping[str, tuple[str, ...]], task: Mapping[str, object]) -> bool:
    """Whether a rule of this condition, which asks for approval, matches the task."""
    found = assess(RuleSet((Rule("it", condition, Risk.LOW, True),)), task, "cicd")
    return "it" in matched(found)


DEPLOY = {"operation": "deploy", "environment": "staging"}
ORDERED = [
    rule("low", Risk.LOW, operation="deploy"),
    rule("critical", Risk.CRITICAL, environment="staging"),
    rule("medium", Risk.MEDIUM, operation="deploy"),
    rule("unmatched", Risk.CRITICAL, approval=True, operation="other"),
]


@pytest.mark.parametrize("rules", list(permutations(ORDERED)))
def test_the_most_severe_matching_rule_wins_whatever_the_order(rules: tuple[Rule, ...]) -> None:
    assessment = assess(RuleSet(rules), DEPLOY, "cicd")
    assert assessment.risk_level is Risk.CRITICAL
    assert sorted(matched(assessment)) == ["critical", "low", "medium"]


@pytest.mark.parametrize(
    ("wants", "required"),
    [
        ((False, False, False), False),
        ((True, False, False), True),
        ((False, True, False), True),
        ((False, False, True), True),
        ((True, True, True), True),
    ],
)
def test_approval_is_required_when_any_matching_rule_requires_it(
    wants: tuple[bool, ...], required: bool
) -> None:
    severities = (Risk.LOW, Risk.HIGH, Risk.LOW)
    rules = tuple(
        rule(f"rule{number}", severity, approval=want, operation="deploy")
        for number, (severity, want) in enumerate(zip(severities, wants, strict=True))
    )
    assert assess(RuleSet(rules), DEPLOY, "cicd").requires_approval is required


def test_a_rule_that_does_not_match_requires_nothing() -> None:
    rules = RuleSet((rule("a", operation="deploy"), rule("b", approval=True, operation="other")))
    assert assess(rules, DEPLOY, "cicd").requires_approval is False


def test_an_operation_that_no_rule_knows_is_high_risk_and_needs_approval() -> None:
    assessment = assess(RuleSet(()), DEPLOY, "cicd")
    assert (assessment.risk_level, assessment.requires_approval) == (Risk.HIGH, True)
    assert matched(assessment) == ["default"]


def test_the_default_is_what_the_rules_say_it_is() -> None:
    rules = RuleSet((), Risk.CRITICAL, default_requires_approval=True)
    assert assess(rules, DEPLOY, "cicd").risk_level is Risk.CRITICAL


@pytest.mark.parametrize("environment", [None, "", "   ", "\t\n", [], [""], {}, {"name": "test"}])
def test_a_task_without_an_environment_is_high_risk_even_where_a_rule_lets_it_through(
    environment: object,
) -> None:
    rules = RuleSet((rule("harmless", operation="deploy"),))
    given = assess(rules, {"operation": "deploy", "environment": environment}, "cicd")
    absent = assess(rules, {"operation": "deploy"}, "cicd")
    for assessment in (given, absent):
        assert (assessment.risk_level, assessment.requires_approval) == (Risk.HIGH, True)
        assert matched(assessment) == ["harmless", "no_environment"]


def test_a_missing_environment_does_not_lower_a_critical_rule() -> None:
    rules = RuleSet((rule("delete", Risk.CRITICAL, approval=True, operation="delete"),))
    assert assess(rules, {"operation": "delete"}, "cicd").risk_level is Risk.CRITICAL


def test_a_default_that_lets_through_does_not_excuse_a_missing_environment() -> None:
    rules = RuleSet((), Risk.LOW, default_requires_approval=False)
    assessment = assess(rules, {"operation": "anything"}, "cicd")
    assert (assessment.risk_level, assessment.requires_approval) == (Risk.HIGH, True)


@pytest.mark.parametrize(
    ("pattern", "value", "holds"),
    [
        ("deploy", "deploy", True),
        ("deploy", "DEPLOY", True),
        ("Deploy", "deploy", True),
        ("deploy", "  deploy\n", True),
        (" deploy ", "deploy", True),
        ("straße", "STRASSE", True),
        ("deploy", "redeploy", False),
        ("deploy", "deploy_all", False),
        ("deploy", "de ploy", False),
        ("deploy", "deploy\nnow", False),
        ("*delete*", "bulk_delete_users", True),
        ("*delete*", "delete", True),
        ("*delete*", "line\ndelete\nline", True),
        ("delete*", "undelete", False),
        ("v?.?", "v1.2", True),
        ("v?.?", "v1.23", False),
        ("*", "anything", True),
        ("*", "", False),
        ("a.c", "abc", False),
        ("^deploy$", "deploy", False),
        ("eu[west]", "eu[west]", True),
        ("eu[west]", "eus", False),
        ("eu[!w]", "eux", False),
    ],
)
def test_patterns_compare_without_case_or_surrounding_space(
    pattern: str, value: str, holds: bool
) -> None:
    assert matches({"operation": (pattern,)}, {"operation": value, "environment": "x"}) is holds


@pytest.mark.parametrize(
    ("pattern", "value", "holds"),
    [
        ("true", True, True),
        ("false", False, True),
        ("1", True, False),
        ("0", False, False),
        ("3", 3, True),
        ("0.5", 0.5, True),
        ("3", 30, False),
        ("none", None, False),
        ("*", None, False),
        ("*", [], False),
        ("*", {}, False),
        ("*", {"a": "b"}, False),
        ("db", ["web", "db"], True),
        ("db", ["web", " DB "], True),
        ("db", ("web", "db"), True),
        ("db", ["web", {"name": "db"}], False),
        ("db", [["db"]], False),
        ("7", ["web", 7], True),
    ],
)
def test_values_of_other_types_compare_by_their_plain_text(
    pattern: str, value: object, holds: bool
) -> None:
    assert matches({"target": (pattern,)}, {"target": value, "environment": "x"}) is holds


@pytest.mark.parametrize(
    ("task", "holds"),
    [
        ({"arguments": {"service": "billing"}}, True),
        ({"arguments": {"service": "web"}}, False),
        ({"arguments": {}}, False),
        ({"arguments": "service"}, False),
        ({"arguments": ["service"]}, False),
        ({"arguments": None}, False),
        ({"arguments.service": "billing"}, False),
        ({}, False),
    ],
)
def test_dots_reach_into_mappings(task: Mapping[str, object], holds: bool) -> None:
    assert matches({"arguments.service": ("billing",)}, {**task, "environment": "x"}) is holds


@pytest.mark.parametrize(
    "name",
    [
        "production\u200b",
        "prod\u00aduction",
        "pr\u043eduction",
        "\uff50roduction",
        "produc\ntion",
        "\u202enoitcudorp",
    ],
)
@pytest.mark.parametrize("field", ["operation", "environment", "agent"])
def test_a_name_that_reads_as_another_is_critical(field: str, name: str) -> None:
    rules = RuleSet((rule("anything", operation="*"),))
    fields = {"operation": "run_tests", "environment": "test", "agent": "cicd", field: name}
    agent = fields.pop("agent")
    assessment = assess(rules, fields, agent)
    assert (assessment.risk_level, assessment.requires_approval) == (Risk.CRITICAL, True)
    assert f"{field} holds characters" in assessment.matches[-1].reason


@pytest.mark.parametrize(
    "name", ["Production ", "pr\u00fcfung", "\u043f\u0440\u043e\u0434", "eu-west-1"]
)
def test_a_name_in_one_alphabet_is_no_disguise(name: str) -> None:
    rules = RuleSet((rule("anything", operation="*"),))
    assessment = assess(rules, {"operation": "run_tests", "environment": name}, "cicd")
    assert matched(assessment) == ["anything"]


def test_every_condition_must_hold_and_one_value_of_each_is_enough() -> None:
    conditions = {"operation": ("deploy", "rollback"), "environment": ("staging", "production")}
    assert matches(conditions, {"operation": "rollback", "environment": "staging"})
    assert not matches(conditions, {"operation": "rollback", "environment": "test"})
    assert not matches(conditions, {"operation": "plan", "environment": "staging"})


@pytest.mark.parametrize(
    ("targets", "spared"),
    [
        ("docs", True),
        (["docs"], True),
        (["docs", "guides"], True),
        (["docs", "billing"], False),
        (["docs", {"name": "billing"}], False),
        (["docs", None], False),
        (["docs", ["billing"]], False),
        ([], False),
    ],
)
def test_a_rule_without_approval_matches_only_a_list_that_it_names_whole(
    targets: object, spared: bool
) -> None:
    rules = RuleSet((rule("harmless", targets=("docs", "guide*")),))
    assessment = assess(rules, {**DEPLOY, "targets": targets}, "documentation")
    assert (matched(assessment), assessment.requires_approval) == (
        (["harmless"], False) if spared else (["default"], True)
    )


def test_the_agent_of_a_rule_is_the_real_one_whatever_the_task_claims() -> None:
    rules = RuleSet((rule("infra", Risk.CRITICAL, agent="infrastructure"),))
    claimed = {**DEPLOY, "agent": "infrastructure"}
    assert matched(assess(rules, claimed, "documentation")) == ["default"]
    hidden = {**DEPLOY, "agent": "documentation"}
    assert matched(assess(rules, hidden, "Infrastructure")) == ["infra"]


def test_the_assessment_says_why_each_rule_matched() -> None:
    rules = RuleSet(
        (rule("gate", Risk.HIGH, operation="Deploy", environment=("prod*", "staging")),)
    )
    (match,) = assess(rules, {"operation": " DEPLOY", "environment": "Staging"}, "cicd").matches
    assert match.rule == "gate"
    assert match.risk_level is Risk.HIGH
    assert match.reason == "operation is deploy and environment is staging"


@pytest.mark.parametrize("assessed", Risk)
@pytest.mark.parametrize("stated", Risk)
@pytest.mark.parametrize("required", [True, False])
def test_a_stated_risk_raises_and_never_lowers(
    assessed: Risk, stated: Risk, required: bool
) -> None:
    before = Assessment(assessed, required, ())
    after = before.raised_to(stated)
    assert after.risk_level is most_severe(assessed, stated)
    assert after.requires_approval or not required
    if stated.severity > assessed.severity:
        assert matched(after) == ["stated_by_caller"]
        if stated in {Risk.HIGH, Risk.CRITICAL}:
            assert after.requires_approval
    else:
        assert after == before


def test_the_levels_are_ordered_by_harm() -> None:
    assert [risk.severity for risk in (Risk.LOW, Risk.MEDIUM, Risk.HIGH, Risk.CRITICAL)] == [
        *(0, 1, 2, 3)
    ]
    assert most_severe(Risk.MEDIUM, Risk.HIGH, Risk.LOW) is Risk.HIGH


_WORDS = st.sampled_from(["deploy", "plan", "staging", "production", "*", "de*", "", " "])
_RULES = st.lists(
    st.builds(
        Rule,
        st.just("any"),
        st.dictionaries(
            st.sampled_from(["operation", "environment", "agent", "arguments.x"]),
            st.lists(_WORDS, min_size=1, max_size=3).map(tuple),
            min_size=1,
        ),
        st.sampled_from(Risk),
        st.booleans(),
    ),
    max_size=6,
)
_TASKS = st.fixed_dictionaries(
    {"operation": _WORDS},
    optional={"environment": _WORDS | st.none(), "arguments": st.just({"x": "deploy"})},
)


@settings(max_examples=40)
@given(_RULES, _TASKS, st.data())
def test_more_rules_never_make_a_known_operation_less_risky(
    rules: list[Rule], task: dict[str, Any], data: st.DataObject
) -> None:
    shuffled = tuple(data.draw(st.permutations(rules)))
    more = assess(RuleSet(shuffled), task, "plan")
    fewer = assess(RuleSet(shuffled[:-1]), task, "plan")
    if matched(fewer)[0] != "default":
        assert more.risk_level.severity >= fewer.risk_level.severity
        assert more.requires_approval >= fewer.requires_approval


@pytest.mark.parametrize(
    ("operation", "environment", "risk", "required"),
    [
        ("deploy", "production", Risk.CRITICAL, True),
        ("Deploy ", " PRODUCTION", Risk.CRITICAL, True),
        ("deploy", "staging", Risk.LOW, False),
        ("deploy", "prod", Risk.HIGH, True),
        ("deploy", None, Risk.HIGH, True),
        ("terraform_apply", "production", Risk.HIGH, True),
        ("terraform_apply", "staging", Risk.HIGH, True),
        ("docker_compose_up", "staging", Risk.HIGH, True),
        ("k8s_apply", "production", Risk.HIGH, True),
        ("k8s_apply", "development", Risk.LOW, False),
        ("db_migrate", "staging", Risk.MEDIUM, True),
        ("db_migrate", "production", Risk.HIGH, True),
        ("update_docs", "production", Risk.LOW, False),
        ("update_docs", None, Risk.HIGH, True),
        ("delete_bucket", "development", Risk.CRITICAL, True),
        ("rotate_secrets", "staging", Risk.CRITICAL, True),
        ("launch_rocket", "staging", Risk.HIGH, True),
        ("DEPLOY_EVERYTHING", "staging", Risk.HIGH, True),
    ],
)
def test_the_shipped_rules_say_what_the_product_promises(
    operation: str, environment: str | None, risk: Risk, required: bool
) -> None:
    task = {"operation": operation, "environment": environment}
    assessment = assess(load_rules(SHIPPED), task, "cicd")
    assert (assessment.risk_level, assessment.requires_approval) == (risk, required)


@pytest.mark.parametrize(
    ("field", "task"),
    [
        ("api_token", {"api_token": "Hunter2"}),
        ("api_token", {"api_token": ["other", "hunter2"]}),
        ("arguments.api_token", {"arguments": {"api_token": "hunter2"}}),
        ("api_token.value", {"api_token": {"value": "hunter2"}}),
    ],
)
def test_no_reason_tells_a_value_under_a_secret_key(field: str, task: dict[str, object]) -> None:
    secrets = Rule("known", {field: ("hunter*",), "operation": ("deploy",)}, Risk.HIGH, True)
    assessment = assess(
        RuleSet((secrets,)), {**DEPLOY, **task}, "cicd", is_secret=lambda key: "token" in key
    )
    (match,) = assessment.matches
    assert match.reason == f"{field} has a value of the rule and operation is deploy"
