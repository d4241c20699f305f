"""Deadlines, withdrawals and successors: the other ways in which a request ends."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from approvals import services, tasks
from approvals.actors import linear_actor
from approvals.audit import SYSTEM, broken_links
from approvals.clock import clock
from approvals.core.lifecycle import Actor, Via
from approvals.errors import AlreadyDecided, NotAllowed, RequestNotFound
from approvals.models import ApprovalRequest, AuditEntry
from approvals.selectors.request import may_cancel
from tests.approvals.scenes import (
    DELETE,
    approve,
    cancel,
    entries,
    manager,
    opened,
    owed,
    pass_deadline,
    person,
    row,
    switched_off,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
EVERYWHERE: dict[str, Any] = {"interrupt_id": "i-1", "pr_number": 3, "github_repo": "acme/shop"}


def test_many_expire_exactly_as_one_by_one() -> None:
    batch = [opened(DELETE, thread_id=f"b-{n}", **EVERYWHERE) for n in range(5)]
    single = [opened(DELETE, thread_id=f"s-{n}", **EVERYWHERE) for n in range(5)]
    grace = manager("grace")
    for request_id in (batch[2], single[2]):
        approve(request_id, grace)
    pass_deadline(*batch)
    assert services.expire_overdue() == 5
    for request_id in single:
        pass_deadline(request_id)
        assert services.expire_overdue() == 1
    assert [story(request_id) for request_id in batch] == [story(rid) for rid in single]
    assert not list(broken_links())


def story(request_id: UUID) -> Any:
    """Everything the tables say of a request, without ids, threads and times."""
    request = ApprovalRequest.objects.values(
        *("status", "decided_by", "decision_reason", "rejection_reason", "approved_by")
    ).get(pk=request_id)
    facts = AuditEntry.objects.filter(stream=request_id).order_by("number")
    rows = delivery_rows(request_id)
    return (
        request,
        [(e.number, e.name, e.actor, e.actor_key, e.via, without_digest(e.data)) for e in facts],
        rows,
        all(e.at == row(request_id).decided_at for e in facts if e.name == "request.expired"),
    )


def without_digest(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key != "digest"}


def delivery_rows(request_id: UUID) -> list[Any]:
    columns = ("channel", "wanted", "done", "priority", "attempts", "gave_up_at", "lease_token")
    return list(row(request_id).deliveries.order_by("channel").values_list(*columns))


def test_only_what_is_overdue_expires_the_oldest_first_and_a_batch_at_a_time() -> None:
    overdue = [opened(thread_id=f"t-{n}") for n in range(3)]
    for request_id in overdue:
        pass_deadline(request_id)
    waiting, decided = opened(), opened()
    cancel(decided)
    assert services.expire_overdue(limit=2) == 2
    assert [row(request_id).status for request_id in overdue] == ["expired", "expired", "pending"]
    assert services.expire_overdue(limit=2) == 1
    assert services.expire_overdue() == 0
    assert (row(waiting).status, row(decided).status) == ("pending", "cancelled")


def test_the_task_expires_all_that_is_overdue_however_large_a_batch_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overdue = [opened(thread_id=f"t-{n}") for n in range(5)]
    pass_deadline(*overdue)
    monkeypatch.setattr(services, "expire_overdue", partial(services.expire_overdue, limit=2))
    tasks.expire_overdue()
    assert {row(request_id).status for request_id in overdue} == {"expired"}


def test_expiring_many_takes_as_many_queries_as_expiring_one(
    django_assert_max_num_queries: Any,
) -> None:
    for count in (1, 30):
        pass_deadline(*[opened(thread_id=f"{count}-{n}") for n in range(count)])
        with django_assert_max_num_queries(11):
            assert services.expire_overdue() == count


@pytest.mark.parametrize(
    ("make", "allowed"),
    [
        (lambda: person("ada"), True),
        (lambda: person("op", "operators"), True),
        (lambda: person("root", is_superuser=True), True),
        (lambda: switched_off("ada"), False),
        (lambda: switched_off("op", "operators"), False),
        (lambda: manager("grace"), False),
        (lambda: person("eve"), False),
        (lambda: linear_actor("u", "ada", Via.LINEAR_MOVE), False),
        # The gateway itself withdraws; whoever cancels is a person.
        (lambda: SYSTEM, False),
        (lambda: Actor(name="gateway", via=Via.API, key="system"), False),
        (lambda: Actor(name="gateway", via=Via.SYSTEM), False),
    ],
)
def test_who_asked_and_operators_may_cancel(make: Callable[[], Actor], allowed: bool) -> None:
    request_id = opened(actor=person("ada"), **EVERYWHERE)
    actor = make()
    if not allowed:
        with pytest.raises(NotAllowed, match="Only whoever asked"):
            services.cancel_request(request_id, actor=actor, reason="no longer wanted")
        assert may_cancel(row(request_id), actor, clock()) is False
        assert row(request_id).status == "pending"
        assert owed(request_id)["workflow"] == 0
        return
    assert may_cancel(row(request_id), actor, clock()) is True
    services.cancel_request(request_id, actor=actor, reason="no longer wanted")
    assert may_cancel(row(request_id), actor, clock()) is False
    found = row(request_id)
    assert (found.status, found.decided_by) == ("cancelled", actor.name)
    assert found.decision_reason == "no longer wanted"
    assert entries(request_id) == ["request.opened", "request.cancelled"]
    assert owed(request_id) == {"linear": 2, "github": 2, "workflow": 1, "chat": 1}


def test_nobody_may_cancel_the_gateway_s_own_request_by_being_nobody() -> None:
    request_id = opened(actor=SYSTEM)
    nobody = linear_actor("u", "somebody", Via.LINEAR_MOVE)
    with pytest.raises(NotAllowed):
        services.cancel_request(request_id, actor=nobody, reason="no longer wanted")


def test_a_request_is_withdrawn_in_the_name_of_whoever_ended_what_asked() -> None:
    request_id = opened(actor=person("ada"), **EVERYWHERE)
    services.withdraw_request(request_id, actor=person("eve"), reason="The run was cancelled.")
    found = row(request_id)
    assert (found.status, found.decided_by) == ("cancelled", "eve")
    assert found.decision_reason == "The run was cancelled."
    assert entries(request_id) == ["request.opened", "request.cancelled"]
    assert owed(request_id) == {"linear": 2, "github": 2, "workflow": 1, "chat": 1}
    with pytest.raises(AlreadyDecided, match="already cancelled by eve"):
        services.withdraw_request(request_id, actor=SYSTEM, reason="Again.")


def test_whatever_asked_for_it_an_overdue_request_expires_instead_of_being_withdrawn() -> None:
    request_id = opened()
    pass_deadline(request_id)
    with pytest.raises(AlreadyDecided, match="already expired"):
        cancel(request_id)
    assert entries(request_id) == ["request.opened", "request.expired"]


def test_only_what_exists_is_cancelled_or_withdrawn() -> None:
    with pytest.raises(RequestNotFound):
        services.cancel_request(uuid4(), actor=person("op", "operators"), reason="")
    with pytest.raises(RequestNotFound):
        cancel(uuid4())


def test_a_successor_takes_the_place_of_a_request() -> None:
    first, second = opened(interrupt_id="i-1"), opened(DELETE, interrupt_id="i-1")
    services.supersede_request(first, reason="The payload changed.", successor_id=second)
    found = row(first)
    assert (found.status, found.superseded_by_id) == ("superseded", second)
    assert (found.decided_by, found.decision_reason) == ("gateway", "The payload changed.")
    assert entries(first) == ["request.opened", "request.superseded"]
    assert owed(first) == {"linear": 2, "workflow": 1, "chat": 1}
    assert row(second).status == "pending"
