"""A delivery that fails waits, heals or stops visibly, and loses nothing meanwhile."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from approvals import outbox, services
from approvals.audit import SYSTEM, broken_links
from approvals.clock import clock
from approvals.core.events import Receipt
from approvals.errors import DeliveryNotFound, InvalidInput, NotAllowed
from approvals.models import AuditEntry, ChannelPause, Delivery
from tests.approvals.channels import Notebook, busy, fails, issue, meanwhile
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    delivery,
    due,
    entries,
    manager,
    opened,
    person,
    switched_off,
    vote,
    waits,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
Channels = Mapping[str, Notebook]
ODD = {"operation": "launch", "environment": "staging"}


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
    ChannelPause.objects.update(until_at=clock())
    channels["linear"].answer = lambda request, _: Receipt(issue(request))
    assert outbox.deliver_next("linear")
    assert channels["linear"].calls[-1][0].id == other


def paused_for(channel: str = "linear") -> float:
    until_at = ChannelPause.objects.get(channel=channel).until_at
    return (until_at - clock()).total_seconds()


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
        outbox.pause("linear", clock() + timedelta(seconds=seconds))
        assert paused_for() > 590
    assert paused_for() > 890


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
    for actor in (manager("grace"), SYSTEM, switched_off("off", "operators")):
        with pytest.raises(NotAllowed, match="Only an operator"):
            services.retry_delivery(found.pk, actor=actor, reason="")
    operator = person("op", "operators")
    with pytest.raises(DeliveryNotFound):
        services.retry_delivery(found.pk + 1_000_000, actor=operator, reason="")
    with pytest.raises(InvalidInput):
        services.retry_delivery(found.pk, actor=operator, reason="\x00")
    assert not AuditEntry.objects.filter(name="delivery.retried").exists()


def test_a_worker_that_dies_every_time_is_counted_and_gives_up(channels: Channels) -> None:
    request_id = opened()
    Delivery.objects.update(lease_until="2020-01-01T00:00:00Z", attempts=3)
    channels["linear"].answer = fails()
    assert outbox.deliver_next("linear")
    assert delivery(request_id, "linear").attempts == 5
    Delivery.objects.update(
        lease_until="2020-01-01T00:00:00Z",
        attempts=outbox.MAX_ATTEMPTS - 1,
        not_before="2020-01-01T00:00:00Z",
    )
    calls = len(channels["linear"].calls)
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert found.gave_up_at is not None
    assert "died every time" in found.last_error
    assert len(channels["linear"].calls) == calls
