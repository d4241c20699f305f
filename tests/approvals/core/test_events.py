"""Which channel must learn of which event."""

import pytest

from approvals.core.events import CONCERNS, EventName, concerned_channels, event_of
from approvals.core.lifecycle import Status

ALL = ["workflow", "github", "linear", "chat"]
RESOLVED = [f"request.{status}" for status in ("approved", "rejected", "expired", "cancelled")]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("request.opened", ["github", "linear"]),
        ("vote.cast", ["linear"]),
        ("vote.refused", ["linear"]),
        *((name, ALL) for name in (*RESOLVED, "request.superseded")),
        ("request.not_required", []),
        ("request.resume_refused", []),
        ("run.settled", []),
        ("execution.finished", []),
    ],
)
def test_each_event_concerns_exactly_these_channels(name: str, channels: list[str]) -> None:
    assert concerned_channels(EventName(name), ALL) == channels


@pytest.mark.parametrize("name", [name for name in EventName if name.startswith("delivery.")])
def test_a_delivery_never_owes_a_delivery(name: EventName) -> None:
    assert concerned_channels(name, ALL) == []


def test_every_channel_learns_of_every_end() -> None:
    ends = {EventName(name) for name in (*RESOLVED, "request.superseded")}
    assert all(ends <= concerned for concerned in CONCERNS.values())


def test_every_status_is_come_to_by_one_event() -> None:
    assert [event_of(status) for status in Status] == [
        *("request.opened", *RESOLVED, "request.superseded")
    ]


def test_names_are_dotted_and_past_tense() -> None:
    assert all(name.count(".") == 1 and name.islower() for name in EventName)
