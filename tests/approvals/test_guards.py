"""What the database itself refuses, whoever writes the SQL."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import DatabaseError, connection, transaction

from approvals import services
from approvals.audit import SYSTEM
from approvals.core.lifecycle import Choice
from approvals.errors import AlreadyDecided
from approvals.models import ApprovalRequest, AuditEntry, InboundWebhook
from tests.approvals.scenes import DELETE, manager, opened, row

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def run(statement: str, parameters: Sequence[Any] = ()) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, list(parameters))
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def refused(statement: str, parameters: Sequence[Any] = ()) -> str:
    with pytest.raises(DatabaseError) as caught:
        run(statement, parameters)
    return str(caught.value)


def change_request(change: str) -> str:
    return f"UPDATE approval_requests SET {change} WHERE id = %s"  # noqa: S608 - the test's own


def decided(status: str = "approved") -> UUID:
    request_id = opened()
    if status == "approved":
        services.cast_vote(request_id, actor=manager("grace"), choice=Choice.APPROVE)
    else:
        services.withdraw_request(request_id, actor=SYSTEM, reason="no")
    return request_id


@pytest.mark.parametrize("end", ["approved", "cancelled"])
def test_a_final_request_cannot_be_decided_again(end: str) -> None:
    request_id = decided(end)
    before = ApprovalRequest.objects.values().get(pk=request_id)
    for change in (
        "status = 'rejected'",
        "status = 'pending', decided_at = NULL",
        "status = 'superseded'",
        "decided_at = clock_timestamp()",
        "decided_by = 'mallory'",
        "decision_reason = 'other'",
    ):
        told = refused(change_request(change), [request_id])
        assert f"request {request_id} is already {end}" in told, change
    assert ApprovalRequest.objects.values().get(pk=request_id) == before


FROZEN: dict[str, Any] = {
    "id": str(uuid4()),
    "workflow_id": "other",
    "thread_id": "other",
    "interrupt_id": "other",
    "task": '{"operation": "other"}',
    "action": '{"argv": []}',
    "digest": "0" * 64,
    "operation": "other",
    "environment": "other",
    "agent_name": "other",
    "requested_by": "other",
    "asker": "other",
    "opened_by_id": 1,
    "risk_level": "low",
    "matches": "[]",
    "policy": '{"quorum": 0}',
    "eligible": 99,
    "created_at": "2020-01-01T00:00:00Z",
    "expires_at": "2099-01-01T00:00:00Z",
    "pr_number": 99,
    "pr_url": "https://evil.example/a/b/pull/1",
    "github_repo": "evil/fork",
    "traceparent": f"00-{'1' * 32}-{'2' * 16}-01",
}


@pytest.mark.parametrize("final", [False, True])
def test_what_was_frozen_at_the_opening_cannot_be_changed(final: bool) -> None:
    request_id = decided() if final else opened()
    before = ApprovalRequest.objects.values().get(pk=request_id)
    for column, value in FROZEN.items():
        told = refused(change_request(f"{column} = %s"), [value, request_id])
        assert f"request {request_id} was frozen when it opened" in told, column
    assert ApprovalRequest.objects.values().get(pk=request_id) == before


def test_the_issue_may_be_linked_before_and_after_the_decision() -> None:
    for request_id in (opened(), decided()):
        run(
            "UPDATE approval_requests SET linear_issue_id = %s, linear_issue_url = 'https://l'"
            " WHERE id = %s",
            [f"CHEF-{request_id.int % 1000}", request_id],
        )


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("status = 'approved'", "decided_exactly_when_final"),
        ("decided_at = clock_timestamp()", "decided_exactly_when_final"),
        ("status = 'done', decided_at = clock_timestamp()", "status_is_known"),
        ("status = 'PENDING'", "decided_exactly_when_final"),
        ("status = '', decided_at = clock_timestamp()", "status_is_known"),
    ],
)
def test_a_status_is_known_and_has_its_time(change: str, constraint: str) -> None:
    request_id = opened()
    assert constraint in refused(change_request(change), [request_id])
    assert row(request_id).status == "pending"


def test_what_follows_from_the_decision_cannot_be_written_by_hand() -> None:
    request_id = opened()
    for column in ("approved_at", "approved_by", "rejection_reason"):
        told = refused(change_request(f"{column} = NULL"), [request_id])
        assert f'column "{column}" can only be updated to DEFAULT' in told


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals_auditentry SET actor = 'mallory'",
        "UPDATE approvals_auditentry SET number = number + 1",
        "UPDATE approvals_auditentry SET digest = digest",
        "DELETE FROM approvals_auditentry",
        "DELETE FROM approvals_auditentry WHERE number = 1",
        """INSERT INTO approvals_auditentry OVERRIDING SYSTEM VALUE
            SELECT * FROM approvals_auditentry ON CONFLICT (id) DO UPDATE SET actor = 'mallory'""",
        """MERGE INTO approvals_auditentry a USING approvals_auditentry b ON a.id = b.id
            WHEN MATCHED THEN DELETE""",
    ],
)
def test_the_audit_log_is_only_ever_appended_to(statement: str) -> None:
    decided()
    before = list(AuditEntry.objects.order_by("pk").values())
    assert "audit entries are never changed or deleted" in refused(statement)
    assert list(AuditEntry.objects.order_by("pk").values()) == before


def copy(table: str, **changes: str) -> str:
    """SQL that inserts the table's only row again with some columns changed."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = %s"
            " AND is_generated = 'NEVER' AND is_identity = 'NO'",
            [table],
        )
        columns = [name for (name,) in cursor.fetchall()]
    values = ", ".join(changes.get(name, name) for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}"  # noqa: S608


