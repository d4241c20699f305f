"""Who may do what by API, and what a decision answers."""

import itertools
import json
from datetime import datetime
from uuid import UUID

import pytest

from approvals import services
from approvals.core.lifecycle import Via
from approvals.core.roles import ABILITIES, OPERATORS, SCOPES, Ability
from approvals.models import ApiToken, ApprovalRequest, AuditEntry, ClockTimestamp, Vote
from tests.approvals.http.gateway import DELETE, DEPLOY, MIGRATE, Api, People, body, status_of
from tests.approvals.scenes import pass_deadline

# One call for each ability that the API offers: method, path and body, for an open request.
CALLS = [
    (Ability.READ, "GET", "/approvals", None),
    (Ability.READ, "GET", "/approvals/{id}", None),
    (Ability.READ, "GET", "/approvals/{id}?wait=0.01", None),
    (Ability.START, "POST", "/approvals", body(MIGRATE)),
    (Ability.START, "POST", "/approvals?wait=1", body(MIGRATE)),
    (Ability.CANCEL_OWN, "POST", "/approvals/{id}/cancel", {"reason": "not needed"}),
    (Ability.DECIDE, "POST", "/approvals/{id}/approve", {}),
    (Ability.DECIDE, "POST", "/approvals/{id}/reject", {"reason": "no"}),
]


@pytest.mark.parametrize(
    ("scope", "call"), list(itertools.product(SCOPES, CALLS)), ids=lambda value: str(value)[:60]
)
def test_a_token_may_do_what_its_scope_s_role_may_and_nothing_else(
    api: Api, people: People, scope: str, call: tuple[Ability, str, str, object]
) -> None:
    ability, method, path, sent = call
    services.create_approver("maria", email="", groups=["release-managers", OPERATORS])
    token = services.create_token("maria", scope=scope)
    mine = ability is Ability.CANCEL_OWN
    owner = services.create_token("maria", scope="request") if mine else people.agent
    request_id = api.open(owner)
    answer = api.call(token, method, f"{path}".replace("{id}", request_id), sent)
    if ability in ABILITIES[SCOPES[scope]]:
        assert answer.status_code in {200, 201}, answer.content
    else:
        assert answer.status_code == 403
        assert "scope" in answer.json()["detail"]
        assert status_of(request_id) == "pending"
        assert not Vote.objects.exists()


@pytest.mark.parametrize(("method", "path"), [(call[1], call[2]) for call in CALLS])
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "Bearer \xff\x00", "Token {}"]
)
def test_without_a_valid_token_every_call_is_401(
    api: Api, people: People, method: str, path: str, header: str
) -> None:
    request_id = api.open(people.agent)
    answer = api.client.generic(
        method,
        f"/api{path}".replace("{id}", request_id),
        b"{}",
        content_type="application/json",
        headers={"Authorization": header.format(people.ana)} if header else {},
    )
    assert answer.status_code == 401
    assert json.loads(answer.content)["detail"]
    assert answer["WWW-Authenticate"] == "Bearer"
    assert status_of(request_id) == "pending"


def test_a_revoked_token_and_a_switched_off_account_are_401(api: Api, people: People) -> None:
    assert api.call(people.ana, "GET", "/approvals").status_code == 200
    ApiToken.objects.filter(user__username="ana").update(revoked_at=ClockTimestamp())
    ben = ApiToken.objects.get(user__username="ben").user
    ben.is_active = False
    ben.save()
    assert api.call(people.ana, "GET", "/approvals").status_code == 401
    assert api.call(people.ben, "GET", "/approvals").status_code == 401


def test_a_session_is_no_token(api: Api, people: People) -> None:
    api.client.force_login(ApiToken.objects.get(user__username="ana").user)
    assert api.call("", "GET", "/approvals").status_code == 401


def test_the_use_of_a_token_is_recorded(api: Api, people: People) -> None:
    api.call(people.ana, "GET", "/approvals")
    used = {token.user.username: token.last_used_at is not None for token in ApiToken.objects.all()}
    assert used == {"agent": False, "ana": True, "ben": False, "dev": False}


def test_an_approval_decides_and_is_shown(api: Api, people: People) -> None:
    request_id = api.open(people.agent)
    answer = api.call(
        people.ana, "POST", f"/approvals/{request_id}/approve", {"comment": "Looks right."}
    )
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "request_id": request_id,
            "workflow_id": "wf-1",
            "status": "approved",
            "approvals": 1,
            "quorum": 1,
        },
    )
    item = api.call(people.agent, "GET", f"/approvals/{request_id}").json()
    assert item["status"] == "approved"
    assert (item["approved_by"], item["decided_by"], item["approvals"]) == ("ana", "ana", 1)
    assert item["approved_at"] == item["decided_at"] > item["created_at"]
    vote = Vote.objects.get()
    assert (vote.user.username, vote.comment, vote.via) == ("ana", "Looks right.", Via.API)


