"""Workflow files: what the shipped ones plan, and what a wrong one is told."""

from pathlib import Path

import pytest
from django.conf import settings

from agents.operations import load_operations
from agents.roster import AGENTS, OPERATIONS, owner_of
from agents.templates import UnfitTask, load_templates, single_step
from approvals.configfile import ConfigError

FOLDER = Path(settings.HITL_CONFIG_DIR) / "workflows"
QUOTED = "'{shoe}'"
STEP = "  - {name: go, agent: cicd, operation: deploy, environment: production}"


def test_the_five_workflows_are_shipped() -> None:
    assert sorted(load_templates(FOLDER)) == [
        "docs-update",
        "feature",
        "hotfix",
        "infrastructure",
        "pr-deployment",
    ]


@pytest.mark.parametrize("name", sorted(load_templates(FOLDER)))
def test_every_step_that_is_shipped_is_an_operation_that_can_run(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HITL_OPERATIONS_URL", "http://127.0.0.1:9/hooks")
    for step in load_templates(FOLDER)[name].plan({"operation": "deploy"}):
        for part in (step, *step["rollback"]):
            assert load_operations().resolve(part)["operation"] == part["operation"]


def test_a_plan_takes_the_tasks_words() -> None:
    task = {
        "operation": "deploy",
        "environment": "staging",
        "description": "Ship it",
        "arguments": {"version": "v2.5.0"},
    }
    last = load_templates(FOLDER)["pr-deployment"].plan(task)[-1]
    assert (last["environment"], last["description"]) == ("staging", "Ship it")
    assert last["arguments"] == {"version": "v2.5.0", "service": "web"}
    assert [step["name"] for step in last["rollback"]] == ["roll-back-staging"]


def test_a_value_is_never_expanded_again() -> None:
    task = {"operation": "deploy", "description": "{arguments.version}"}
    assert load_templates(FOLDER)["hotfix"].plan(task)[-1]["description"] == "{arguments.version}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"flavour": "mint"}, "knows no parameter 'flavour'"),
        ({"version": ["v1"]}, "'version' must be a text"),
        (["v1"], "must be a mapping"),
    ],
)
def test_a_task_with_unknown_arguments_is_refused(arguments: object, sentence: str) -> None:
    with pytest.raises(UnfitTask, match=sentence):
        load_templates(FOLDER)["hotfix"].plan({"operation": "deploy", "arguments": arguments})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"name: x\ndescription: d\nsteps:\n{STEP}\nsurprise: 1\n", ":5: surprise"),
        ("name: x\ndescription: d\nsteps: []\n", ":3: steps"),
        (f"name: task\ndescription: d\nsteps:\n{STEP}\n", "the name 'task' is taken"),
        (
            f"name: x\ndescription: d\nsteps:\n{STEP.replace('cicd', 'penguin')}\n",
            ":4: steps.0.agent",
        ),
        (
            f"name: x\ndescription: d\nsteps:\n{STEP.replace('cicd', 'documentation')}\n",
            "documentation does not own the operation 'deploy'",
        ),
        (
            f"name: x\ndescription: d\nsteps:\n{STEP.replace('production', QUOTED)}\n",
            "refers to an unknown shoe",
        ),
        (
            f"name: x\ndescription: d\nsteps:\n{STEP.replace('}', ', otherwise: [back]}')}\n",
            "names no rollback step 'back'",
        ),
        (f"name: x\ndescription: d\nsteps:\n{STEP}\n{STEP}\n", "two steps are named 'go'"),
    ],
)
def test_a_workflow_file_that_does_not_fit_names_the_fault(
    tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "w.yaml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_templates(tmp_path)
    assert sentence in str(refused.value)
    assert "w.yaml:" in str(refused.value)


def test_an_empty_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no workflow"):
        load_templates(tmp_path)


def test_every_shipped_operation_belongs_to_an_agent() -> None:
    owned = set().union(*OPERATIONS.values())
    assert owned == set(load_operations().names)
    assert set(OPERATIONS) == set(AGENTS)


def test_a_single_task_is_a_one_step_workflow() -> None:
    (step,) = single_step({"operation": "update_docs", "environment": "development"})
    assert (step["agent"], step["operation"]) == ("documentation", "update_docs")
    assert owner_of("release_the_penguins") == "cicd"
    with pytest.raises(UnfitTask, match="no agent 'penguin'"):
        single_step({"operation": "deploy", "agent": "penguin"})


def test_nobody_chooses_an_agent_whose_policy_is_laxer() -> None:
    task = {"operation": "terraform_apply", "environment": "production"}
    assert single_step(task)[0]["agent"] == "infrastructure"
    for agent in ("documentation", "supervisor", "cicd"):
        with pytest.raises(UnfitTask, match="infrastructure does"):
            single_step({**task, "agent": agent})
    assert single_step({**task, "agent": "infrastructure"})[0]["agent"] == "infrastructure"
