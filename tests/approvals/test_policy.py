"""Rules and policies come from files, and a file that does not fit says where and why."""

import time
from pathlib import Path
from textwrap import dedent

import pytest

from approvals.configfile import ConfigError, ConfigModel, load_config
from approvals.core.risk import Risk
from approvals.policy import choose_policy, load_policies, load_rules, masked_keys, policy_groups

RULES = """\
default: {risk_level: high, requires_approval: true}
rules:
  - name: deploys
    conditions:
      operation: [deploy, 3, true]
      arguments.force: yes
    risk_level: critical
    requires_approval: true
"""
POLICIES = """\
masked_keys: ["*secret*"]
policies:
  - name: releases
    match: {risk_level: critical}
    groups: [release-managers]
    quorum: 2
  - name: rest
    groups: [developers]
"""


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "some.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def fault(tmp_path: Path, text: str | bytes, load: object) -> str:
    """The message without the folder: `LINE: sentence` for each fault."""
    path = written(tmp_path, text)
    assert callable(load)
    with pytest.raises(ConfigError) as caught:
        load(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return "\n".join(line.removeprefix(f"{path}:") for line in lines)


def test_rules_are_read_with_every_value_as_a_pattern(tmp_path: Path) -> None:
    rules = load_rules(written(tmp_path, RULES))
    (rule,) = rules.rules
    assert rule.conditions == {
        "operation": ("deploy", "3", "true"),
        "arguments.force": ("true",),
    }
    assert (rule.risk_level, rule.requires_approval) == (Risk.CRITICAL, True)
    assert (rules.default_risk_level, rules.default_requires_approval) == (Risk.HIGH, True)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("name: deploys", "name: ''", "3: rules.0.name: String should have at least 1 character"),
        ("name: deploys", "title: deploys", "3: rules.0.name: Field required"),
        ("level: critical", "level: deadly", "7: rules.0.risk_level: Input should be"),
        ("level: critical", "level: CRITICAL", "7: rules.0.risk_level: Input should be"),
        ("approval: true\n", "approval: maybe\n", "8: rules.0.requires_approval: Input should be"),
        ("    requires_approval: true\n", "", "3: rules.0.requires_approval: Field required"),
        ("    risk_level: critical\n", "", "3: rules.0.risk_level: Field required"),
        ("risk_level: critical", "risk: critical", "3: rules.0.risk_level: Field required"),
        (
            "critical\n",
            "critical\n    note: x\n",
            "8: rules.0.note: Extra inputs are not permitted",
        ),
        ("{risk_level: high, requires_approval: true}", "{}", "1: default.risk_level: Field"),
        ("default:", "defaults:", "1: default: Field required"),
        ("[deploy, 3, true]", "[]", "4: rules.0.conditions: Value error, give one value"),
        ("[deploy, 3, true]", "", "4: rules.0.conditions: Value error, give one value"),
        ("[deploy, 3, true]", "{a: b}", "4: rules.0.conditions: Value error, give one value"),
        ("[deploy, 3, true]", "[[deploy]]", "4: rules.0.conditions: Value error, give one value"),
        ("name: deploys", "name: [a", "4: not valid YAML: "),
        ("name: deploys", "name: a: b", "3: not valid YAML: mapping values are not allowed here"),
        ("name: deploys", "name: *gone", "3: not valid YAML: found undefined alias 'gone'"),
        ("name: deploys", "name: !!python/name:os.system x", "3: not valid YAML: could not"),
        ("name: deploys", "name: 2026-13-45", "3: not valid YAML: month must be in 1..12"),
        ("name: deploys", "name: !!int many", "3: not valid YAML: invalid literal for int"),
        ("name: deploys", "name: !!int ''", "3: not valid YAML: this is no !!int"),
        ("name: deploys", "name: !!float ''", "3: not valid YAML: this is no !!float"),
        ("name: deploys", "name: !!bool maybe", "3: not valid YAML: this is no !!bool"),
        ("name: deploys", "name: !!timestamp soon", "3: not valid YAML: this is no !!timestamp"),
        ("name: deploys", "name: a\n    name: b", "4: not valid YAML: the key 'name' stands twice"),
        ("name: deploys", "? [a, b]\n    : c", "3: not valid YAML: found unhashable key"),
        ("name: deploys", "name: a\x00b", "3: not valid YAML: special characters are not allowed"),
        ("name: deploys", "\tname: deploys", "3: not valid YAML: found character '\\t'"),
        ("rules:\n", "rules: []\nrules:\n", "3: not valid YAML: the key 'rules' stands twice"),
    ],
)
def test_a_bad_file_of_rules_says_the_line_and_why(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert RULES.count(old) >= 1
    first = fault(tmp_path, RULES.replace(old, new, 1), load_rules).splitlines()[0]
    assert first.startswith(expected)


@pytest.mark.parametrize("conditions", ["5", "deploy", "[operation]", "", "{}"])
def test_conditions_that_are_no_mapping_are_refused(tmp_path: Path, conditions: str) -> None:
    text = f"""\
        default: {{risk_level: high, requires_approval: true}}
        rules:
          - name: a
            conditions: {conditions}
            risk_level: low
            requires_approval: false
        """
    assert fault(tmp_path, dedent(text), load_rules).startswith("4: rules.0.conditions: ")


def test_every_fault_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    text = RULES.replace("critical", "deadly").replace("risk_level: high", "risk_level: none")
    assert [line.split(":")[0] for line in fault(tmp_path, text, load_rules).splitlines()] == [
        *("1", "7")
    ]


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    _, _, entry = RULES.partition("rules:\n")
    told = fault(tmp_path, RULES + entry, load_rules)
    assert told == "2: rules: Value error, two rules are named 'deploys'"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "1: the file is empty"),
        (b"# nothing\n", "1: the file is empty"),
        (b"- a\n- b\n", "1: Input should be a valid dictionary"),
        (b"text\n", "1: Input should be a valid dictionary"),
        (b"---\na: 1\n---\nb: 2\n", "3: not valid YAML: but found another document"),
        (b"\xff\xfe\xfa", " cannot be read: "),
        (b"a: &a [*a]\n", "1: not valid YAML: the alias 'a' stands within what it names"),
        (b"a: 1\n? &a {b: *a}\n", "2: not valid YAML: the alias 'a' stands within what it names"),
        (b"a: " + b"[" * 2_000, "1: not valid YAML: nested more than 50 deep"),
        (b"- " * 2_000 + b"a", "1: not valid YAML: nested more than 50 deep"),
        (b"? " * 2_000 + b"a", "1: not valid YAML: nested more than 50 deep"),
    ],
)
def test_a_file_that_is_no_such_document_is_refused(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    assert fault(tmp_path, content, load_rules).startswith(expected)


@pytest.mark.parametrize("breadth", [1, 2, 10])
@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}", "{{{}: 1}}"])
def test_aliases_that_repeat_each_other_out_of_bounds_are_refused_at_once(
    tmp_path: Path, breadth: int, form: str
) -> None:
    lines = ["x0: &x0 {a: 1}"]
    for level in range(1, 1_000):
        held = ", ".join([f"*x{level - 1} "] * breadth)
        lines.append(f"x{level}: &x{level} {form.format(held)}")
    began = time.monotonic()
    told = fault(tmp_path, "\n".join(lines), load_rules)
    assert "not valid YAML" in told
    assert time.monotonic() - began < 5


