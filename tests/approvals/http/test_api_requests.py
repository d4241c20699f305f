"""`POST /api/approvals`, and what the API shows of a request."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import patience, services
from approvals.core.events import EventName
from approvals.models import ApprovalRequest, AuditEntry
from tests.approvals.http.gateway import DEPLOY, DOCS, MIGRATE, Api, People, body, status_of
from tests.approvals.slowly import slow


def test_opening_answers_201_with_exactly_the_promised_fields(api: Api, people: People) -> None:
    answer = api.call(people.agent, "POST", "/approvals", body())
    assert answer.status_code == 201
    request_id = answer.json()["request_id"]
    assert answer.json() == {
        "request_id": request_id,
        "status": "pending",
        "risk_level": "critical",
        "requires_approval": True,
        "linear_issue_id": None,
        "linear_issue_url": None,
    }
    assert status_of(request_id) == "pending"


def test_what_needs_no_approval_answers_200_and_leaves_an_audit_record(
    api: Api, people: People
) -> None:
    answer = api.call(people.agent, "POST", "/approvals", body(DOCS))
    assert (answer.status_code, answer.json()) == (
        200,
        {"requires_approval": False, "status": "not_required"},
    )
    assert not ApprovalRequest.objects.exists()
    entry = AuditEntry.objects.get(name__startswith="request.")
    assert (entry.name, entry.actor, entry.via) == (EventName.NOT_REQUIRED, "agent", "api")


def test_a_stated_risk_raises_the_assessed_one_and_never_lowers_it(
    api: Api, people: People
) -> None:
    raised = api.call(people.agent, "POST", "/approvals", body(MIGRATE, risk_level="critical"))
    lowered = api.call(people.agent, "POST", "/approvals", body(DEPLOY, risk_level="low"))
    assert raised.json()["risk_level"] == "critical"
    assert lowered.json()["risk_level"] == "critical"


def test_the_token_s_user_asked_unless_the_body_says_who(api: Api, people: People) -> None:
    by_default = api.open(people.agent)
    named = api.open(people.agent, requested_by="maria@example.org")
    shown = [
        api.call(people.agent, "GET", f"/approvals/{i}").json()["requested_by"]
        for i in (by_default, named)
    ]
    assert shown == ["agent", "maria@example.org"]


def test_the_same_idempotency_key_and_body_give_the_same_request_again(
    api: Api, people: People
) -> None:
    first = api.call(people.agent, "POST", "/approvals", body(idempotency_key="release-7"))
    again = api.call(people.agent, "POST", "/approvals", body(idempotency_key="release-7"))
    assert (again.status_code, again.json()) == (201, first.json())
    assert ApprovalRequest.objects.count() == 1


def test_the_same_idempotency_key_with_another_body_is_a_conflict(api: Api, people: People) -> None:
    api.open(people.agent, idempotency_key="release-7")
    other = api.call(people.agent, "POST", "/approvals", body(MIGRATE, idempotency_key="release-7"))
    assert other.status_code == 409
    assert "idempotency key" in other.json()["detail"]
    assert ApprovalRequest.objects.count() == 1


def test_an_idempotency_key_holds_where_no_approval_was_needed(api: Api, people: People) -> None:
    sent = body(DOCS, idempotency_key="docs-7")
    first, again = (api.call(people.agent, "POST", "/approvals", sent) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    other = api.call(people.agent, "POST", "/approvals", body(DEPLOY, idempotency_key="docs-7"))
    assert other.status_code == 409
    assert "idempotency key" in other.json()["detail"]
    assert AuditEntry.objects.filter(name__startswith="request.").count() == 1


def test_an_idempotency_key_belongs_to_its_user(api: Api, people: People) -> None:
    services.create_approver("robot", email="", groups=[])
    robot = services.create_token("robot", scope="request")
    mine = api.open(people.agent, idempotency_key="release-7")
    theirs = api.open(robot, MIGRATE, idempotency_key="release-7")
    assert mine != theirs


def test_an_item_shows_the_public_facts_and_masks_secrets(api: Api, people: People) -> None:
    task = {**DEPLOY, "arguments": {"version": "v2", "api_token": "s3cret-value"}}
    pr_url = "https://github.com/acme/shop/pull/7"
    request_id = api.open(people.agent, task, github_repo="acme/shop", pr_number=7, pr_url=pr_url)
    answer = api.call(people.agent, "GET", f"/approvals/{request_id}")
    item = answer.json()
    assert answer.status_code == 200
    assert "s3cret-value" not in answer.content.decode()
    assert item["task"]["arguments"] == {"version": "v2", "api_token": "••••••"}
    row = ApprovalRequest.objects.get()
    assert item["matches"] == [
        {
            "rule": "production_deploy",
            "risk_level": "critical",
            "reason": "operation is deploy and environment is production",
        }
    ]
    assert item["policy"]["groups"] == ["release-managers"]
    assert item["url"].endswith(f"/approvals/{request_id}/")
    expected = {
        "request_id": request_id,
        "workflow_id": "wf-1",
        "thread_id": "thread-1",
        "checkpoint_id": "cp-1",
        "status": "pending",
        "risk_level": "critical",
        "action": None,
        "digest": row.digest,
        "agent_name": "cicd",
        "requested_by": "agent",
        "operation": "deploy",
        "environment": "production",
        "approvals": 0,
        "quorum": 1,
        "decided_at": None,
        "decided_by": None,
        "approved_at": None,
        "approved_by": None,
        "rejection_reason": None,
        "linear_issue_id": None,
        "linear_issue_url": None,
        "pr_number": 7,
        "pr_url": pr_url,
        "github_repo": "acme/shop",
    }
    assert {key: item[key] for key in expected} == expected


def test_a_request_is_found_by_its_linear_identifier_too(api: Api, people: People) -> None:
    request_id = api.open(people.agent)
    ApprovalRequest.objects.update(linear_issue_id="CHEF-271")
    for reference in ("CHEF-271", "chef-271", request_id, request_id.upper()):
        item = api.call(people.agent, "GET", f"/approvals/{reference}").json()
        assert (item["request_id"], item["linear_issue_id"]) == (request_id, "CHEF-271")


@pytest.mark.parametrize(
    "reference", ["CHEF-1", "00000000-0000-4000-8000-000000000000", "a%00b", "x" * 300, "%F0%9F"]
)
def test_an_unknown_reference_is_404(api: Api, people: People, reference: str) -> None:
    for method, path, sent in (
        ("GET", "", None),
        ("POST", "/approve", {}),
        ("POST", "/reject", {"reason": "no"}),
        ("POST", "/cancel", {"reason": "no"}),
    ):
        token = people.agent if path in {"", "/cancel"} else people.ana
        answer = api.call(token, method, f"/approvals/{reference}{path}", sent)
        assert answer.status_code == 404
        assert "no request" in answer.json()["detail"]


def ids(page: dict[str, Any]) -> list[str]:
    """The ids of a page's items."""
    return [item["request_id"] for item in page["items"]]


