"""Opening a request: what is frozen, who is told, and that the same one never opens twice."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import policy, services
from approvals.clock import clock
from approvals.core.canonical import digest
from approvals.core.lifecycle import Actor, Via, refusal
from approvals.core.risk import Risk
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest, AuditEntry, Delivery
from tests.approvals.channels import Notebook
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    entries,
    opened,
    owed,
    person,
    row,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
ASKED: dict[str, Any] = {"workflow_id": "w-1", "thread_id": "t-1", "agent_name": "cicd"}
ACTION = {"executor": "command", "argv": ["deploy", "--to", "production"]}


def test_what_was_asked_is_frozen_onto_the_request() -> None:
    ada = person("ada")
    before = clock()
    request_id = opened(
        checkpoint_id="c-1",
        requested_by="  bob ",
        pr_number=12,
        pr_url="https://github.com/acme/shop/pull/12",
        github_repo="acme/shop",
        actor=ada,
        action=ACTION,
        interrupt_id="i-1",
    )
    found = row(request_id)
    assert found.status == "pending"
    assert (found.task, found.action) == (DEPLOY, ACTION)
    assert found.digest == digest([DEPLOY, "cicd", ACTION])
    assert (found.operation, found.environment) == ("deploy", "production")
    assert (found.requested_by, found.opened_by_id) == ("bob", ada.user_id)
    assert (found.risk_level, found.matches[0]["rule"]) == ("critical", "production_deploy")
    assert before <= found.created_at <= clock()
    chosen = policy.choose_policy(Risk.CRITICAL, "cicd", DEPLOY)
    assert found.frozen_policy == chosen
    assert found.expires_at == found.created_at + timedelta(seconds=chosen.expires_after_seconds)
    assert (found.decided_at, found.approved_at, found.approved_by) == (None, None, None)
    assert (found.linear_issue_id, found.linear_issue_url) == (None, None)
    assert (found.pr_number, found.github_repo, found.checkpoint_id) == (12, "acme/shop", "c-1")


def test_the_opening_leaves_one_audit_entry() -> None:
    request_id = opened(actor=person("ada"))
    (entry,) = AuditEntry.objects.filter(stream=request_id)
    found = row(request_id)
    assert (entry.number, entry.name, entry.actor, entry.via) == (1, "request.opened", "ada", "web")
    assert entry.at == found.created_at
    assert entry.data == {
        "operation": "deploy",
        "environment": "production",
        "agent": "cicd",
        "risk_level": "critical",
        "digest": found.digest,
        "policy": found.policy,
        "eligible": 0,
        "requested_by": "ada",
    }


def test_the_answer_says_what_came_of_it() -> None:
    answer = services.open_request(task=MIGRATE, **ASKED)
    assert asdict(answer) == {
        "request_id": answer.request_id,
        "status": "pending",
        "risk_level": "medium",
        "linear_issue_id": None,
        "linear_issue_url": None,
    }
    assert answer.requires_approval


@pytest.mark.parametrize(
    ("facts", "channels_owed"),
    [
        ({}, {"linear": 1, "chat": 0}),
        ({"pr_number": 3, "github_repo": "a/b"}, {"linear": 1, "chat": 0, "github": 1}),
        ({"interrupt_id": "i"}, {"linear": 1, "chat": 0, "workflow": 0}),
    ],
)
def test_the_channels_that_want_the_request_are_owed_the_news(
    facts: dict[str, Any], channels_owed: dict[str, int]
) -> None:
    assert owed(opened(**facts)) == channels_owed


@pytest.mark.parametrize(
    ("task", "priority"), [(DEPLOY, 0), ({"operation": "odd", "environment": "x"}, 1), (MIGRATE, 2)]
)
def test_what_is_more_severe_is_delivered_first(task: dict[str, Any], priority: int) -> None:
    rows = Delivery.objects.filter(request_id=opened(task))
    assert set(rows.values_list("priority", flat=True)) == {priority}


def test_a_stated_risk_brings_in_no_laxer_policy() -> None:
    task = {"operation": "terraform_apply", "environment": "production"}
    asked = {**ASKED, "agent_name": "infrastructure"}
    alone = row(opened(task, **asked))
    raised = row(opened(task, risk_level="critical", **asked))
    assert alone.frozen_policy.quorum == 2
    assert raised.risk_level == "critical"
    assert raised.frozen_policy.name == "release managers for critical operations"
    assert raised.frozen_policy.quorum == 2
    assert raised.frozen_policy.expires_after_seconds == 14400


def test_what_needs_no_approval_opens_nothing_and_leaves_a_record() -> None:
    task = {"operation": "update_docs", "environment": "production"}
    answer = services.open_request(task=task, **ASKED)
    assert (answer.request_id, answer.status) == (None, "not_required")
    assert (answer.risk_level, answer.requires_approval) == (Risk.LOW, False)
    assert not ApprovalRequest.objects.exists()
    assert not Delivery.objects.exists()
    (entry,) = AuditEntry.objects.all()
    assert (entry.name, entry.number) == ("request.not_required", 1)
    assert entry.data["digest"] == digest(task)
    assert entry.data["matches"][0]["rule"] == "documentation"


@pytest.mark.parametrize(
    ("task", "stated", "risk", "required"),
    [
        (MIGRATE, "critical", "critical", True),
        (MIGRATE, "low", "medium", True),
        (DEPLOY, "low", "critical", True),
        ({"operation": "update_docs", "environment": "x"}, "high", "high", True),
        ({"operation": "update_docs", "environment": "x"}, "medium", "medium", False),
        ({"operation": "update_docs", "environment": "x"}, "", "low", False),
    ],
)
def test_a_stated_risk_may_raise_and_never_lower(
    task: dict[str, Any], stated: str, risk: str, required: bool
) -> None:
    answer = services.open_request(task=task, risk_level=stated, **ASKED)
    assert (answer.risk_level, answer.requires_approval) == (risk, required)
    if answer.request_id:
        assert row(answer.request_id).risk_level == risk


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"workflow_id": ""}, "workflow_id"),
        ({"workflow_id": " \n"}, "workflow_id"),
        ({"thread_id": ""}, "thread_id"),
        ({"agent_name": ""}, "agent_name"),
        ({"agent_name": 7}, "agent_name"),
        ({"workflow_id": "w\x00"}, "workflow_id"),
        ({"thread_id": "\ud800"}, "thread_id"),
        ({"checkpoint_id": "x" * 201}, "checkpoint_id"),
        ({"requested_by": "x\x00"}, "requested_by"),
        ({"idempotency_key": "x" * 201}, "idempotency_key"),
        ({"idempotency_key": "\x00"}, "idempotency_key"),
        ({"interrupt_id": "x" * 201}, "interrupt_id"),
        ({"pr_url": "https://h/a/b/pull/" + "1" * 500}, "pr_url"),
        ({"pr_url": "javascript:alert(1)"}, "pr_url"),
        ({"pr_number": 0}, "pr_number"),
        ({"pr_number": 2, "pr_url": "https://h/a/b/pull/1", "github_repo": "a/b"}, "pr_url"),
        ({"github_repo": "a/.."}, "github_repo"),
        ({"risk_level": "deadly"}, "risk_level"),
        ({"risk_level": "HIGH"}, "risk_level"),
        ({"task": {}}, "task"),
        ({"task": {"operation": "a\x00"}}, "task"),
        ({"task": {"operation": "deploy", "x": {1, 2}}}, "task"),
        ({"task": {"operation": "deploy", "x": float("nan")}}, "task"),
        ({"task": {"operation": "deploy", "x": float("nan")}, "idempotency_key": "k"}, "task"),
        ({"task": {"operation": "deploy", "x": "y" * 70_000}, "idempotency_key": "k"}, "task"),
        ({"action": {"argv": ["a\x00"]}}, "action"),
        ({"action": {"argv": {1}}}, "action"),
    ],
)
def test_what_does_not_fit_is_refused_by_field_and_nothing_is_kept(
    facts: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        services.open_request(**{"task": DEPLOY, **ASKED, **facts})
    assert caught.value.field == field
    assert str(caught.value).endswith(".")
    assert not ApprovalRequest.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_task_with_every_odd_but_storable_text_is_kept_as_it_is() -> None:
    task = {**DEPLOY, "description": "é\u202e\U0001f680\x1f'\"\\<script>%s", "n": [1, 2.5, None]}
    assert row(opened(task)).task == task


def test_an_interrupt_that_is_captured_again_is_the_same_request() -> None:
    first = opened(interrupt_id="i-1", action=ACTION)
    again = services.open_request(task=DEPLOY, interrupt_id="i-1", action=ACTION, **ASKED)
    assert again.request_id == first
    assert entries(first) == ["request.opened"]
    assert owed(first) == {"linear": 1, "chat": 0, "workflow": 0}


@pytest.mark.parametrize(
    "changed",
    [
        {"task": {**DEPLOY, "version": 2}},
        {"action": {**ACTION, "argv": ["deploy", "--to", "staging"]}},
        {"agent_name": "infrastructure"},
        {"thread_id": "t-2"},
        {"interrupt_id": "i-2"},
    ],
)
def test_another_payload_thread_or_interrupt_is_another_request(changed: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"task": DEPLOY, "interrupt_id": "i-1", "action": ACTION}
    assert opened(**asked) != opened(**{**asked, **changed})


@pytest.mark.parametrize(
    ("task", "asks", "count"),
    [
        # Three release managers; whoever asked does not count, by account, name or email.
        (DEPLOY, {}, 3),
        (DEPLOY, {"actor": "grace"}, 2),
        (DEPLOY, {"requested_by": "grace"}, 2),
        (DEPLOY, {"requested_by": "GRACE "}, 2),
        (DEPLOY, {"requested_by": "Grace@Example.com"}, 2),
        (DEPLOY, {"requested_by": "grace hopper"}, 2),
        (DEPLOY, {"requested_by": "linus", "actor": "grace"}, 1),
        (DELETE, {"requested_by": "nobody known"}, 3),
        # Everybody who is in some group counts once.
        (MIGRATE, {}, 5),
    ],
)
def test_the_request_says_how_many_people_could_decide(
    task: dict[str, Any], asks: dict[str, Any], count: int
) -> None:
    people = {
        "grace": person("grace", "release-managers", first_name="Grace", last_name="Hopper"),
        "linus": person("linus", "release-managers", "platform", "developers"),
        "ken": person("ken", "release-managers", "other"),
        "dev": person("dev", "developers"),
        "ops": person("ops", "platform"),
        "off": person("off", "release-managers", is_active=False),
        "none": person("none", "other"),
        "root": person("root", is_superuser=True),
    }
    facts: dict[str, Any] = {**asks}
    if "actor" in facts:
        facts["actor"] = people[facts["actor"]]
    request_id = opened(task, **facts)
    assert row(request_id).eligible == count
    standing = row(request_id).standing()
    voters = [name for name, actor in people.items() if not refusal(standing, actor, clock())]
    assert len(voters) == count


def test_the_policy_is_frozen_whatever_the_file_says_later(
    tmp_path: Any, settings: Any, channels: Mapping[str, Notebook]
) -> None:
    request_id = opened()
    folder = tmp_path / "hitl"
    folder.mkdir()
    (folder / "approval-policies.yaml").write_text(
        "masked_keys: []\npolicies:\n  - {name: anyone, groups: [developers]}\n"
    )
    settings.HITL_CONFIG_DIR = tmp_path
    assert policy.choose_policy(Risk.CRITICAL, "cicd", DEPLOY).name == "anyone"
    assert row(request_id).frozen_policy.groups == ("release-managers",)


RULE_ON_A_SECRET = """
default: {risk_level: low, requires_approval: false}
rules:
  - name: known password
    conditions: {arguments.db_password: ["hunter*"]}
    risk_level: high
    requires_approval: true