def test_a_file_that_is_missing_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read: .*No such file"):
        load_rules(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_rules(tmp_path)


def test_an_alias_repeats_what_it_names(tmp_path: Path) -> None:
    class Lists(ConfigModel):
        one: tuple[str, ...]
        other: tuple[str, ...]

    read = load_config(written(tmp_path, "one: &it [a, b]\nother: *it\n"), Lists)
    assert read.one == read.other == ("a", "b")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("  - name: rest\n    groups: [developers]\n", "", "2: policies: Value error, the last"),
        (
            "    match: {risk_level: critical}\n",
            "",
            "2: policies: Value error, the policy 'releases' has no match",
        ),
        ("{risk_level: critical}", "5", "4: policies.0.match: Value error, give a mapping"),
        ("{risk_level: critical}", "critical", "4: policies.0.match: Value error, give a mapping"),
        ("{risk_level: critical}", "{team: a}", "4: policies.0.match: Value error, cannot match"),
        ("{risk_level: critical}", "{3: a}", "4: policies.0.match: Value error, cannot match on 3"),
        ("level: critical}", "level: criticl}", "4: policies.0.match: Value error, no risk level"),
        ("{risk_level: critical}", "{risk_level: []}", "4: policies.0.match: Value error, give"),
        ("quorum: 2", "quorum: 0", "6: policies.0.quorum: Input should be greater"),
        ("quorum: 2", "quorum: -1", "6: policies.0.quorum: Input should be greater"),
        ("quorum: 2", "quorum: 21", "6: policies.0.quorum: Input should be less"),
        ("quorum: 2", "quorum: two", "6: policies.0.quorum: Input should be a valid integer"),
        ("quorum: 2", "quorum: 1.5", "6: policies.0.quorum: Input should be a valid integer"),
        ("quorum: 2", "quorom: 2", "6: policies.0.quorom: Extra inputs are not permitted"),
        ("quorum: 2", "expires_after_seconds: 0", "6: policies.0.expires_after_seconds: Input"),
        ("quorum: 2", "expires_after_seconds: 9e99", "6: policies.0.expires_after_seconds: Input"),
        ("quorum: 2", "execute_within_seconds: -5", "6: policies.0.execute_within_seconds: Input"),
        ("quorum: 2", "requester_may_decide: ask", "6: policies.0.requester_may_decide: Input"),
        ("[release-managers]", "[]", "5: policies.0.groups: Tuple should have at least 1 item"),
        ("[release-managers]", "release-managers", "5: policies.0.groups: Input should be a valid"),
        ("[release-managers]", "[7]", "5: policies.0.groups.0: Input should be a valid string"),
        ('masked_keys: ["*secret*"]\n', "", "1: masked_keys: Field required"),
    ],
)
def test_a_bad_file_of_policies_says_the_line_and_why(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert POLICIES.count(old) == 1
    told = fault(tmp_path, POLICIES.replace(old, new), load_policies)
    assert expected in told.splitlines()[0]


def test_a_policy_has_careful_defaults(tmp_path: Path) -> None:
    entries = load_policies(written(tmp_path, POLICIES)).policies
    rest = entries[1].frozen()
    assert (rest.quorum, rest.requester_may_decide) == (1, False)
    assert (rest.expires_after_seconds, rest.execute_within_seconds) == (86_400, 86_400)


@pytest.mark.parametrize(
    ("risk", "agent", "operation", "environment", "name", "quorum"),
    [
        ("critical", "cicd", "deploy", "production", "release managers for critical operations", 1),
        ("critical", "cicd", "Delete_Bucket", "test", "two release managers for deletions", 2),
        ("low", "cicd", "purge_cache", None, "two release managers for deletions", 2),
        (
            *("high", "infrastructure", "k8s_apply", "production"),
            "two platform engineers for production infrastructure",
            2,
        ),
        (
            *("high", "Infrastructure", "k8s_apply", " Production "),
            "two platform engineers for production infrastructure",
            2,
        ),
        ("high", "infrastructure", "k8s_apply", "staging", "platform engineers for infra", 1),
        ("medium", "infrastructure", "k8s_apply", None, "platform engineers for infra", 1),
        ("high", "cicd", "launch", "staging", "any approver", 1),
        ("medium", "cicd", "db_migrate", "", "any approver", 1),
    ],
)
def test_the_first_shipped_policy_that_matches_is_taken(
    risk: str, agent: str, operation: str, environment: str | None, name: str, quorum: int
) -> None:
    task = {"operation": operation, "environment": environment}
    chosen = choose_policy(Risk(risk), agent, task)
    assert chosen.name.startswith(name)
    assert chosen.quorum == quorum
    assert chosen.requester_may_decide is False


def test_critical_requests_expire_sooner() -> None:
    task = {"operation": "deploy", "environment": "production"}
    critical = choose_policy(Risk.CRITICAL, "cicd", task).expires_after_seconds
    assert critical < choose_policy(Risk.HIGH, "cicd", task).expires_after_seconds == 86_400


def test_the_shipped_files_name_groups_and_keys() -> None:
    assert policy_groups() == {"developers", "platform", "release-managers"}
    assert "*password*" in masked_keys()
