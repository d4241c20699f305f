"""Owed work is delivered until it is done: claims, back-off, giving up, pauses."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from approvals import outbox, services
from approvals.audit import SYSTEM, broken_links
from approvals.core.events import ChannelBusy, ChannelError, Event, Receipt, Snapshot
from approvals.core.lifecycle import Choice, Status
from approvals.errors import InvalidInput, NotAllowed, RequestNotFound
from approvals.models import AuditEntry, ChannelPause, Delivery
from tests.approvals.channels import Answer, Notebook, issue
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    delivery,
    entries,
    manager,
    opened,
    owed,
    person,
    row,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
Channels = Mapping[str, Notebook]
ODD = {"operation": "launch", "environment": "staging"}


def fails(sentence: str = "The door is shut.", **facts: Any) -> Answer:
    def answer(request: Snapshot, since: Sequence[Event]) -> Receipt:
        raise ChannelError(sentence, **facts)

    return answer


def busy(request: Snapshot, since: Sequence[Event]) -> Receipt:
    raise ChannelBusy


def meanwhile(work: Any, then: Answer | None = None) -> Answer:
    """Something happens while the channel is at work."""

    def answer(request: Snapshot, since: Sequence[Event]) -> Receipt:
        work(request.id)
        return then(request, since) if then else Receipt(issue(request), "https://l/1")

    return answer


def vote(request_id: UUID, name: str = "grace", choice: Choice = Choice.APPROVE) -> None:
    services.cast_vote(request_id, actor=manager(name), choice=choice)


def due(request_id: UUID, channel: str = "linear") -> None:
    """Let the wait of a delivery be over."""
    Delivery.objects.filter(request_id=request_id, channel=channel).update(
        not_before=outbox.clock() - timedelta(seconds=1)
    )


def waits(request_id: UUID, channel: str = "linear") -> float:
    """Seconds until the delivery may be tried."""
    return (delivery(request_id, channel).not_before - outbox.clock()).total_seconds()


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
    assert outbox.owing_channels() == []
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
    assert set(outbox.owing_channels()) == {"linear", "github"}
    assert outbox.deliver_next("github")
    assert (len(channels["github"].calls), len(channels["linear"].calls)) == (1, 0)
    assert row(request_id).linear_issue_id is None
    assert not outbox.deliver_next("unheard of")


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
    Delivery.objects.filter(request_id=again).update(not_before=outbox.clock() - timedelta(hours=1))
    while outbox.deliver_next("linear"):
        pass
    told = [snapshot.id for snapshot, _ in channels["linear"].calls]
    assert told == [again, critical, high, medium]


def test_a_failure_is_kept_waits_and_heals(channels: Channels) -> None:
    request_id = opened()
    linear = channels["linear"]
    linear.answer, works = fails("The door is shut.", memory={"draft": 1}), linear.answer
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.attempts, found.last_error, found.done) == (1, "The door is shut.", 0)
    assert (found.lease_token, found.gave_up_at, found.memory) == (None, None, {"draft": 1})
    assert 0 < waits(request_id) < 4
    # Not due yet, whoever asks.
    assert not outbox.deliver_next("linear")
    due(request_id)
    linear.answer = works
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.attempts, found.last_error, found.done) == (0, "", 1)
    assert linear.calls[1][0].memory == {"draft": 1}
    assert linear.told == [["request.opened"], ["request.opened", "delivery.failed"]]


def test_the_back_off_grows_to_a_bound_and_repeats_are_counted_not_logged(
    channels: Channels,
) -> None:
    request_id = opened()
    channels["linear"].answer = fails()
    seen = []
    for _ in range(14):
        assert outbox.deliver_next("linear")
        seen.append(waits(request_id))
        due(request_id)
    for number, wait in enumerate(seen, start=1):
        usual = min(outbox.MAX_WAIT_SECONDS, 2.0**number)
        assert 0.7 * usual - 1 < wait <= 1.25 * usual
    assert seen[0] < 3 < seen[2] < 11 < seen[4] < 41 < seen[6]
    assert delivery(request_id, "linear").attempts == 14
    assert entries(request_id) == ["request.opened", "delivery.failed"]


def test_after_the_bound_it_stops_visibly(channels: Channels) -> None:
    request_id = opened()
    channels["linear"].answer = fails()
    Delivery.objects.update(attempts=outbox.MAX_ATTEMPTS - 1)
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert found.gave_up_at is not None
    assert found.attempts == outbox.MAX_ATTEMPTS
    due(request_id)
    assert not outbox.deliver_next("linear")
    assert outbox.owing_channels() == []
    assert entries(request_id) == ["request.opened", "delivery.gave_up"]
    assert AuditEntry.objects.get(name="delivery.gave_up").data == {
        "channel": "linear",
        "error": "The door is shut.",
    }


def test_the_bound_covers_more_than_a_day() -> None:
    waits_for = [min(outbox.MAX_WAIT_SECONDS, 2.0**n) for n in range(1, outbox.MAX_ATTEMPTS)]
    assert sum(waits_for) > 24 * 3600


def test_a_permanent_failure_gives_up_at_once(channels: Channels) -> None:
    request_id = opened()
    channels["linear"].answer = fails("There is no team CHEF.", permanent=True)
    assert outbox.deliver_next("linear")
    assert delivery(request_id, "linear").gave_up_at is not None
    assert not outbox.deliver_next("linear")
    assert entries(request_id)[1:] == ["delivery.gave_up"]


@pytest.mark.parametrize("sentence", ["<html>\x00</html>", "\ud800", "x" * 100_000])
def test_whatever_a_channel_complains_of_can_be_kept(channels: Channels, sentence: str) -> None:
    request_id = opened()
    channels["linear"].answer = fails(sentence)
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert found.attempts == 1
    assert 0 < len(found.last_error) <= 2000


@pytest.mark.parametrize("permanent", [False, True])
def test_what_is_raised_while_the_work_fails_is_due_at_once_and_not_given_up(
    channels: Channels, permanent: bool
) -> None:
    request_id = opened(DELETE)
    Delivery.objects.update(attempts=20)
    channels["linear"].answer = meanwhile(vote, fails(permanent=permanent))
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.gave_up_at, found.attempts) == (None, 0)
    assert waits(request_id) <= 0
    assert "delivery.gave_up" not in entries(request_id)
    channels["linear"].answer = lambda request, _: Receipt(issue(request))
    assert outbox.deliver_next("linear")
    assert channels["linear"].told[-1].count("vote.cast") == 1
    assert list(broken_links()) == []


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


def test_busy_is_soon_again_and_no_failed_attempt(channels: Channels) -> None:
    request_id = opened()
    channels["linear"].answer = busy
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.attempts, found.last_error, found.lease_token) == (0, "", None)
    assert 0 < waits(request_id) <= outbox.BUSY_SECONDS
    assert entries(request_id) == ["request.opened"]


def test_a_rate_limit_pauses_the_channel_and_no_other(channels: Channels) -> None:
    limited, other = opened(DEPLOY, pr_number=1, github_repo="a/b"), opened()
    channels["linear"].answer = fails(retry_after=600)
    assert outbox.deliver_next("linear")
    assert not outbox.deliver_next("linear")
    assert outbox.deliver_next("github")
    assert delivery(other, "linear").attempts == 0
    assert 590 < waits(limited) <= 600
    ChannelPause.objects.update(until_at=outbox.clock())
    channels["linear"].answer = lambda request, _: Receipt(issue(request))
    assert outbox.deliver_next("linear")
    assert channels["linear"].calls[-1][0].id == other


def paused_for(channel: str = "linear") -> float:
    until_at = ChannelPause.objects.get(channel=channel).until_at
    return (until_at - outbox.clock()).total_seconds()


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [(0.0, -5, 0.1), (-50, -60, 0.1), (600, 590, 600), (1e18, 7190, 7200), (1e400, 7190, 7200)],
)
def test_a_channel_cannot_pause_itself_for_ever(
    channels: Channels, retry_after: float, least: float, most: float
) -> None:
    request_id = opened()
    channels["linear"].answer = fails(retry_after=retry_after)
    assert outbox.deliver_next("linear")
    assert least < paused_for() <= most
    assert waits(request_id) <= max(most, 3)


def test_a_pause_is_never_shortened(channels: Channels) -> None:
    for seconds in (600, 5, 900):
        outbox.pause("linear", outbox.clock() + timedelta(seconds=seconds))
        assert paused_for() > 590
    assert paused_for() > 890


def test_the_claim_is_a_lease_and_holds_others_off() -> None:
    opened()
    rows = Delivery.objects.filter(channel="linear")
    claimed = outbox.claim(rows, lease_seconds=30)
    assert claimed is not None
    assert claimed.lease_token is not None
    left = claimed.lease_until - outbox.clock()  # type: ignore[operator]
    assert 29 < left.total_seconds() <= 30
    assert outbox.claim(rows) is None


def test_a_lease_that_ran_out_is_taken_over_and_the_first_holder_has_lost_it() -> None:
    request_id = opened()
    rows = Delivery.objects.filter(channel="linear")
    first = outbox.claim(rows)
    assert first is not None
    rows.update(lease_until=outbox.clock() - timedelta(seconds=1))
    second = outbox.claim(rows)
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
    stolen = {"lease_token": UUID(int=7), "lease_until": outbox.clock() + timedelta(hours=1)}

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
    times = {"now": outbox.clock(), "later": outbox.clock() + timedelta(minutes=1)}
    rows = Delivery.objects.filter(channel="linear")
    rows.update(**{field: times.get(str(v), v) for field, v in held_back.items()})
    assert outbox.claim(rows) is None


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


def test_an_operator_gives_a_delivery_another_chance(channels: Channels) -> None:
    request_id = opened()
    channels["linear"].answer = fails(permanent=True)
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    services.retry_delivery(found.pk, actor=person("op", "operators"), reason="Team was renamed.")
    found = delivery(request_id, "linear")
    assert (found.gave_up_at, found.attempts) == (None, 0)
    assert entries(request_id)[2:] == ["delivery.retried"]
    entry = AuditEntry.objects.get(name="delivery.retried")
    assert (entry.actor, entry.data) == ("op", {"channel": "linear", "reason": "Team was renamed."})
    channels["linear"].answer = lambda request, _: Receipt(issue(request))
    assert outbox.deliver_next("linear")
    assert delivery(request_id, "linear").done == 2


def test_what_was_told_may_be_told_again(channels: Channels) -> None:
    request_id = opened()
    assert outbox.deliver_next("linear")
    services.retry_delivery(
        delivery(request_id, "linear").pk, actor=person("op", "operators"), reason=""
    )
    assert outbox.deliver_next("linear")
    assert len(channels["linear"].calls) == 2


def test_only_an_operator_may_retry_and_only_what_exists() -> None:
    found = delivery(opened(), "linear")
    for actor in (manager("grace"), SYSTEM):
        with pytest.raises(NotAllowed, match="Only an operator"):
            services.retry_delivery(found.pk, actor=actor, reason="")
    operator = person("op", "operators")
    with pytest.raises(RequestNotFound):
        services.retry_delivery(found.pk + 1_000_000, actor=operator, reason="")
    with pytest.raises(InvalidInput):
        services.retry_delivery(found.pk, actor=operator, reason="\x00")
    assert not AuditEntry.objects.filter(name="delivery.retried").exists()


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
        with django_assert_max_num_queries(6):
            assert outbox.claim(Delivery.objects.filter(channel="linear"))
        with django_assert_max_num_queries(18):
            outbox.deliver_next("linear")
