"""Who may decide what, and what their votes lead to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.core.lifecycle import (
    CASUAL,
    Accepted,
    Actor,
    Choice,
    Policy,
    Reason,
    Refused,
    Standing,
    Status,
    Via,
    decide,
    refusal,
)
from approvals.core.risk import Risk

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = Policy("platform", ("platform", "release-managers"), 1, 3600, 3600, False)
STANDING = Standing(
    status=Status.PENDING,
    risk_level=Risk.HIGH,
    policy=POLICY,
    expires_at=NOW + timedelta(hours=1),
    requested_by="ada",
    opened_by_id=7,
)
GRACE = Actor(name="grace", via=Via.WEB, user_id=1, groups=frozenset({"platform"}))
FINAL = [status for status in Status if status is not Status.PENDING]


def member(user_id: int) -> Actor:
    return replace(GRACE, name=f"person{user_id}", user_id=user_id)


def why(standing: Standing, actor: Actor, now: datetime = NOW) -> Reason | None:
    """The reason code by which a vote of either kind is refused."""
    refused = refusal(standing, actor, now)
    for choice in Choice:
        outcome = decide(standing, actor, choice, now)
        assert outcome == refused if refused else isinstance(outcome, Accepted)
    return refused.reason if refused else None


def test_a_member_of_one_of_the_groups_may_vote() -> None:
    assert why(STANDING, GRACE) is None
    assert why(STANDING, replace(GRACE, groups=frozenset({"release-managers", "other"}))) is None


@pytest.mark.parametrize("status", FINAL)
def test_nobody_votes_on_what_is_final(status: Status) -> None:
    assert why(replace(STANDING, status=status), GRACE) is Reason.ALREADY_DECIDED


@pytest.mark.parametrize(
    ("late_by", "reason"),
    [
        (timedelta(microseconds=-1), None),
        (timedelta(0), Reason.EXPIRED),
        (timedelta(microseconds=1), Reason.EXPIRED),
        (timedelta(days=400), Reason.EXPIRED),
    ],
)
def test_the_deadline_itself_is_too_late(late_by: timedelta, reason: Reason | None) -> None:
    assert why(STANDING, GRACE, STANDING.expires_at + late_by) is reason


def test_the_deadline_holds_in_every_zone() -> None:
    elsewhere = STANDING.expires_at.astimezone(tz=None)
    assert why(replace(STANDING, expires_at=elsewhere), GRACE, NOW) is None


@pytest.mark.parametrize(
    ("actor", "reason"),
    [
        (replace(GRACE, user_id=None), Reason.UNKNOWN_PERSON),
        (replace(GRACE, user_id=None, operator=True), Reason.UNKNOWN_PERSON),
        (replace(GRACE, active=False), Reason.INACTIVE),
        (replace(GRACE, groups=frozenset()), Reason.NOT_IN_GROUP),
        (replace(GRACE, groups=frozenset({"Platform"})), Reason.NOT_IN_GROUP),
        (replace(GRACE, groups=frozenset({"developers"})), Reason.NOT_IN_GROUP),
        (replace(GRACE, groups=frozenset(), operator=True), Reason.NOT_IN_GROUP),
        (replace(GRACE, user_id=7), Reason.REQUESTER),
    ],
)
def test_who_may_not_decide_is_told_why(actor: Actor, reason: Reason) -> None:
    assert why(STANDING, actor) is reason


@pytest.mark.parametrize(
    ("requested_by", "aliases"),
    [
        ("grace", {"grace"}),
        ("Grace", {"grace"}),
        ("grace@example.com", {"grace", "Grace@Example.com"}),
        ("Grace Hopper", {"grace", "grace hopper"}),
        ("  grace ", {"grace"}),
        ("grace", {" Grace "}),
    ],
)
def test_whoever_asked_is_known_by_name_or_email(requested_by: str, aliases: set[str]) -> None:
    actor = replace(GRACE, aliases=frozenset(aliases))
    assert why(replace(STANDING, requested_by=requested_by), actor) is Reason.REQUESTER
    allowed = replace(
        STANDING, requested_by=requested_by, policy=replace(POLICY, requester_may_decide=True)
    )
    assert why(allowed, actor) is None


def test_whoever_opened_it_for_somebody_else_has_asked_too() -> None:
    assert why(replace(STANDING, opened_by_id=1), GRACE) is Reason.REQUESTER
    allowed = replace(POLICY, requester_may_decide=True)
    assert why(replace(STANDING, opened_by_id=1, policy=allowed), GRACE) is None


def test_a_request_of_the_gateway_itself_excludes_nobody() -> None:
    assert why(replace(STANDING, opened_by_id=None, requested_by="gateway"), GRACE) is None


@pytest.mark.parametrize("via", Via)
@pytest.mark.parametrize("risk", Risk)
def test_a_word_in_a_thread_never_decides_a_critical_request(risk: Risk, via: Via) -> None:
    refused = why(replace(STANDING, risk_level=risk), replace(GRACE, via=via))
    casual = risk is Risk.CRITICAL and via in CASUAL
    assert refused is (Reason.CASUAL_CHANNEL if casual else None)


def test_comments_and_reactions_are_the_casual_ways() -> None:
    assert {Via.LINEAR_COMMENT, Via.LINEAR_REACTION} == CASUAL


@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_is_a_sentence_for_the_person(reason: Reason) -> None:
    cases = {
        Reason.ALREADY_DECIDED: (replace(STANDING, status=Status.EXPIRED), GRACE, NOW),
        Reason.EXPIRED: (STANDING, GRACE, STANDING.expires_at),
        Reason.UNKNOWN_PERSON: (STANDING, replace(GRACE, user_id=None), NOW),
        Reason.INACTIVE: (STANDING, replace(GRACE, active=False), NOW),
        Reason.REQUESTER: (STANDING, replace(GRACE, user_id=7), NOW),
        Reason.NOT_IN_GROUP: (STANDING, replace(GRACE, groups=frozenset()), NOW),
        Reason.CASUAL_CHANNEL: (
            replace(STANDING, risk_level=Risk.CRITICAL),
            replace(GRACE, via=Via.LINEAR_COMMENT),
            NOW,
        ),
    }
    refused = refusal(*cases[reason])
    assert refused is not None
    assert refused.reason is reason
    assert refused.sentence.endswith(".")
    assert refused.sentence[0].isupper() or refused.sentence.startswith("grace")


@pytest.mark.parametrize(
    ("quorum", "votes", "choice", "status", "approvals", "changed"),
    [
        (1, {}, Choice.APPROVE, Status.APPROVED, 1, True),
        (1, {}, Choice.REJECT, Status.REJECTED, 0, True),
        (2, {}, Choice.APPROVE, Status.PENDING, 1, True),
        (2, {2: Choice.APPROVE}, Choice.APPROVE, Status.APPROVED, 2, True),
        (2, {2: Choice.APPROVE}, Choice.REJECT, Status.REJECTED, 1, True),
        # The same person twice is still one person.
        (2, {1: Choice.APPROVE}, Choice.APPROVE, Status.PENDING, 1, False),
        # They may change their mind while it is pending.
        (2, {1: Choice.APPROVE}, Choice.REJECT, Status.REJECTED, 0, True),
        (3, {1: Choice.APPROVE, 2: Choice.APPROVE}, Choice.APPROVE, Status.PENDING, 2, False),
        (3, {2: Choice.APPROVE, 3: Choice.APPROVE}, Choice.APPROVE, Status.APPROVED, 3, True),
        (3, {2: Choice.APPROVE, 3: Choice.APPROVE}, Choice.REJECT, Status.REJECTED, 2, True),
    ],
)
def test_one_reject_rejects_and_the_quorum_approves(
    quorum: int,
    votes: dict[int, Choice],
    choice: Choice,
    status: Status,
    approvals: int,
    changed: bool,
) -> None:
    standing = replace(STANDING, policy=replace(POLICY, quorum=quorum), votes=votes)
    assert decide(standing, GRACE, choice, NOW) == Accepted(status, approvals, changed)


@settings(max_examples=40)
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from(Choice)), max_size=12),
)
def test_it_is_approved_exactly_when_a_quorum_of_different_people_approves_unopposed(
    quorum: int, cast: list[tuple[int, Choice]]
) -> None:
    standing = replace(STANDING, policy=replace(POLICY, quorum=quorum), opened_by_id=None)
    for voter, choice in cast:
        outcome = decide(standing, member(voter), choice, NOW)
        if standing.status is not Status.PENDING:
            assert isinstance(outcome, Refused)
            continue
        assert isinstance(outcome, Accepted)
        votes = {**standing.votes, voter: choice}
        standing = replace(standing, status=outcome.status, votes=votes)
    people = {voter for voter, choice in standing.votes.items() if choice is Choice.APPROVE}
    rejected = Choice.REJECT in standing.votes.values()
    assert (standing.status is Status.REJECTED) == rejected
    assert (standing.status is Status.APPROVED) == (len(people) >= quorum and not rejected)


def test_an_identity_tells_people_apart() -> None:
    assert GRACE.identity == "user:1"
    outsider = Actor(name="somebody", via=Via.LINEAR_MOVE, key="linear:abc")
    assert outsider.identity == "linear:abc"
    assert Actor(name="somebody", via=Via.LINEAR_MOVE).identity == "somebody"
