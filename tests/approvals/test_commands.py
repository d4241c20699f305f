"""The management commands: what they print, what they do, and how they refuse."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from approvals.actors import find_token
from approvals.models import ApiToken, ApprovalRequest, AuditEntry, Vote
from hitl_project.embedded import OWNER, Postgres
from tests import warm
from tests.approvals.scenes import DELETE, DEPLOY, manager, opened, row, unguarded


def run(*arguments: str, stdin: str = "") -> tuple[str, str]:
    """What a command prints to stdout and stderr; CommandError where it refuses."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.stdin = sys.stdin, io.StringIO(stdin)
    try:
        call_command(*arguments, stdout=out, stderr=err)
    finally:
        sys.stdin = before
    return out.getvalue(), err.getvalue()


def refusal(*arguments: str) -> str:
    """The sentence with which a command refuses."""
    with pytest.raises(CommandError) as caught:
        run(*arguments)
    return str(caught.value)


def approver(name: str = "ana", *more: str) -> str:
    """What `create_approver` prints to stdout for a release manager."""
    address = f"{name}@example.org"
    given = ["create_approver", name, "--email", address, "--group", "release-managers"]
    return run(*given, *more)[0]


# create_approver


def test_an_approver_has_an_address_groups_a_linear_user_and_no_password(db: None) -> None:
    printed = approver("ana", "--group", "platform", "--linear-user", str(UUID(int=7)))
    user = User.objects.get()
    assert printed == ""
    assert (user.username, user.email) == ("ana", "ana@example.org")
    assert set(user.groups.values_list("name", flat=True)) == {"release-managers", "platform"}
    assert user.approver_profile.linear_user_id == str(UUID(int=7))
    assert not user.has_usable_password()


def test_with_token_only_the_token_is_printed_and_it_decides(db: None) -> None:
    token = approver("ana", "--token").strip()
    found = find_token(token)
    assert found is not None
    assert (found.user.username, found.scope) == ("ana", "decide")
    assert token not in str(ApiToken.objects.values())


def test_a_second_time_it_updates_and_keeps_the_link_and_the_password(db: None) -> None:
    approver("ana", "--linear-user", "u-1")
    user = User.objects.get()
    user.set_password("a long password")
    user.save()
    run("create_approver", "ana", "--email", "new@example.org", "--group", "platform")
    user = User.objects.get()
    assert (user.email, user.groups.count()) == ("new@example.org", 2)
    assert user.approver_profile.linear_user_id == "u-1"
    assert user.check_password("a long password")


def test_a_linear_user_belongs_to_one_account(db: None) -> None:
    approver("ana", "--linear-user", "u-1")
    given = ["create_approver", "ben", "--email", "b@example.org", "--linear-user", "u-1"]
    assert "linked to another account" in refusal(*given)
    assert not User.objects.filter(username="ben").exists()


@pytest.mark.parametrize(
    ("name", "email"), [("a b", "a@example.org"), ("x" * 151, "a@example.org"), ("ana", "nobody")]
)
def test_facts_that_do_not_fit_make_no_account(db: None, name: str, email: str) -> None:
    assert refusal("create_approver", name, "--email", email)
    assert not User.objects.exists()


def test_a_group_that_no_policy_names_is_said(db: None) -> None:
    given = ["create_approver", "ana", "--email", "a@example.org", "--group", "release-manager"]
    assert "No policy names release-manager" in run(*given)[1]


# create_token


@pytest.mark.parametrize("scope", ["request", "decide"])
def test_a_token_of_an_account_has_the_scope_that_was_asked_for(db: None, scope: str) -> None:
    approver()
    token = run("create_token", "ana", "--scope", scope)[0].strip()
    found = find_token(token)
    assert found is not None
    assert found.scope == scope


def test_a_requester_s_account_is_made_on_the_way(db: None) -> None:
    printed, told = run("create_token", "agent")
    found = find_token(printed.strip())
    assert found is not None
    assert (found.user.username, found.scope) == ("agent", "request")
    assert not found.user.has_usable_password()
    assert "agent is new" in told


def test_a_deciding_token_is_not_made_for_a_stranger(db: None) -> None:
    assert "no account named agent" in refusal("create_token", "agent", "--scope", "decide")
    assert not User.objects.exists()


# resolve_request


def test_a_request_is_approved_by_its_id_as_an_account(db: None) -> None:
    request_id = opened()
    approver()
    printed, _ = run(
        "resolve_request", str(request_id), "--approve", "--reason", "webhook lost", "--as", "ana"
    )
    assert printed == f"{request_id} is approved.\n"
    vote = Vote.objects.get()
    assert (vote.user.username, vote.via, vote.comment) == ("ana", "command", "webhook lost")
    assert row(request_id).approved_by == "ana"


def test_a_request_is_rejected_by_its_linear_identifier(db: None) -> None:
    request_id = opened()
    ApprovalRequest.objects.update(linear_issue_id="CHEF-271")
    approver()
    printed, _ = run("resolve_request", "CHEF-271", "--reject", "--reason", "Freeze", "--as", "ana")
    assert printed == "CHEF-271 is rejected.\n"
    assert row(request_id).rejection_reason == "Freeze"


def test_a_vote_that_does_not_decide_says_how_many_are_there(db: None) -> None:
    request_id = opened(DELETE)
    approver()
    printed, _ = run("resolve_request", str(request_id), "--approve", "--as", "ana")
    assert printed == f"The vote counts: {request_id} has 1 of 2 approvals.\n"