NEW_ID = "gen_random_uuid()"


@pytest.mark.parametrize(
    ("facts", "changes", "constraint"),
    [
        ({}, {}, "approval_requests_pkey"),
        ({"interrupt_id": "i"}, {"id": NEW_ID}, "one_request_an_interrupt_and_digest"),
        ({"idempotency_key": "k"}, {"id": NEW_ID}, "one_request_an_idempotency_key_of_nobody"),
        (
            {"idempotency_key": "k", "actor": "ada"},
            {"id": NEW_ID},
            "one_request_an_idempotency_key",
        ),
        ({}, {"id": NEW_ID, "risk_level": "'deadly'"}, "risk_level_is_known"),
        (
            {},
            {"id": NEW_ID, "status": "'approved'", "decided_at": "clock_timestamp()"},
            "must open as pending",
        ),
    ],
)
def test_the_same_request_cannot_stand_twice(
    facts: dict[str, Any], changes: dict[str, str], constraint: str
) -> None:
    facts = {**facts, **({"actor": manager("ada")} if "actor" in facts else {})}
    opened(**facts)
    assert constraint in refused(copy("approval_requests", **changes))
    assert ApprovalRequest.objects.count() == 1


def test_two_requests_without_key_interrupt_or_issue_do_not_meet() -> None:
    opened()
    run(copy("approval_requests", id=NEW_ID))
    assert ApprovalRequest.objects.count() == 2


def test_one_issue_belongs_to_one_request() -> None:
    opened(), opened()
    told = refused("UPDATE approval_requests SET linear_issue_id = 'CHEF-1'")
    assert "linear_issue_id" in told


@pytest.mark.parametrize(
    ("table", "constraint"),
    [
        ("approvals_auditentry", "one_entry_a_number"),
        ("approvals_delivery", "one_delivery_a_channel"),
        ("approvals_inboundwebhook", "one_webhook"),
        ("approvals_voterefusal", "one_refusal_a_kind"),
    ],
)
def test_every_other_row_stands_once(table: str, constraint: str) -> None:
    request_id = decided()
    services.record_webhook(source="linear", delivery_id="d", body=b"{}")
    with pytest.raises(AlreadyDecided):
        services.cast_vote(request_id, actor=manager("late"), choice=Choice.APPROVE)
    assert constraint in refused(copy(table))


@pytest.mark.parametrize("columns", [{"delivery_id": "'other'"}, {"body_digest": "'other'"}])
def test_a_webhook_is_known_by_its_id_and_by_its_body(columns: dict[str, str]) -> None:
    services.record_webhook(source="linear", delivery_id="d", body=b"{}")
    assert "one_webhook_a" in refused(copy("approvals_inboundwebhook", **columns))
    run(copy("approvals_inboundwebhook", delivery_id="'o'", body_digest="'o'"))
    assert InboundWebhook.objects.count() == 2


@pytest.mark.parametrize("change", ["checkpoint_id = 'x'", "idempotency_key = 'x'"])
def test_where_a_request_came_from_is_frozen_too(change: str) -> None:
    assert "was frozen" in refused(change_request(change), [opened()])


def test_what_replaced_a_request_is_final_with_it() -> None:
    told = refused(change_request("superseded_by_id = id"), [decided("cancelled")])
    assert "is already cancelled" in told


LATE = (
    "INSERT INTO approvals_vote (request_id, user_id, choice, comment, via)"
    " VALUES (%s, %s, 'approve', '', 'web')"
)


def test_votes_stand_as_they_were_when_the_request_ended() -> None:
    request_id = decided()
    other = manager("late").user_id
    assert "is already approved" in refused(LATE, [request_id, other])
    for change in ("choice = 'reject'", "comment = 'other'"):
        told = refused(f"UPDATE approvals_vote SET {change}")  # noqa: S608 - the test's own
        assert "is already approved" in told
    assert "never deleted" in refused("DELETE FROM approvals_vote")


def test_a_temporary_table_of_the_same_name_lets_no_vote_through() -> None:
    request_id, other = decided(), manager("late").user_id
    run("CREATE TEMPORARY TABLE approval_requests (id uuid, status text)")
    assert "is already approved" in refused(LATE, [request_id, other])


def test_every_function_that_reads_a_table_says_where_it_is() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname, array_to_string(proconfig, ' ') FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace AND proname ~ '^hitl_'"
            r" AND prosrc ~* '\y(SELECT|PERFORM|EXECUTE|INSERT INTO|DELETE FROM|UPDATE \S+ SET)\y'"
        )
        assert cursor.fetchall() == [("hitl_guard_vote", "search_path=pg_catalog, public, pg_temp")]


def test_a_vote_stays_with_the_person_who_cast_it() -> None:
    request_id = opened(DELETE)
    services.cast_vote(request_id, actor=manager("grace"), choice=Choice.APPROVE)
    other = manager("late").user_id
    assert "one person's" in refused("UPDATE approvals_vote SET user_id = %s", [other])
    assert "one_vote_a_person" in refused(copy("approvals_vote"))


def test_an_account_that_voted_cannot_be_deleted() -> None:
    decided()
    run("DELETE FROM auth_user_groups")
    assert "approvals_vote" in refused("DELETE FROM auth_user")
