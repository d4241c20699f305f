"""Many do the same thing at the same time, on connections of their own: one wins."""

import threading
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from approvals import outbox, services
from approvals.audit import SYSTEM, broken_links
from approvals.clock import clock
from approvals.core.events import Hearing, Receipt
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.errors import AlreadyDecided, NotAllowed
from approvals.models import (
    ApprovalRequest,
    AuditEntry,
    Delivery,
    InboundWebhook,
    Vote,
    VoteRefusal,
)
from tests.approvals.channels import Notebook, issue
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    at_once,
    entries,
    manager,
    opened,
    owed,
    pass_deadline,
    person,
    row,
    unguarded,
)
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("channels")]
ENDS = {"request.approved", "request.rejected", "request.expired", "request.cancelled"}
Work = Callable[[], Any]


def vote(request_id: UUID, actor: Actor, choice: Choice) -> Work:
    return lambda: services.cast_vote(request_id, actor=actor, choice=choice)


def cancel(request_id: UUID) -> Work:
    return lambda: services.withdraw_request(request_id, actor=SYSTEM, reason="no")


def ends_of(request_id: UUID) -> list[str]:
    return [name for name in entries(request_id) if name in ENDS]


def lost(outcomes: list[Any]) -> list[AlreadyDecided]:
    assert all(isinstance(o, AlreadyDecided) for o in outcomes if isinstance(o, Exception))
    return [outcome for outcome in outcomes if isinstance(outcome, AlreadyDecided)]


@pytest.mark.parametrize("attempt", range(3))
def test_of_an_approval_a_rejection_and_a_withdrawal_at_once_one_wins(attempt: int) -> None:
    request_id = opened(interrupt_id="i")
    outcomes = at_once(
        vote(request_id, manager("grace", Via.LINEAR_MOVE), Choice.APPROVE),
        vote(request_id, manager("linus", Via.API), Choice.REJECT),
        cancel(request_id),
    )
    assert len(lost(outcomes)) == 2
    assert len(ends_of(request_id)) == 1
    assert ends_of(request_id) == [f"request.{row(request_id).status}"]
    assert {error.status for error in lost(outcomes)} == {row(request_id).status}
    assert owed(request_id)["workflow"] == 1
    assert Vote.objects.count() == sum(1 for o in outcomes[:2] if not isinstance(o, Exception))
    assert list(broken_links()) == []


def test_the_same_person_deciding_in_eight_windows_decides_once() -> None:
    request_id = opened(interrupt_id="i")
    grace = manager("grace")
    outcomes = at_once(*[vote(request_id, grace, Choice.APPROVE)] * 8)
    assert len(lost(outcomes)) == 7
    assert entries(request_id) == [
        *("request.opened", "vote.cast", "request.approved", "vote.refused")
    ]
    assert (VoteRefusal.objects.get().times, Vote.objects.count()) == (7, 1)
    assert owed(request_id)["workflow"] == 1


def test_a_quorum_reached_by_four_at_once_is_reached_once() -> None:
    request_id = opened(DELETE, interrupt_id="i")
    outcomes = at_once(*[vote(request_id, manager(f"m{n}"), Choice.APPROVE) for n in range(4)])
    assert len(lost(outcomes)) == 2
    assert sorted(o.approvals for o in outcomes if not isinstance(o, Exception)) == [1, 2]
    assert ends_of(request_id) == ["request.approved"]
    assert Vote.objects.count() == 2


def test_refusals_at_once_are_one_fact_that_is_counted() -> None:
    request_id = opened()
    stranger = person("stranger")
    outcomes = at_once(*[vote(request_id, stranger, Choice.APPROVE)] * 6)
    assert all(isinstance(outcome, NotAllowed) for outcome in outcomes)
    assert VoteRefusal.objects.get().times == 6
    assert entries(request_id) == ["request.opened", "vote.refused"]


def test_a_refusal_is_kept_although_the_verb_raises() -> None:
    request_id = opened()
    with pytest.raises(NotAllowed):
        vote(request_id, person("stranger"), Choice.REJECT)()
    connection.close()
    assert entries(request_id) == ["request.opened", "vote.refused"]


