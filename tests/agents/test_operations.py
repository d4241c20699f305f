"""A task becomes exactly one action, or is refused with a sentence."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from agents.actions import FIELDS, load_executor
from agents.operation_config import GATEWAY_SECRETS, OperationsFile
from agents.operations import Operations, UnresolvableOperation
from approvals.configfile import ConfigError, load_config
from approvals.core.canonical import digest

SHIPPED = Path(__file__).parents[2] / "config" / "hitl" / "operations.yaml"
HEAD = "description: Try.\n    timeout_seconds: 5\n    idempotent: true\n"
ADDRESS = {"HITL_OPERATIONS_URL": "https://operations.example/v1/"}


def shipped(environ: dict[str, str] | None = None) -> Operations:
    file = load_config(SHIPPED, OperationsFile)
    return Operations(file, repositories=["acme/shop"], environ=environ or ADDRESS)


def written(tmp_path: Path, operation: str) -> Operations:
    path = tmp_path / "operations.yaml"
    path.write_text(f"operations:\n  try:\n    {HEAD}{operation}", encoding="utf-8")
    return Operations(load_config(path, OperationsFile), environ=ADDRESS)


def refusal(operations: Operations, task: dict[str, Any]) -> str:
    with pytest.raises(UnresolvableOperation) as caught:
        operations.resolve(task)
    return str(caught.value)


def deploy(**changes: Any) -> dict[str, Any]:
    task = {"operation": "deploy", "environment": "production", "description": "Ship it"}
    return {**task, "arguments": {"version": "v2.5.0"}, **changes}


def test_a_command_is_resolved_to_its_words() -> None:
    assert shipped().resolve(deploy()) == {
        "executor": "command",
        "operation": "deploy",
        "description": "Install a release of a service.",
        "timeout_seconds": 900,
        "idempotent": False,
        "argv": [
            *("python", "-m", "sandbox.program", "deploy", "--environment", "production"),
            *("--service", "web", "--version", "v2.5.0"),
        ],
        "cwd": ".",
        "pass_env": [],
    }


def test_an_http_call_is_resolved_to_its_address_and_body() -> None:
    task = {"operation": "db_migrate", "environment": "staging"}
    action = shipped().resolve({**task, "arguments": {"migration": "0042_add_index"}})
    assert action["method"] == "POST"
    assert action["url"] == "https://operations.example/v1/migrations"
    body = {"database": "main", "environment": "staging", "target": "0042_add_index"}
    assert action["body"] == body
    assert action["idempotent"] is True


def test_a_workflow_dispatch_is_resolved_to_the_repository_as_the_allow_list_spells_it() -> None:
    task = {"operation": "merge_pull_request", "github_repo": "Acme/Shop", "pr_number": 7}
    action = shipped().resolve(task)
    assert action["repo"] == "acme/shop"
    assert action["inputs"] == {"pull_request": "7", "method": "squash"}
    assert action["idempotency_key_input"] == "request_key"


def test_the_same_task_gives_the_same_digest_however_it_is_spelt() -> None:
    first = shipped().resolve(deploy())
    second = shipped().resolve(dict(reversed(deploy(extra="ignored").items())))
    assert digest(first) == digest(second)
    assert json.loads(json.dumps(first)) == first


def test_every_shipped_operation_can_be_resolved() -> None:
    operations = shipped()
    arguments = {"deploy": {"version": "2.5"}, "scale_service": {"replicas": 3}}
    context = {"environment": "staging", "github_repo": "acme/shop", "pr_number": 7}
    for name in operations.names:
        task = {"operation": name, **context, "arguments": arguments.get(name, {})}
        action = operations.resolve(task)
        assert action["operation"] == name
        # What else was frozen would be refused: a field more is told to `FIELDS` as well.
        assert set(action) == FIELDS[action["executor"]]


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        ({"operation": "explode"}, "There is no operation 'explode'"),
        ({"operation": ["deploy"]}, "There is no operation"),
        ({}, "There is no operation None"),
        (
            {"operation": "scale_service", "environment": "staging"},
            "The argument 'replicas' is missing: How many instances",
        ),
        (deploy(arguments=["v1"]), "must be a mapping"),
        (deploy(arguments={"version": "v1", "force": True}), "'force' is not declared"),
        (deploy(arguments={"version": "v1; rm -rf /"}), "does not match"),
        (deploy(arguments={"version": "v1\n"}), "does not match"),
        (deploy(arguments={"version": "v٣"}), "does not match"),
        (deploy(arguments={"version": "v1\x00"}), "holds a NUL"),
        (deploy(arguments={"version": "\ud800"}), "half of a character"),
        (deploy(arguments={"version": "--help"}), "begins with a dash"),
        (deploy(arguments={"version": 1.10}), "write other numbers in quotes"),
        (deploy(arguments={"version": ["v1"]}), "must be a text"),
        (deploy(arguments={"version": "1" * 5000}), "longer than 4096"),
        (deploy(environment=None), "needs the task's environment"),
        (deploy(environment=["production"]), "must be a plain value"),
        (deploy(environment="--force"), "not of its form"),
        (deploy(environment="prodution"), "runs in development or"),
        ({"operation": "run_ci", "github_repo": "evil/fork"}, "not among HITL_GITHUB_REPOSITORIES"),
        ({"operation": "run_ci", "github_repo": "acme/.."}, "not of its form"),
        ({"operation": "run_ci"}, "needs the task's github_repo"),
        (
            {"operation": "merge_pull_request", "github_repo": "acme/shop", "pr_number": True},
            "must be a plain value",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_a_sentence(task: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(shipped(), task)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("", "Set HITL_OPERATIONS_URL"),
        ("ftp://operations.example", "must be an http(s) address"),
        ("https://user:password@operations.example", "must be an http(s) address"),
        ("https://operations.example/?next=", "must be an http(s) address"),
        ("https://operations.example:notaport", "must be an http(s) address"),
    ],
)
def test_an_address_that_is_missing_or_unusable_is_named(address: str, sentence: str) -> None:
    operations = shipped({"HITL_OPERATIONS_URL": address})
    found = refusal(operations, {"operation": "db_migrate", "environment": "staging"})
    assert sentence in found
    assert "password" not in found


def test_a_value_stays_one_word_and_is_never_expanded_again(tmp_path: Path) -> None:
    operations = written(
        tmp_path,
        "    arguments: {note: {description: Note, pattern: '.*'}}\n"
        "    command: {argv: [echo, 'a {arguments.note} {{b}}']}\n",
    )
    task = {"operation": "try", "arguments": {"note": "{environment} $(id) 'x' \"y\""}}
    assert operations.resolve(task)["argv"] == [
        "echo",
        "a {environment} $(id) 'x' \"y\" {b}",
    ]


def test_a_leading_dash_passes_only_where_the_file_says_so(tmp_path: Path) -> None:
    operations = written(
        tmp_path,
        "    arguments:\n"
        "      delta: {description: Delta, pattern: '-?[0-9]+', allow_leading_dash: true}\n"
        "    command: {argv: [adjust, '{arguments.delta}']}\n",
    )
    action = operations.resolve({"operation": "try", "arguments": {"delta": -3}})
    assert action["argv"] == ["adjust", "-3"]


def test_a_value_in_a_path_stays_one_segment_and_a_lone_placeholder_keeps_its_type(
    tmp_path: Path,
) -> None:
    operations = written(
        tmp_path,
        "    arguments: {item: {description: Item, pattern: '.+'}}\n"
        "    http:\n"
        "      base_url_env: HITL_OPERATIONS_URL\n"
        "      path: '/items/{arguments.item}'\n"
        "      body: {item: '{arguments.item}', nested: [{text: 'no. {arguments.item}'}]}\n",
    )
    action = operations.resolve({"operation": "try", "arguments": {"item": 4}})
    assert action["body"] == {"item": 4, "nested": [{"text": "no. 4"}]}
    action = operations.resolve({"operation": "try", "arguments": {"item": "../x?y#z"}})
    assert action["url"] == "https://operations.example/v1/items/..%2Fx%3Fy%23z"
    task = {"operation": "try", "arguments": {"item": ".."}}
    assert "leads out of its folder" in refusal(operations, task)


@pytest.mark.parametrize(
    ("operation", "line", "sentence"),
    [
        ("    command: {argv: ['{environment}']}\n", 6, "is a fixed text"),
        ("    command: {argv: [x, '{arguments.y}']}\n", 2, "arguments.y is not declared"),
        ("    command: {argv: [x, '{task}']}\n", 2, "task is not declared"),
        ("    command: {argv: [x, 'a{b']}\n", 6, "belongs to no placeholder"),
        ("    command: {argv: []}\n", 6, "at least 1"),
        ("    command: {argv: [x], shell: true}\n", 6, "Extra inputs are not permitted"),
        ("    command: {argv: [x]}\n    http: {base_url_env: X, path: /}\n", 2, "exactly one of"),
        ("    environments: [staging]\n", 2, "exactly one of"),
        (
            "    arguments: {y: {description: Y, pattern: x}}\n    command: {argv: [x]}\n",
            2,
            "used nowhere",
        ),
        (
            (
                "    arguments:\n      y:\n        description: Y\n        pattern: '['\n"
                "    command: {argv: [x, '{arguments.y}']}\n"
            ),
            9,
            "is no regular expression",
        ),
        (
            (
                "    arguments:\n      y:\n        description: Y\n        pattern: a\n"
                "        default: b\n    command: {argv: [x, '{arguments.y}']}\n"
            ),
            7,
            "the default does not match",
        ),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line(
    tmp_path: Path, operation: str, line: int, sentence: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        written(tmp_path, operation)
    assert re.search(rf"operations\.yaml:{line}: .*{re.escape(sentence)}", str(caught.value))


def test_every_secret_that_the_settings_read_is_one_of_the_gateways() -> None:
    project = SHIPPED.parents[2] / "hitl_project"
    source = "".join((project / f"{name}.py").read_text() for name in ("settings", "provider"))
    reads = r'(?:environ\.get|given\.get|_required|_sent|_names|_given)\(\s*"(\w+)"'
    read = set(re.findall(reads, source))
    secret = {name for name in read if re.search("SECRET|TOKEN|KEY|DATABASE.*URL|REDIS_URL", name)}
    assert len(secret) >= 9
    assert secret <= GATEWAY_SECRETS


@pytest.mark.parametrize("name", sorted(GATEWAY_SECRETS))
def test_no_operation_is_handed_a_secret_of_the_gateway(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="secret of the gateway"):
        written(tmp_path, f"    command: {{argv: [x], pass_env: [{name}]}}\n")
    with pytest.raises(ConfigError, match="secret of the gateway"):
        written(
            tmp_path,
            "    http: {base_url_env: HITL_OPERATIONS_URL, path: /x,"
            f" headers_env: {{Authorization: {name}}}}}\n",
        )


def test_an_unknown_executor_stops_with_the_names_of_those_there_are(
    settings: Settings,
) -> None:
    settings.HITL_EXECUTORS = {"command": "integrations.executors.run_command"}
    with pytest.raises(ImproperlyConfigured, match=r"no executor named 'shell'.*names command"):
        load_executor("shell")
    settings.HITL_EXECUTORS = {"command": "integrations.nowhere.run"}
    with pytest.raises(ImproperlyConfigured, match=r"cannot be loaded from integrations\.nowhere"):
        load_executor("command")
