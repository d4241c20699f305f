"""What earlier releases have frozen as JSON can still be read, and means the same."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approvals.core.lifecycle import Policy
from approvals.core.risk import Match, Risk
from approvals.models import ApprovalRequest
from tests.approvals.scenes import opened, row

# As rows in installations hold them. A release may add to what it writes, never to what it needs:
# whoever gives a frozen class another field gives it the default that these rows stand for.
POLICY: dict[str, Any] = {
    "name": "critical",
    "groups": ["release-managers"],
    "quorum": 2,
    "expires_after_seconds": 14400,
    "execute_within_seconds": 86400,
    "requester_may_decide": False,
}
MATCH: dict[str, Any] = {"rule": "production", "risk_level": "critical", "reason": "It is live."}
NOW = datetime(2026, 7, 1, tzinfo=UTC)


def request(**facts: Any) -> ApprovalRequest:
    """A request as the first release wrote it."""
    return ApprovalRequest(
        task={"operation": "deploy"},
        risk_level="critical",
        matches=[MATCH],
        policy=POLICY,
        expires_at=NOW + timedelta(hours=4),
        **facts,
    )


def test_the_policy_and_the_matches_of_the_first_release_are_read() -> None:
    assert request().frozen_policy == Policy(
        name="critical",
        groups=("release-managers",),
        quorum=2,
        expires_after_seconds=14400,
        execute_within_seconds=86400,
        requester_may_decide=False,
    )
    assert request().reasons == (Match("production", Risk.CRITICAL, "It is live."),)


def test_a_policy_with_what_this_release_does_not_know_decides_nothing() -> None:
    """It may say that more is needed: to pass over it would let less be enough."""
    stricter = request()
    stricter.policy = {**POLICY, "needs_two_groups": True}
    with pytest.raises(TypeError, match="needs_two_groups"):
        _ = stricter.frozen_policy


@pytest.mark.django_db
def test_what_is_frozen_now_is_what_was_frozen_then(channels: Any) -> None:
    made = row(opened())
    assert set(made.policy) == set(POLICY)
    assert [set(match) for match in made.matches] == [set(MATCH)] * len(made.matches)