"""


def test_why_a_person_must_decide_tells_no_secret(tmp_path: Path, settings: Any) -> None:
    shipped = settings.HITL_CONFIG_DIR / "hitl" / "approval-policies.yaml"
    (tmp_path / "hitl").mkdir()
    (tmp_path / "hitl" / "approval-policies.yaml").symlink_to(shipped)
    (tmp_path / "hitl" / "risk-assessment-rules.yaml").write_text(RULE_ON_A_SECRET)
    settings.HITL_CONFIG_DIR = tmp_path
    found = row(opened({**DEPLOY, "arguments": {"db_password": "hunter2"}}))
    assert [match["rule"] for match in found.matches] == ["known password"]
    assert "hunter2" not in str(found.matches)
    assert "hunter2" not in str(list(AuditEntry.objects.values_list("data", flat=True)))


def test_a_record_that_none_was_needed_can_stand_in_a_stream_that_exists() -> None:
    stream = uuid4()
    task = {"operation": "lint", "environment": "test"}
    assessment = services.assess_task(task, "cicd")
    for _ in range(2):
        services.record_not_required(
            stream, task, "cicd", assessment, asker=ApprovalRequest(task=task)
        )
    assert entries(stream) == ["request.not_required"] * 2


def test_an_assessment_opens_nothing() -> None:
    assert services.assess_task(DEPLOY, "cicd").requires_approval
    assert services.assess_task(MIGRATE, "cicd", "critical").risk_level is Risk.CRITICAL
    assert not ApprovalRequest.objects.exists()
    assert not AuditEntry.objects.exists()


def test_opening_takes_a_handful_of_queries() -> None:
    person("grace", "release-managers")
    actor = Actor(name="gateway", via=Via.SYSTEM)
    with CaptureQueriesContext(connection) as captured:
        opened(interrupt_id="i-1", actor=actor)
    assert len(captured) <= 10