def test_a_late_vote_the_sweep_and_a_withdrawal_at_once_expire_it_once() -> None:
    request_id = opened(interrupt_id="i")
    pass_deadline(request_id)
    grace = manager("grace")
    outcomes = at_once(
        vote(request_id, grace, Choice.APPROVE),
        services.expire_overdue,
        services.expire_overdue,
        cancel(request_id),
    )
    assert isinstance(outcomes[0], AlreadyDecided)
    assert isinstance(outcomes[3], AlreadyDecided)
    assert row(request_id).status == "expired"
    assert ends_of(request_id) == ["request.expired"]
    assert owed(request_id)["workflow"] == 1
    assert not Vote.objects.exists()


def test_a_vote_whose_turn_comes_after_the_deadline_is_too_late() -> None:
    """Whoever asked in time and had to wait for somebody else is judged when it is their turn."""
    request_id = opened(interrupt_id="i")
    unguarded(
        "UPDATE approval_requests SET expires_at = clock_timestamp() + interval '1 second'",
    )
    held = threading.Event()

    def hold() -> None:
        with transaction.atomic():
            request = ApprovalRequest.objects.select_for_update().get(pk=request_id)
            held.set()
            eventually(somebody_waits_for_a_lock, "the vote waits for its turn")
            eventually(lambda: clock() > request.expires_at, "the deadline passes")

    def late() -> None:
        assert held.wait(20)
        vote(request_id, manager("grace"), Choice.APPROVE)()

    held_up, refused = at_once(hold, late)
    assert held_up is None
    assert isinstance(refused, AlreadyDecided)
    assert ends_of(request_id) == ["request.expired"]
    assert not Vote.objects.exists()


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchall())


def test_doubled_sweeps_expire_each_request_once() -> None:
    made = [opened(thread_id=f"t-{n}") for n in range(12)]
    pass_deadline(*made)
    outcomes = at_once(*[lambda: services.expire_overdue(limit=4)] * 4)
    rest = services.expire_overdue()
    assert sum(outcomes) + rest == 12
    assert all(ends_of(request_id) == ["request.expired"] for request_id in made)
    assert list(broken_links()) == []


def test_a_sweep_does_not_wait_for_a_request_that_somebody_holds() -> None:
    held, free = opened(), opened()
    pass_deadline(held, free)
    with transaction.atomic():
        ApprovalRequest.objects.select_for_update().get(pk=held)
        assert at_once(services.expire_overdue) == [1]
    assert (row(held).status, row(free).status) == ("pending", "expired")
    assert services.expire_overdue() == 1


def test_a_webhook_about_a_request_does_not_wait_for_whoever_decides_it() -> None:
    request_id = opened(DELETE)
    webhook_id = services.record_webhook(source="linear", delivery_id="d-1", body=b"{}")
    assert webhook_id is not None

    def note() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '5s'")
        services.finish_webhook(webhook_id, outcome=Hearing.DEFERRED, request_id=request_id)

    with transaction.atomic():
        vote(request_id, manager("grace"), Choice.APPROVE)()
        # Each would wait for the other: the vote for the delivery, the webhook for the request.
        assert at_once(note) == [None]


def test_verbs_on_many_requests_at_once_do_not_block_each_other_for_ever() -> None:
    made = [opened(thread_id=f"t-{n}", pr_number=1, github_repo="a/b") for n in range(6)]
    pass_deadline(*made[:3])
    grace = manager("grace")
    works: list[Work] = [vote(request_id, grace, Choice.APPROVE) for request_id in made]
    works += [services.expire_overdue, lambda: outbox.deliver_next("linear")]
    works += [lambda: outbox.deliver_next("github"), lambda: outbox.deliver_next("linear")]
    outcomes = at_once(*works)
    unexpected = [o for o in outcomes if isinstance(o, Exception) and type(o) is not AlreadyDecided]
    assert unexpected == []
    assert [row(request_id).status for request_id in made] == ["expired"] * 3 + ["approved"] * 3
    assert list(broken_links()) == []


def webhook(delivery_id: str = "d-1", body: bytes = b"{}") -> Work:
    def record() -> int | None:
        with transaction.atomic():
            return services.record_webhook(source="linear", delivery_id=delivery_id, body=body)

    return record


def test_twelve_identical_webhooks_at_once_are_one() -> None:
    outcomes = at_once(*[webhook()] * 12)
    (kept,) = [outcome for outcome in outcomes if outcome is not None]
    assert InboundWebhook.objects.get().pk == kept