def test_the_list_is_newest_first_and_filters(api: Api, people: People) -> None:
    deploy = api.open(people.agent)
    migrate = api.open(people.agent, MIGRATE, agent_name="infrastructure")
    api.call(people.ana, "POST", f"/approvals/{deploy}/approve")
    for query, expected in {
        "": [migrate, deploy],
        "?status=pending": [migrate],
        "?status=approved": [deploy],
        "?risk_level=medium": [migrate],
        "?agent=cicd": [deploy],
        "?environment=staging": [migrate],
        "?environment=staging&agent=cicd": [],
    }.items():
        assert ids(api.call(people.agent, "GET", f"/approvals{query}").json()) == expected, query


def test_cursor_pages_hold_every_request_once(api: Api, people: People) -> None:
    opened = [api.open(people.agent) for _ in range(5)]
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        page = api.call(people.agent, "GET", f"/approvals?limit=2&cursor={cursor}").json()
        seen += ids(page)
        cursor = page["next_cursor"]
    assert seen == opened[::-1]
    assert cursor is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("risk_level=huge", "risk_level"),
        ("cursor=nonsense", "cursor"),
        ("cursor=%FF%00", "cursor"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("agent=%00", "agent"),
        ("environment=a%00b", "environment"),
    ],
)
def test_a_filter_that_does_not_fit_is_422_and_names_it(
    api: Api, people: People, query: str, field: str
) -> None:
    answer = api.call(people.agent, "GET", f"/approvals?{query}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_the_list_takes_as_many_queries_for_thirty_as_for_one(api: Api, people: People) -> None:
    counts = []
    for wanted in (1, 30):
        while ApprovalRequest.objects.count() < wanted:
            api.open(people.agent)
        with CaptureQueriesContext(connection) as queries:
            page = api.call(people.agent, "GET", "/approvals").json()
        assert len(page["items"]) == wanted
        counts.append(len(queries))
    # The token (2), the page within its bound on time, which takes three with the clock, its votes.
    assert counts == [6, 6]


def test_opening_and_approving_take_few_queries(api: Api, people: People) -> None:
    # The token's last use is noted once a minute, so the first calls are not counted.
    request_id = api.open(people.agent)
    api.call(people.ana, "GET", f"/approvals/{request_id}")
    with CaptureQueriesContext(connection) as opening:
        api.open(people.agent)
    with CaptureQueriesContext(connection) as deciding:
        assert api.call(people.ana, "POST", f"/approvals/{request_id}/approve").status_code == 200
    shown = "\n".join(query["sql"][:150] for query in [*opening, *deciding])
    # Of these the API itself adds one, and to a decision two: the token and its owner's groups.
    assert len(opening) <= 10, shown
    assert len(deciding) <= 18, shown


def test_a_list_that_takes_too_long_is_given_up_with_a_sentence(
    api: Api, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE_MS", 100)
    with slow():
        answer = api.call(people.agent, "GET", "/approvals?agent=nobody")
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "filters"
    assert "more than 0.1 seconds, so it was given up" in error["message"]
