"""What a request may become, and who may make it so: pure decisions about standing facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import cast

from approvals.core.risk import Risk


class Status(StrEnum):
    """Where a request stands; only `pending` can change, and only once."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class Choice(StrEnum):
    """What one person says about a request."""

    APPROVE = "approve"
    REJECT = "reject"


class Via(StrEnum):
    """The way by which a verb was called; kept on votes and audit entries."""

    WEB = "web"
    ADMIN = "admin"
    API = "api"
    COMMAND = "command"
    SIGN_ON = "sign_on"
    LINEAR_MOVE = "linear_move"
    LINEAR_COMMENT = "linear_comment"
    LINEAR_REACTION = "linear_reaction"
    SYSTEM = "system"


# A word in a thread is easily meant for something else: these never decide critical requests.
CASUAL = frozenset({Via.LINEAR_COMMENT, Via.LINEAR_REACTION})
# What goes with a vote by these ways says how it was cast; the voter wrote nothing.
WORDLESS = frozenset({Via.LINEAR_MOVE, Via.LINEAR_REACTION})


@dataclass(frozen=True)
class Actor:
    """Who calls a verb, as far as it is known.

    `user_id` is None for the gateway itself and for outsiders that map to no user. `key` tells
    two outsiders apart (such as a Linear user id) and is what refusals are counted by.
    """

    name: str
    via: Via
    user_id: int | None = None
    aliases: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    active: bool = True
    operator: bool = False
    key: str = ""

    @property
    def identity(self) -> str:
        """A stable text for this actor."""
        return f"user:{self.user_id}" if self.user_id is not None else self.key or self.name


@dataclass(frozen=True)
class Policy:
    """Who may decide a request, how many of them, and until when; frozen when it opens."""

    name: str
    groups: tuple[str, ...]
    quorum: int
    expires_after_seconds: int
    execute_within_seconds: int
    requester_may_decide: bool


@dataclass(frozen=True)
class Standing:
    """The facts about a request that a vote is judged by; `votes` maps user ids to choices."""

    status: Status
    risk_level: Risk
    policy: Policy
    expires_at: datetime
    requested_by: str
    opened_by_id: int | None
    votes: Mapping[int, Choice] = field(default_factory=dict)


class Reason(StrEnum):
    """Why a vote was refused; the code that its audit entry keeps."""

    ALREADY_DECIDED = "already_decided"
    EXPIRED = "expired"
    UNKNOWN_PERSON = "unknown_person"
    INACTIVE = "inactive"
    REQUESTER = "requester"
    NOT_IN_GROUP = "not_in_group"
    CASUAL_CHANNEL = "casual_channel"


@dataclass(frozen=True)
class Refused:
    """The vote does not count, with the reason as a sentence for the person."""

    reason: Reason
    sentence: str


@dataclass(frozen=True)
class Accepted:
    """The vote counts; `status` is where it leads, `approvals` how many now approve."""

    status: Status
    approvals: int
    changed: bool


def refusal(standing: Standing, actor: Actor, now: datetime) -> Refused | None:
    """Why this actor may not vote on this request now, or None when they may."""
    policy = standing.policy
    if standing.status is not Status.PENDING:
        return Refused(Reason.ALREADY_DECIDED, f"This request is already {standing.status}.")
    if now >= standing.expires_at:
        return Refused(Reason.EXPIRED, "This request expired before the vote arrived.")
    if actor.user_id is None:
        return Refused(
            Reason.UNKNOWN_PERSON, f"{actor.name} is not linked to an approver of this gateway."
        )
    if not actor.active:
        return Refused(Reason.INACTIVE, f"The account of {actor.name} is switched off.")
    if not policy.requester_may_decide and _asked(standing, actor):
        return Refused(Reason.REQUESTER, "Whoever asked for an operation may not decide it.")
    if actor.groups.isdisjoint(policy.groups):
        groups = " or ".join(policy.groups)
        return Refused(Reason.NOT_IN_GROUP, f"Only members of {groups} may decide this request.")
    if standing.risk_level is Risk.CRITICAL and actor.via in CASUAL:
        return Refused(
            Reason.CASUAL_CHANNEL,
            "A critical request is decided by moving the issue or in the web queue,"
            " not by a comment or a reaction.",
        )
    return None


def decide(standing: Standing, actor: Actor, choice: Choice, now: datetime) -> Refused | Accepted:
    """Judge one vote: one reject rejects, the policy's quorum of approvals approves."""
    if refused := refusal(standing, actor, now):
        return refused
    voter = cast("int", actor.user_id)  # `refusal` has refused everybody without one
    votes = {**standing.votes, voter: choice}
    approvals = sum(1 for vote in votes.values() if vote is Choice.APPROVE)
    if choice is Choice.REJECT:
        status = Status.REJECTED
    elif approvals >= standing.policy.quorum:
        status = Status.APPROVED
    else:
        status = Status.PENDING
    return Accepted(status, approvals, changed=standing.votes.get(voter) is not choice)


def _asked(standing: Standing, actor: Actor) -> bool:
    if actor.user_id == standing.opened_by_id:
        return True
    return folded(standing.requested_by) in {folded(alias) for alias in actor.aliases}


def folded(name: str) -> str:
    """A name as it is compared: outer space and capitals tell nobody apart."""
    return name.strip().casefold()
