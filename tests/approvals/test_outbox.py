"""Owed work is delivered until it is done: claims, back-off, giving up, pauses."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import outbox, services
from approvals.clock import clock
from approvals.core.events import Event, Receipt, Snapshot
from approvals.core.lifecycle import Choice, Status
from approvals.errors import NotAllowed
from approvals.models import Delivery
from tests.approvals.channels import Answer, Notebook, busy, fails, issue, meanwhile
from tests.approvals.history import fill
from tests.approvals.plans import read_in_vain
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    delivery,
    entries,
    opened,
    owed,
    person,
    row,
    vote,
    waits,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
Channels = Mapping[str, Notebook]
ODD = {"operation": "launch", "environment": "staging"}


def test_what_only_another_release_knows_of_is_passed_over(channels: Channels) -> None:
    request_id = opened()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO approvals_auditentry"
            " (stream, number, name, actor, actor_key, via, data, at, digest)"
            " VALUES (%s, 2, 'request.praised', 'ada', 'ada', 'carrier_pigeon', '{}',"
            " clock_timestamp(), '')",
            [request_id],
        )
    assert outbox.deliver_next("linear")
    vote(request_id)
    assert outbox.deliver_next("linear")
    assert channels["linear"].told == [
        ["request.opened"],
        ["delivery.succeeded", "vote.cast", "request.approved"],
    ]


def test_a_delivery_is_told_everything_once_and_remembers(channels: Channels) -> None:
    request_id = opened()
    linear = channels["linear"]
    linear.answer = lambda *_: Receipt("CHEF-7", "https://l/7", {"comment": 1})
    assert outbox.deliver_next("linear")
    assert not outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.done, found.wanted, found.told, found.attempts) == (1, 1, 1, 0)
    assert (found.reference, found.url, found.memory) == ("CHEF-7", "https://l/7", {"comment": 1})
    assert (found.lease_token, found.lease_until, found.last_error) == (None, None, "")
    assert found.delivered_at is not None
    assert (row(request_id).linear_issue_id, row(request_id).linear_issue_url) == (
        *("CHEF-7", "https://l/7"),
    )
    assert linear.told == [["request.opened"]]
    assert entries(request_id) == ["request.opened", "delivery.succeeded"]
    vote(request_id)
    assert outbox.deliver_next("linear")
    # The channel sees what happened since, the request as it is now, and what it noted.
    snapshot, since = linear.calls[1]
    assert [event.name for event in since] == [
        *("delivery.succeeded", "vote.cast", "request.approved")
    ]
    assert (snapshot.status, snapshot.memory) == (Status.APPROVED, {"comment": 1})
    assert snapshot.linear_issue_id == "CHEF-7"


def test_a_success_owes_nothing(channels: Channels) -> None:
    opened(interrupt_id="i")
    for name in channels:
        while outbox.deliver_next(name):
            pass
    assert not Delivery.objects.filter(Delivery.is_owed()).exists()
    assert len(channels["linear"].calls) == 1


def test_a_burst_is_told_in_one_go(channels: Channels) -> None:
    request_id = opened(DELETE)
    for number in range(3):
        with pytest.raises(NotAllowed):
            services.cast_vote(request_id, actor=person(f"p{number}"), choice=Choice.APPROVE)
    vote(request_id)
    assert owed(request_id)["linear"] == 5
    assert outbox.deliver_next("linear")
    assert not outbox.deliver_next("linear")
    assert channels["linear"].told == [["request.opened", *["vote.refused"] * 3, "vote.cast"]]
    assert delivery(request_id, "linear").done == 5


def test_only_the_channel_that_was_asked_for_is_served(channels: Channels) -> None:
    request_id = opened(pr_number=1, github_repo="a/b")
    assert outbox.deliver_next("github")
    assert (len(channels["github"].calls), len(channels["linear"].calls)) == (1, 0)
    assert row(request_id).linear_issue_id is None
    assert not outbox.deliver_next("unheard of")


def test_what_is_held_back_is_not_read_for_what_is_due(channels: Channels) -> None:
    """A channel that is down for hours leaves much, and its workers look every few seconds."""
    fill(2_000, statuses=("pending",))
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO approvals_delivery (request_id, channel, wanted, done, told, priority,"
            " attempts, not_before, last_error, memory, reference, url)"
            " SELECT id, 'linear', 1, 0, 0, 1, 5, clock_timestamp() + interval '1 hour', 'down',"
            " '{}', '', '' FROM approval_requests"
        )
        cursor.execute("ANALYZE approvals_delivery")
    opened()
    with CaptureQueriesContext(connection) as captured:
        assert outbox.claim(Delivery, "linear") is not None
    (asked,) = captured
    assert read_in_vain(asked["sql"], "approvals_delivery") < 10


def test_the_new_issue_is_told_to_the_pull_request(channels: Channels) -> None:
    request_id = opened(pr_number=1, github_repo="a/b")
    assert outbox.deliver_next("github")
    assert not outbox.deliver_next("github")
    assert outbox.deliver_next("linear")
    assert outbox.deliver_next("github")
    assert channels["github"].calls[1][0].linear_issue_id == row(request_id).linear_issue_id
    vote(request_id)
    assert outbox.deliver_next("linear")
    assert owed(request_id)["github"] == 3


def test_a_receipt_without_a_name_links_no_issue(channels: Channels) -> None:
    first, second = opened(), opened()
    channels["linear"].answer = lambda *_: Receipt()
    assert outbox.deliver_next("linear")
    assert outbox.deliver_next("linear")
    assert [row(request_id).linear_issue_id for request_id in (first, second)] == [None, None]


def test_the_most_severe_are_delivered_first_then_the_longest_due(channels: Channels) -> None:
    medium, high, critical, again = opened(MIGRATE), opened(ODD), opened(DEPLOY), opened(DEPLOY)
    Delivery.objects.filter(request_id=again).update(not_before=clock() - timedelta(hours=1))
    while outbox.deliver_next("linear"):
        pass
    told = [snapshot.id for snapshot, _ in channels["linear"].calls]
    assert told == [again, critical, high, medium]


def test_what_is_raised_while_the_work_succeeds_is_told_next(channels: Channels) -> None:
    request_id = opened(DELETE)
    channels["linear"].answer = meanwhile(vote)
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.wanted, found.done, found.told) == (2, 1, 1)
    channels["linear"].answer = lambda request, _: Receipt(issue(request))
    assert outbox.deliver_next("linear")
    assert not outbox.deliver_next("linear")
    assert channels["linear"].told == [["request.opened"], ["vote.cast", "delivery.succeeded"]]


@pytest.mark.parametrize("outcome", ["succeeds", "fails", "gives up", "is busy"])
def test_a_nudge_while_the_work_goes_on_is_not_lost(channels: Channels, outcome: str) -> None:
    request_id = opened()
    then = {
        "succeeds": None,
        "fails": fails(),
        "gives up": fails(permanent=True),
        "is busy": busy,
    }[outcome]
    channels["linear"].answer = meanwhile(lambda _: outbox.nudge(request_id, "linear"), then)
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.wanted, found.gave_up_at, found.lease_token) == (2, None, None)
    assert found.done < found.wanted
    assert waits(request_id) <= outbox.BUSY_SECONDS


def test_a_nudge_owes_one_more_look_although_nothing_happened(channels: Channels) -> None:
    request_id = opened()
    assert outbox.deliver_next("linear")
    outbox.nudge(request_id, "linear")
    assert outbox.deliver_next("linear")
    assert not outbox.deliver_next("linear")
    assert channels["linear"].told == [["request.opened"], ["delivery.succeeded"]]


def test_the_claim_is_a_lease_and_holds_others_off() -> None:
    opened()
    claimed = outbox.claim(Delivery, "linear", lease_seconds=30)
    assert claimed is not None
    assert claimed.lease_token is not None
    left = claimed.lease_until - clock()  # type: ignore[operator]
    assert 29 < left.total_seconds() <= 30
    assert outbox.claim(Delivery, "linear") is None


def test_a_lease_that_ran_out_is_taken_over_and_the_first_holder_has_lost_it() -> None:
    request_id = opened()
    rows = Delivery.objects.filter(channel="linear")
    first = outbox.claim(Delivery, "linear")
    assert first is not None
    rows.update(lease_until=clock() - timedelta(seconds=1))
    second = outbox.claim(Delivery, "linear")
    assert second is not None
    assert second.lease_token != first.lease_token
    assert outbox.settle(first, done=first.wanted) is False
    assert delivery(request_id, "linear").done == 0
    assert outbox.settle(second, done=second.wanted) is True
    found = delivery(request_id, "linear")
    assert (found.done, found.lease_token, found.lease_until) == (1, None, None)
    assert outbox.settle(second, done=0) is False
    assert delivery(request_id, "linear").done == 1


@pytest.mark.parametrize("then", [None, fails(), fails(permanent=True), busy])
def test_who_lost_the_claim_writes_nothing(channels: Channels, then: Answer | None) -> None:
    request_id = opened(pr_number=1, github_repo="a/b")
    stolen = {"lease_token": UUID(int=7), "lease_until": clock() + timedelta(hours=1)}

    def steal(_: UUID) -> None:
        Delivery.objects.filter(request_id=request_id, channel="linear").update(**stolen)

    channels["linear"].answer = meanwhile(steal, then)
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.lease_token, found.done, found.attempts) == (UUID(int=7), 0, 0)
    assert (found.gave_up_at, found.last_error, found.reference) == (None, "", "")
    assert row(request_id).linear_issue_id is None
    assert entries(request_id) == ["request.opened"]
    assert owed(request_id)["github"] == 1


def lease_ends_in(request_id: UUID, channel: str) -> float:
    """The seconds that are left of a delivery's lease."""
    found = delivery(request_id, channel)
    assert found.lease_until is not None
    return (found.lease_until - clock()).total_seconds()