def test_what_the_rules_refuse_the_command_refuses(db: None) -> None:
    request_id = opened()
    approver()
    run("create_approver", "dev", "--email", "d@example.org", "--group", "developers")
    by = ["resolve_request", str(request_id)]
    assert "no account named nobody" in refusal(*by, "--approve", "--as", "nobody")
    assert "release-managers" in refusal(*by, "--approve", "--as", "dev")
    assert "--reason" in refusal(*by, "--reject", "--as", "ana")
    assert "no request CHEF-9" in refusal("resolve_request", "CHEF-9", "--approve", "--as", "ana")
    assert row(request_id).status == "pending"
    run(*by, "--approve", "--as", "ana")
    assert "already approved by ana" in refusal(*by, "--approve", "--as", "ana")


# assess


def assessed(content: Any, *more: str) -> str:
    """What `assess` prints for a file's content."""
    return run("assess", "-", *more, stdin=json.dumps(content))[0]


def test_an_assessment_shows_the_risk_the_rules_and_who_would_decide(db: None) -> None:
    approver()
    printed = assessed(DEPLOY, "--agent", "cicd")
    assert printed.startswith("Risk: critical\nApproval: needed\n")
    assert "  production_deploy (critical): operation is deploy and environment is" in printed
    assert "Policy: release managers for critical operations\n" in printed
    assert "members of release-managers, 1 of them" in printed
    assert "People in these groups now: ana\n" in printed
    assert not ApprovalRequest.objects.exists()
    # The account of the approver left the only one.
    assert [entry.name for entry in AuditEntry.objects.all()] == ["approver.saved"]


def test_what_needs_no_approval_names_no_policy(db: None) -> None:
    printed = assessed({"operation": "update_docs", "environment": "production"})
    assert "Approval: not needed\n" in printed
    assert "Policy" not in printed


def test_an_assessment_says_where_too_few_could_decide(db: None) -> None:
    approver()
    assert "Too few: 2 must approve." in assessed(DELETE)


def test_a_body_of_the_api_is_assessed_too(db: None, tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    task = {"operation": "terraform_apply", "environment": "production"}
    file.write_text(json.dumps({"task": task, "agent_name": "infrastructure"}))
    assert "two platform engineers for production infrastructure" in run("assess", str(file))[0]


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", '{"operation": 7}', '"\\ud800"'])
def test_a_file_that_holds_no_task_is_refused(db: None, tmp_path: Path, content: str) -> None:
    file = tmp_path / "task.json"
    file.write_text(content)
    assert refusal("assess", str(file)).endswith((".", ")"))


def test_a_file_that_is_not_there_is_refused(db: None, tmp_path: Path) -> None:
    assert "cannot be read" in refusal("assess", str(tmp_path / "none.json"))


# verify_audit


@pytest.fixture
def decided(db: None) -> UUID:
    """A request that a release manager approved."""
    request_id = opened()
    approver()
    run("resolve_request", str(request_id), "--approve", "--as", "ana")
    return request_id


def test_a_whole_log_is_said_to_be_whole(decided: UUID) -> None:
    opened(DELETE)
    assert "whole" in run("verify_audit")[0]


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE approval_requests SET status = 'rejected'", "its last entry is request"),
        (
            "UPDATE approval_requests SET status = 'pending', decided_at = NULL",
            "is pending, but its last entry is request.approved",
        ),
        ("UPDATE approval_requests SET decided_by = 'ben'", "names ben"),
        (
            "UPDATE approval_requests SET decided_at = decided_at - interval '1 hour'",
            "at another time",
        ),
        (
            """UPDATE approval_requests SET task = '{"operation": "nothing"}'""",
            "not what its digest says",
        ),
        ("UPDATE approval_requests SET digest = 'x'", "not the one it was opened with"),
        ("UPDATE approvals_auditentry SET actor = 'ben' WHERE number = 2", "was changed"),
        ("DELETE FROM approvals_auditentry WHERE number = 2", "entry 2 is missing"),
        ("DELETE FROM approvals_auditentry WHERE number = 3", "approved"),
        ("DELETE FROM approvals_auditentry", "no entry says"),
    ],
)
def test_what_was_changed_behind_the_gateway_s_back_is_found(
    decided: UUID, statement: str, fault: str
) -> None:
    unguarded(statement)
    out = io.StringIO()
    with pytest.raises(CommandError, match="fault"):
        call_command("verify_audit", stdout=out)
    assert fault in out.getvalue()
    assert str(decided) in out.getvalue()


def test_a_request_that_is_gone_is_missed(db: None) -> None:
    request_id = opened()
    with connection.cursor() as cursor:
        for table in ("approvals_delivery", "approvals_requestwords", "approval_requests"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - names of this test's own
    out = io.StringIO()
    with pytest.raises(CommandError):
        call_command("verify_audit", stdout=out)
    assert out.getvalue() == f"{request_id}: was opened, but the request is gone\n"


# As a process


def test_a_refusal_is_one_sentence_on_stderr_and_a_failing_exit(
    transactional_db: None, postgres_server: Postgres
) -> None:
    manager("ana")
    url = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    command = ["resolve_request", str(uuid4()), "--approve", "--as", "ana"]
    environment = {**os.environ, "DATABASE_URL": url}
    done = warm.run([str(warm.ROOT / "manage.py"), *command], environment, "", 60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("CommandError: There is no request ")
    assert done.stderr.count("\n") == 1
