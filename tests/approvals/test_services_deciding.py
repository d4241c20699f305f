"""Every way a request may end: rows, audit entries, owed deliveries, and what is refused."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Group, User

from approvals import services
from approvals.actors import linear_actor, user_actor
from approvals.audit import SYSTEM
from approvals.clock import clock
from approvals.core.lifecycle import Actor, Choice, Status, Via
from approvals.errors import AlreadyDecided, InvalidInput, NotAllowed, RequestNotFound
from approvals.models import ApprovalRequest, AuditEntry, Vote, VoteRefusal
from tests.approvals.scenes import (
    DELETE,
    approve,
    cancel,
    delivery,
    entries,
    expire,
    manager,
    opened,
    owed,
    pass_deadline,
    person,
    reject,
    row,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
EVERYWHERE: dict[str, Any] = {"interrupt_id": "i-1", "pr_number": 3, "github_repo": "acme/shop"}
APPROVE, REJECT = Choice.APPROVE, Choice.REJECT


def test_an_approval_that_decides_writes_every_row() -> None:
    request_id = opened(DELETE, **EVERYWHERE)
    grace, linus = manager("grace"), manager("linus", Via.LINEAR_MOVE)
    assert approve(request_id, grace).status is Status.PENDING
    before = clock()
    ballot = approve(request_id, linus, comment="fine", detail={"linear": "m-1"})
    found = row(request_id)
    assert (ballot.status, ballot.approvals, ballot.quorum) == (Status.APPROVED, 2, 2)
    assert (ballot.request_id, ballot.workflow_id, ballot.changed) == (request_id, "w-1", True)
    assert (found.status, found.decided_by, found.decision_reason) == ("approved", "linus", "fine")
    assert found.decided_at is not None
    assert before <= found.decided_at <= clock()
    assert (found.approved_at, found.approved_by) == (found.decided_at, "linus")
    assert found.rejection_reason is None
    assert list(found.votes.order_by("cast_at").values_list("user__username", "choice", "via")) == [
        ("grace", "approve", "web"),
        ("linus", "approve", "linear_move"),
    ]
    assert entries(request_id) == [
        *("request.opened", "vote.cast", "vote.cast", "request.approved")
    ]
    vote, end = AuditEntry.objects.filter(stream=request_id, number__gte=3).order_by("number")
    assert vote.data == {
        "choice": "approve",
        "comment": "fine",
        "approvals": 2,
        "quorum": 2,
        "linear": "m-1",
    }
    assert (end.actor, end.via, end.at) == ("linus", "linear_move", found.decided_at)
    # Opened, one vote, and the end; the vote that ends it is told with the end.
    assert owed(request_id) == {"linear": 3, "github": 2, "workflow": 1, "chat": 1}


def test_a_detail_writes_over_nothing_that_the_log_says_itself() -> None:
    false = {"choice": "?", "comment": "?", "approvals": 9, "quorum": 9, "code": "?"}
    detail = {**false, "sentence": "?", "linear": "m-1"}
    request_id = opened(DELETE)
    approve(request_id, manager("grace"), comment="fine", detail=detail)
    with pytest.raises(NotAllowed):
        approve(request_id, person("nora"), detail=detail)
    cast, refused = AuditEntry.objects.filter(stream=request_id, number__gte=2).order_by("number")
    said = {"choice": "approve", "comment": "fine", "approvals": 1, "quorum": 2}
    assert cast.data == detail | said
    assert (refused.data["choice"], refused.data["code"]) == ("approve", "not_in_group")
    assert "release-managers" in refused.data["sentence"]


def test_a_rejection_writes_every_row() -> None:
    request_id = opened(DELETE, **EVERYWHERE)
    ballot = reject(request_id, manager("grace"), "not today")
    found = row(request_id)
    assert (ballot.status, ballot.approvals) == (Status.REJECTED, 0)
    assert (found.status, found.decided_by) == ("rejected", "grace")
    assert (found.rejection_reason, found.approved_at, found.approved_by) == (
        *("not today", None, None),
    )
    assert entries(request_id) == ["request.opened", "vote.cast", "request.rejected"]
    assert owed(request_id) == {"linear": 2, "github": 2, "workflow": 1, "chat": 1}


def test_a_vote_that_does_not_decide_concerns_only_those_who_show_it() -> None:
    request_id = opened(DELETE, **EVERYWHERE)
    approve(request_id, manager("grace"))
    assert row(request_id).status == "pending"
    assert owed(request_id) == {"linear": 2, "github": 1, "workflow": 0, "chat": 0}


def test_the_same_vote_again_counts_once_and_changes_nothing() -> None:
    request_id = opened(DELETE)
    grace = manager("grace")
    approve(request_id, grace, comment="first")
    before = (entries(request_id), owed(request_id), Vote.objects.values().get())
    for comment in ("first", "", " \n"):
        ballot = approve(request_id, replace(grace, via=Via.API), comment=comment)
        assert (ballot.changed, ballot.status, ballot.approvals) == (False, Status.PENDING, 1)
        assert (entries(request_id), owed(request_id), Vote.objects.values().get()) == before


def test_a_new_comment_on_the_same_vote_is_kept_and_the_first_one_stays_in_the_log() -> None:
    request_id = opened(DELETE, **EVERYWHERE)
    grace = manager("grace")
    approve(request_id, grace, comment="first")
    told = owed(request_id)["linear"]
    ballot = approve(request_id, replace(grace, via=Via.API), comment="only after 18:00")
    assert (ballot.changed, ballot.status, ballot.approvals) == (True, Status.PENDING, 1)
    vote = Vote.objects.get()
    assert (vote.choice, vote.comment, vote.via) == ("approve", "only after 18:00", Via.API)
    cast = AuditEntry.objects.filter(stream=request_id, name="vote.cast").order_by("number")
    assert [entry.data["comment"] for entry in cast] == ["first", "only after 18:00"]
    assert [entry.data["approvals"] for entry in cast] == [1, 1]
    assert owed(request_id)["linear"] > told


@pytest.mark.parametrize("via", [Via.LINEAR_MOVE, Via.LINEAR_REACTION])
def test_a_move_or_a_reaction_takes_no_comment_away(via: Via) -> None:
    request_id = opened({"operation": "terraform_apply", "environment": "production"})
    grace = manager("grace")
    approve(request_id, grace, comment="only after 18:00")
    ballot = approve(request_id, replace(grace, via=via), comment="Moved to Approved by grace")
    assert not ballot.changed
    assert Vote.objects.get().comment == "only after 18:00"
    assert entries(request_id)[1:] == ["vote.cast"]


def test_somebody_may_change_their_vote_while_it_is_pending() -> None:
    request_id = opened(DELETE)
    grace = manager("grace")
    approve(request_id, grace)
    assert reject(request_id, grace, "found a fault").status is Status.REJECTED
    vote = Vote.objects.get()
    assert (vote.choice, vote.comment) == ("reject", "found a fault")
    assert entries(request_id)[1:] == ["vote.cast", "vote.cast", "request.rejected"]


def outsiders() -> dict[str, tuple[Callable[[], Actor], str, str]]:
    """Name of a case -> (the actor, the code of the refusal, a part of the sentence)."""
    return {
        "nobody known": (
            lambda: linear_actor("u-404", "Mallory", Via.LINEAR_MOVE),
            "unknown_person",
            "Mallory is not linked",
        ),
        "switched off": (
            lambda: person("off", "release-managers", is_active=False),
            "inactive",
            "switched off",
        ),
        "in no group": (lambda: person("none"), "not_in_group", "Only members of release-managers"),
        "in another group": (lambda: person("dev", "developers"), "not_in_group", "Only members"),
        "a superuser": (lambda: person("root", is_superuser=True), "not_in_group", "Only members"),
        "who opened it": (lambda: manager("ada"), "requester", "Whoever asked"),
        "who asked by email": (lambda: manager("eve"), "requester", "Whoever asked"),
        "a comment": (
            lambda: manager("grace", Via.LINEAR_COMMENT),
            "casual_channel",
            "critical request",
        ),
        "a reaction": (
            lambda: manager("grace", Via.LINEAR_REACTION),
            "casual_channel",
            "critical request",
        ),
    }


@pytest.mark.parametrize("choice", Choice)
@pytest.mark.parametrize("case", outsiders())
def test_a_vote_that_does_not_count_is_recorded_once_and_counted(case: str, choice: Choice) -> None:
    request_id = opened(actor=manager("ada"), requested_by="Eve@example.com", **EVERYWHERE)
    make, code, words = outsiders()[case]
    actor = make()
    for _ in range(3):
        with pytest.raises(NotAllowed, match=words):
            services.cast_vote(request_id, actor=actor, choice=choice, detail={"from": "here"})
    assert row(request_id).status == "pending"
    assert not Vote.objects.exists()
    assert entries(request_id) == ["request.opened", "vote.refused"]
    entry = AuditEntry.objects.get(name="vote.refused")
    assert (entry.actor, entry.via, entry.data["code"]) == (actor.name, actor.via, code)
    assert (entry.data["choice"], entry.data["from"]) == (choice, "here")
    refusal = VoteRefusal.objects.get()
    assert (refusal.times, refusal.reason, refusal.actor) == (3, code, actor.identity)
    assert refusal.last_at > entry.at
    assert owed(request_id) == {"linear": 2, "github": 1, "workflow": 0, "chat": 0}


def test_refusals_of_another_kind_are_facts_of_their_own() -> None:
    request_id = opened()
    for actor in (person("a"), person("b"), person("a", via=Via.API)):
        for choice in Choice:
            with pytest.raises(NotAllowed):
                services.cast_vote(request_id, actor=actor, choice=choice)
    assert entries(request_id).count("vote.refused") == VoteRefusal.objects.count() == 6


def test_two_strangers_of_one_name_are_two_refusals() -> None:
    request_id = opened()
    for key in ("u-1", "u-2"):
        with pytest.raises(NotAllowed):
            approve(request_id, linear_actor(key, "Mallory", Via.LINEAR_MOVE))
    assert VoteRefusal.objects.count() == 2


@pytest.mark.parametrize("name", ["Mal\x00lory", "Mal\ud800", "M" * 5000])
def test_no_name_from_outside_keeps_a_refusal_out_of_the_log(name: str) -> None:
    request_id = opened()
    stranger = Actor(name=name, via=Via.LINEAR_MOVE, key=f"linear:{name}")
    with pytest.raises(NotAllowed):
        approve(request_id, stranger)
    entry = AuditEntry.objects.get(name="vote.refused")
    assert entry.actor.startswith("M")
    assert len(entry.actor) <= 200


def test_membership_and_activity_count_at_the_vote_not_at_the_opening() -> None:
    manager("grace")
    request_id = opened()
    account = User.objects.get(username="grace")
    User.objects.update(is_active=False)
    account.refresh_from_db()
    with pytest.raises(NotAllowed, match="switched off"):
        approve(request_id, user_actor(account, Via.WEB))
    late = User.objects.create_user("late")
    late.groups.add(Group.objects.get(name="release-managers"))
    assert approve(request_id, user_actor(late, Via.WEB)).status is Status.APPROVED


ENDS: dict[str, Callable[[UUID], object]] = {
    "approved": lambda request_id: approve(request_id, manager("first")),
    "rejected": lambda request_id: reject(request_id, manager("first"), "no"),
    "cancelled": cancel,
    "superseded": lambda request_id: services.supersede_request(request_id, reason="changed"),
    "expired": expire,
}
MOVES: dict[str, Callable[[UUID], object]] = {
    "approve": lambda request_id: approve(request_id, manager("second")),
    "reject": lambda request_id: reject(request_id, manager("second"), "no"),
    "the same again": lambda request_id: approve(request_id, manager("first")),
    "a change of mind": lambda request_id: reject(request_id, manager("first"), "oh"),
    "cancel": cancel,
    "supersede": lambda request_id: services.supersede_request(request_id, reason="changed"),
}


def decision(request_id: UUID) -> dict[str, Any]:
    columns = ("status", "decided_at", "decided_by", "decision_reason", "superseded_by_id")
    return dict(ApprovalRequest.objects.values(*columns).get(pk=request_id))


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("end", ENDS)
def test_only_what_is_pending_moves_and_only_once(end: str, move: str) -> None:
    request_id = opened(**EVERYWHERE)
    ENDS[end](request_id)
    final, told, votes = decision(request_id), owed(request_id), list(Vote.objects.values())
    assert final["status"] == end
    with pytest.raises(AlreadyDecided) as caught:
        MOVES[move](request_id)
    assert (caught.value.status, caught.value.decided_at) == (end, final["decided_at"])
    assert caught.value.decided_by == final["decided_by"] != ""
    assert f"already {end} by {final['decided_by']} at " in str(caught.value)
    assert decision(request_id) == final
    # Nobody is told again: nothing changed.
    assert owed(request_id) == told
    assert list(Vote.objects.values()) == votes
    assert services.expire_overdue() == 0


def test_a_late_vote_is_recorded_with_what_had_happened() -> None:
    request_id = opened()
    approve(request_id, manager("grace"))
    for _ in range(2):
        with pytest.raises(AlreadyDecided, match="already approved by grace"):
            reject(request_id, manager("linus"), "too late")
    assert entries(request_id)[3:] == ["vote.refused"]
    assert VoteRefusal.objects.get().times == 2


@pytest.mark.parametrize("move", ["approve", "reject", "cancel", "supersede"])
def test_a_verb_that_meets_an_overdue_request_expires_it(move: str) -> None:
    request_id = opened(**EVERYWHERE)
    pass_deadline(request_id)
    with pytest.raises(AlreadyDecided) as caught:
        MOVES[move](request_id)
    found = row(request_id)
    assert (found.status, found.decided_by, caught.value.status) == (
        *("expired", "gateway", "expired"),
    )
    assert found.decision_reason == "Nobody decided before the deadline."
    assert found.superseded_by is None
    assert not Vote.objects.exists()
    voted = ["vote.refused"] if move in {"approve", "reject"} else []
    assert entries(request_id) == ["request.opened", "request.expired", *voted]
    assert owed(request_id) == {"linear": 2, "github": 2, "workflow": 1, "chat": 1}


def test_an_overdue_request_expires_even_for_somebody_without_a_vote() -> None:
    request_id = opened()
    pass_deadline(request_id)
    with pytest.raises(AlreadyDecided):
        approve(request_id, person("nobody"))
    assert row(request_id).status == "expired"


@pytest.mark.parametrize("move", MOVES)
def test_a_request_that_does_not_exist_is_not_found(move: str) -> None:
    missing = uuid4()
    with pytest.raises(RequestNotFound, match=str(missing)):
        MOVES[move](missing)
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("text", ["a\x00", "\ud800", "x" * 4001])
def test_words_that_cannot_be_kept_are_refused(text: str) -> None:
    request_id = opened()
    grace = manager("grace")
    with pytest.raises(InvalidInput) as caught:
        approve(request_id, grace, comment=text)
    assert caught.value.field == "comment"
    with pytest.raises(InvalidInput) as caught:
        services.withdraw_request(request_id, actor=SYSTEM, reason=text)
    assert caught.value.field == "reason"
    assert entries(request_id) == ["request.opened"]


@pytest.mark.parametrize("detail", [{"state": "a\x00"}, {"state": {1, 2}}, {"x": "y" * 70_000}])
def test_details_that_cannot_be_kept_are_refused(detail: dict[str, Any]) -> None:
    request_id = opened()
    with pytest.raises(InvalidInput):
        approve(request_id, manager("grace"), detail=detail)
    assert row(request_id).status == "pending"


def test_the_longest_words_are_kept_whole() -> None:
    request_id = opened()
    words = "é" * 4000
    reject(request_id, manager("grace"), words)
    assert row(request_id).rejection_reason == words


def test_a_decision_makes_given_up_deliveries_due_again() -> None:
    request_id = opened(**EVERYWHERE)
    rows = row(request_id).deliveries
    later = clock() + timedelta(hours=1)
    rows.update(attempts=50, gave_up_at=clock(), not_before=later, last_error="down", done=1)
    reject(request_id, manager("grace"))
    for channel in ("linear", "github", "workflow", "chat"):
        found = delivery(request_id, channel)
        assert (found.attempts, found.gave_up_at) == (0, None)
        assert found.not_before <= clock()