def test_the_same_body_under_twelve_delivery_ids_is_one() -> None:
    outcomes = at_once(*[webhook(f"d-{number}") for number in range(12)])
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert InboundWebhook.objects.count() == 1


def test_a_webhook_whose_work_failed_is_not_a_duplicate_when_it_comes_again() -> None:
    def record_and_fail() -> None:
        with transaction.atomic():
            webhook()()
            raise RuntimeError("the work failed")

    with pytest.raises(RuntimeError):
        record_and_fail()
    assert webhook()() is not None


def test_one_interrupt_captured_six_times_at_once_opens_one_request() -> None:
    asked: dict[str, Any] = {"workflow_id": "w", "thread_id": "t", "agent_name": "cicd"}
    outcomes = at_once(*[lambda: services.open_request(task=DEPLOY, interrupt_id="i", **asked)] * 6)
    assert {outcome.request_id for outcome in outcomes} == {ApprovalRequest.objects.get().pk}
    assert AuditEntry.objects.count() == 1


def test_a_twin_inside_a_transaction_of_the_caller_leaves_it_usable() -> None:
    first = opened(interrupt_id="i")
    with transaction.atomic():
        again = services.open_request(
            task=DEPLOY, interrupt_id="i", workflow_id="w-1", thread_id="t-1", agent_name="cicd"
        )
        assert again.request_id == first
        later = opened(thread_id="t-2")
    assert row(later).status == "pending"


def test_twelve_workers_claim_different_rows() -> None:
    for number in range(5):
        opened(thread_id=f"t-{number}")
    rows = Delivery.objects.filter(channel="linear")
    outcomes = at_once(*[lambda: outbox.claim(Delivery, "linear")] * 12)
    claimed = [outcome.pk for outcome in outcomes if outcome is not None]
    assert all(not isinstance(outcome, Exception) for outcome in outcomes)
    assert len(claimed) == len(set(claimed))
    while (one := outbox.claim(Delivery, "linear")) is not None:
        claimed.append(one.pk)
    assert sorted(claimed) == sorted(rows.values_list("pk", flat=True))


def test_a_row_that_somebody_writes_is_passed_over_and_not_waited_for() -> None:
    first, second = opened(), opened(thread_id="t-2")
    rows = Delivery.objects.filter(channel="linear")
    with transaction.atomic():
        rows.select_for_update().get(request_id=first)
        (claimed,) = at_once(lambda: outbox.claim(Delivery, "linear"))
    assert claimed.request_id == second


def test_votes_while_a_channel_is_at_work_are_all_told(channels: Mapping[str, Notebook]) -> None:
    request_id = opened(DELETE)
    voters = [manager("grace"), manager("linus")]

    def answer(request: Any, since: Any) -> Receipt:
        # Real people, on connections of their own, while the channel is busy elsewhere.
        if voters:
            at_once(vote(request_id, voters.pop(), Choice.APPROVE))
        return Receipt(issue(request))

    channels["linear"].answer = answer
    while outbox.deliver_next("linear"):
        pass
    told = [name for since in channels["linear"].told for name in since]
    assert [name for name in told if not name.startswith("delivery.")] == [
        *("request.opened", "vote.cast", "vote.cast", "request.approved")
    ]
    last, _ = channels["linear"].calls[-1]
    assert last.status == "approved"


def test_a_channel_works_outside_of_any_transaction(channels: Mapping[str, Notebook]) -> None:
    opened()
    seen: list[bool] = []

    def answer(request: Any, _: Any) -> Receipt:
        seen.append(connection.in_atomic_block)
        return Receipt(issue(request))

    channels["linear"].answer = answer
    assert outbox.deliver_next("linear")
    assert seen == [False]


def test_entries_of_one_request_by_many_writers_have_no_gaps() -> None:
    request_id = opened(DELETE)
    strangers = [person(f"s{number}") for number in range(8)]
    at_once(*[vote(request_id, stranger, Choice.APPROVE) for stranger in strangers])
    numbers = AuditEntry.objects.filter(stream=request_id).values_list("number", flat=True)
    assert sorted(numbers) == list(range(1, 10))
    assert list(broken_links()) == []