@pytest.mark.parametrize("raw", [None, b"{}", b'{"comment": ""}'])
def test_an_approval_needs_no_words(api: Api, people: People, raw: bytes | None) -> None:
    request_id = api.open(people.agent)
    assert api.call(people.ana, "POST", f"/approvals/{request_id}/approve", raw).status_code == 200


def test_a_rejection_decides_and_keeps_its_reason(api: Api, people: People) -> None:
    request_id = api.open(people.agent)
    answer = api.call(
        people.ana, "POST", f"/approvals/{request_id}/reject", {"reason": " Freeze. "}
    )
    assert answer.json()["status"] == "rejected"
    item = api.call(people.agent, "GET", f"/approvals/{request_id}").json()
    assert (item["status"], item["rejection_reason"]) == ("rejected", "Freeze.")
    assert (item["decided_by"], item["approved_by"]) == ("ana", None)


def test_a_quorum_of_two_counts_people_not_calls(api: Api, people: People) -> None:
    request_id = api.open(people.agent, DELETE)
    path = f"/approvals/{request_id}/approve"
    votes = [api.call(token, "POST", path).json() for token in (people.ana, people.ana, people.ben)]
    assert [(vote["status"], vote["approvals"]) for vote in votes] == [
        ("pending", 1),
        ("pending", 1),
        ("approved", 2),
    ]


def test_a_decision_on_a_decided_request_says_by_whom_and_when(api: Api, people: People) -> None:
    request_id = api.open(people.agent)
    api.call(people.ana, "POST", f"/approvals/{request_id}/approve")
    for token, verb, sent in (
        (people.ben, "approve", {}),
        (people.ben, "reject", {"reason": "no"}),
        (people.agent, "cancel", {"reason": "no"}),
    ):
        answer = api.call(token, "POST", f"/approvals/{request_id}/{verb}", sent)
        assert answer.status_code == 409
        told = answer.json()
        assert (told["status"], told["decided_by"]) == ("approved", "ana")
        assert datetime.fromisoformat(told["decided_at"]).tzinfo is not None
        assert "already approved by ana" in told["detail"]
    assert status_of(request_id) == "approved"


def test_somebody_outside_the_policy_s_groups_is_refused_and_it_is_recorded(
    api: Api, people: People
) -> None:
    request_id = api.open(people.agent)
    answer = api.call(people.dev, "POST", f"/approvals/{request_id}/approve")
    assert answer.status_code == 403
    assert "release-managers" in answer.json()["detail"]
    assert AuditEntry.objects.filter(name="vote.refused", actor="dev", via="api").count() == 1
    assert status_of(request_id) == "pending"


def test_whoever_asked_may_not_decide_even_with_both_tokens(api: Api, people: People) -> None:
    asks = services.create_token("ana", scope="request")
    request_id = api.open(asks)
    answer = api.call(people.ana, "POST", f"/approvals/{request_id}/approve")
    assert answer.status_code == 403
    assert "asked" in answer.json()["detail"]


def test_only_whoever_asked_may_cancel_by_api(api: Api, people: People) -> None:
    request_id = api.open(people.agent)
    services.create_approver("oda", email="", groups=[OPERATORS])
    stranger = services.create_token("oda", scope="request")
    path = f"/approvals/{request_id}/cancel"
    refused = api.call(stranger, "POST", path, {"reason": "mine now"})
    assert refused.status_code == 403
    assert status_of(request_id) == "pending"
    answer = api.call(people.agent, "POST", path, {"reason": "Superseded by 2.5.1."})
    assert (answer.status_code, answer.json()) == (
        200,
        {"request_id": request_id, "status": "cancelled"},
    )
    assert ApprovalRequest.objects.get().decision_reason == "Superseded by 2.5.1."


def test_an_overdue_request_reads_as_expired_and_takes_no_decision(
    api: Api, people: People
) -> None:
    request_id = api.open(people.agent, DEPLOY)
    pass_deadline(UUID(request_id))
    item = api.call(people.agent, "GET", f"/approvals/{request_id}").json()
    listed = api.call(people.agent, "GET", "/approvals?status=expired").json()["items"]
    assert (item["status"], [one["status"] for one in listed]) == ("expired", ["expired"])
    assert status_of(request_id) == "pending"
    answer = api.call(people.ana, "POST", f"/approvals/{request_id}/approve")
    assert (answer.status_code, answer.json()["status"]) == (409, "expired")
    assert status_of(request_id) == "expired"
