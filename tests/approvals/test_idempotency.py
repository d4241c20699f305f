"""A key means one thing: the same body gets the same answer, another one is a conflict."""

from typing import Any

import pytest

from approvals import services
from approvals.audit import SYSTEM
from approvals.core.risk import Risk
from approvals.errors import IdempotencyConflict
from approvals.models import ApprovalRequest, AuditEntry, Delivery
from tests.approvals.scenes import DELETE, DEPLOY, DOCS, at_once, entries, opened, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
ASKED: dict[str, Any] = {"workflow_id": "w-1", "thread_id": "t-1", "agent_name": "cicd"}


@pytest.mark.parametrize("actor", ["ada", None])
def test_the_same_key_and_body_give_the_same_request(actor: str | None) -> None:
    who = person(actor) if actor else SYSTEM
    first = services.open_request(task=DEPLOY, idempotency_key="k", actor=who, **ASKED)
    again = services.open_request(task=dict(DEPLOY), idempotency_key="k", actor=who, **ASKED)
    assert again.request_id == first.request_id
    assert ApprovalRequest.objects.count() == 1
    assert AuditEntry.objects.count() == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"task": {**DEPLOY, "description": "other"}},
        {"workflow_id": "w-2"},
        {"thread_id": "t-2"},
        {"agent_name": "infrastructure"},
        {"requested_by": "bob"},
        {"pr_number": 3},
        {"risk_level": "high"},
    ],
)
def test_the_same_key_with_another_body_is_a_conflict(changed: dict[str, Any]) -> None:
    ada = person("ada")
    body = {"task": DEPLOY, **ASKED, "idempotency_key": "k", "actor": ada}
    first = services.open_request(**body)
    with pytest.raises(IdempotencyConflict, match=str(first.request_id)):
        services.open_request(**{**body, **changed})
    assert ApprovalRequest.objects.count() == 1


@pytest.mark.parametrize("actor", ["ada", None])
def test_the_same_key_and_body_give_the_same_answer_where_none_was_needed(
    actor: str | None,
) -> None:
    who = person(actor) if actor else SYSTEM
    first = services.open_request(task=DOCS, idempotency_key="k", actor=who, **ASKED)
    again = services.open_request(task=dict(DOCS), idempotency_key="k", actor=who, **ASKED)
    assert first.status == "not_required"
    assert again == first
    assert AuditEntry.objects.count() == 1


def test_a_stated_risk_is_in_the_answer_that_is_given_again() -> None:
    asked = {"task": DOCS, "idempotency_key": "k", "risk_level": "medium", **ASKED}
    answers = [services.open_request(**asked) for _ in range(2)]
    assert [answer.risk_level for answer in answers] == [Risk.MEDIUM] * 2


@pytest.mark.parametrize("actor", ["ada", None])
@pytest.mark.parametrize(
    ("first", "other"),
    [(DOCS, {**DOCS, "description": "other"}), (DOCS, DEPLOY), (DEPLOY, DOCS)],
    ids=["both need none", "the second needs approval", "the first needs approval"],
)
def test_a_key_with_another_body_is_a_conflict_whichever_of_them_needs_approval(
    first: dict[str, Any], other: dict[str, Any], actor: str | None
) -> None:
    who = person(actor) if actor else SYSTEM
    services.open_request(task=first, idempotency_key="k", actor=who, **ASKED)
    with pytest.raises(IdempotencyConflict, match="used before with another body"):
        services.open_request(task=other, idempotency_key="k", actor=who, **ASKED)
    assert ApprovalRequest.objects.count() == (first == DEPLOY)
    assert AuditEntry.objects.count() == 1


def test_keys_of_two_people_do_not_meet_where_none_was_needed() -> None:
    for number, actor in enumerate((person("ada"), person("bob"), SYSTEM), 1):
        services.open_request(task=DOCS, idempotency_key="k", actor=actor, **ASKED)
        assert AuditEntry.objects.count() == number


def test_what_needs_no_approval_and_has_no_key_is_recorded_each_time() -> None:
    for _ in range(2):
        services.open_request(task=DOCS, **ASKED)
    assert AuditEntry.objects.count() == 2


def test_keys_of_two_people_do_not_meet() -> None:
    ids = {opened(idempotency_key="k", actor=actor) for actor in (person("ada"), person("bob"))}
    assert len(ids | {opened(idempotency_key="k")}) == 3


def test_a_decided_request_still_answers_its_key() -> None:
    ada = person("ada")
    request_id = opened(idempotency_key="k", actor=ada)
    services.cancel_request(request_id, actor=ada, reason="no")
    again = services.open_request(task=DEPLOY, idempotency_key="k", actor=ada, **ASKED)
    assert (again.request_id, again.status) == (request_id, "cancelled")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("known", [True, False])
def test_one_idempotency_key_at_once_opens_one_request(known: bool) -> None:
    actor = person("ada") if known else SYSTEM
    asked: dict[str, Any] = {
        **ASKED,
        "task": DEPLOY,
        "idempotency_key": "k",
        "actor": actor,
    }
    outcomes = at_once(*[lambda: services.open_request(**asked)] * 6)
    assert {outcome.request_id for outcome in outcomes} == {ApprovalRequest.objects.get().pk}
    assert entries(outcomes[0].request_id) == ["request.opened"]
    assert Delivery.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("known", [True, False])
def test_one_idempotency_key_at_once_leaves_one_record_where_none_was_needed(known: bool) -> None:
    asked: dict[str, Any] = {
        **ASKED,
        "task": DOCS,
        "idempotency_key": "k",
        "actor": person("ada") if known else SYSTEM,
    }
    outcomes = at_once(*[lambda: services.open_request(**asked)] * 6)
    assert [outcome.status for outcome in outcomes] == ["not_required"] * 6
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("attempt", range(3))
@pytest.mark.parametrize("known", [True, False])
def test_one_key_at_once_for_what_needs_approval_and_what_does_not_is_used_once(
    known: bool, attempt: int
) -> None:
    asked: dict[str, Any] = {
        **ASKED,
        "idempotency_key": "k",
        "actor": person("ada") if known else SYSTEM,
    }
    outcomes = at_once(
        lambda: services.open_request(task=DEPLOY, **asked),
        lambda: services.open_request(task=DOCS, **asked),
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        *(IdempotencyConflict.__name__, "Opened")
    ]
    assert AuditEntry.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_one_key_with_two_bodies_at_once_opens_one_and_refuses_the_other() -> None:
    asked: dict[str, Any] = {
        **ASKED,
        "idempotency_key": "k",
        "actor": person("ada"),
    }
    outcomes = at_once(
        lambda: services.open_request(task=DEPLOY, **asked),
        lambda: services.open_request(task=DELETE, **asked),
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        *(IdempotencyConflict.__name__, "Opened")
    ]
    assert ApprovalRequest.objects.count() == 1