def test_the_lease_is_renewed_for_each_call_outside(channels: Channels) -> None:
    request_id = opened()
    seen = []

    def call(snapshot: Snapshot, _: Sequence[Event]) -> Receipt:
        soon = clock() + timedelta(seconds=1)
        Delivery.objects.filter(request_id=request_id).update(lease_until=soon)
        outbox.keep_lease()
        seen.append(lease_ends_in(request_id, "linear"))
        return Receipt(issue(snapshot))

    channels["linear"].answer = call
    assert outbox.deliver_next("linear")
    assert outbox.LEASE_SECONDS - 5 < seen[0] <= outbox.LEASE_SECONDS
    # What is held is held no longer than the delivery lasts.
    outbox.keep_lease()


def test_who_lost_the_lease_makes_no_further_call(channels: Channels) -> None:
    request_id = opened()
    called = []

    def call(_: Snapshot, __: Sequence[Event]) -> Receipt:
        Delivery.objects.filter(request_id=request_id).update(lease_token=UUID(int=7))
        outbox.keep_lease()
        called.append("too late")
        return Receipt()

    channels["linear"].answer = call
    assert outbox.deliver_next("linear")
    assert called == []
    assert delivery(request_id, "linear").lease_token == UUID(int=7)
    assert entries(request_id) == ["request.opened"]


def test_the_calls_of_an_action_hang_on_no_lease(channels: Channels) -> None:
    request_id = opened(interrupt_id="i")
    vote(request_id)

    def act(_: Snapshot, __: Sequence[Event]) -> Receipt:
        # Who finds the lease over finds the thread locked, so the action may go on.
        Delivery.objects.filter(request_id=request_id).update(lease_token=UUID(int=7))
        outbox.keep_lease()
        return Receipt()

    channels["workflow"].answer = act
    assert outbox.deliver_next("workflow")


@pytest.mark.parametrize(
    "held_back",
    [
        {"done": 1},
        {"not_before": "later"},
        {"gave_up_at": "now"},
        {"lease_until": "later"},
    ],
)
def test_what_is_done_held_back_given_up_or_leased_is_not_claimed(
    held_back: dict[str, Any],
) -> None:
    opened()
    times = {"now": clock(), "later": clock() + timedelta(minutes=1)}
    rows = Delivery.objects.filter(channel="linear")
    rows.update(**{field: times.get(str(v), v) for field, v in held_back.items()})
    assert outbox.claim(Delivery, "linear") is None


def test_the_request_is_never_older_than_what_is_told_about_it(channels: Channels) -> None:
    request_id = opened()
    read: list[str] = []

    def vote_in_between(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        table = re.search(r'FROM "(approval_requests|approvals_auditentry)"', sql)
        if table and not read:
            read.append(table[1])
            rows = context["cursor"].fetchall()
            vote(request_id)
            context["cursor"].execute(sql, params)
            assert len(rows) == 1
        return result

    with connection.execute_wrapper(vote_in_between):
        outbox.deliver_next("linear")
    assert read == ["approvals_auditentry"]
    snapshot, since = channels["linear"].calls[0]
    assert (snapshot.status, since[-1].name) == (Status.APPROVED, "request.approved")


def test_a_chat_that_nobody_knows_hears_only_of_the_end(channels: Channels) -> None:
    request_id = opened(DELETE)
    vote(request_id)
    assert not outbox.deliver_next("chat")
    vote(request_id, "linus")
    assert outbox.deliver_next("chat")
    snapshot, since = channels["chat"].calls[0]
    assert snapshot.status is Status.APPROVED
    assert since[-1].name == "request.approved"


def test_a_delivery_costs_the_same_however_many_wait(django_assert_max_num_queries: Any) -> None:
    for count in (1, 30):
        for number in range(count):
            opened(thread_id=f"{count}-{number}")
        with django_assert_max_num_queries(1):
            assert outbox.claim(Delivery, "linear")
        # One of them lets the issue's name find the request.
        with django_assert_max_num_queries(14):
            outbox.deliver_next("linear")
