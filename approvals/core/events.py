"""What can happen to a request, which channels each event concerns, and what a channel is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from approvals.core.lifecycle import Policy, Status
from approvals.core.risk import Match, Risk


class EventName(StrEnum):
    """The names of audit entries: dotted, past tense."""

    NOT_REQUIRED = "request.not_required"
    OPENED = "request.opened"
    APPROVED = "request.approved"
    REJECTED = "request.rejected"
    EXPIRED = "request.expired"
    CANCELLED = "request.cancelled"
    SUPERSEDED = "request.superseded"
    RESUME_REFUSED = "request.resume_refused"
    VOTE_CAST = "vote.cast"
    VOTE_REFUSED = "vote.refused"
    DELIVERY_SUCCEEDED = "delivery.succeeded"
    DELIVERY_FAILED = "delivery.failed"
    DELIVERY_GAVE_UP = "delivery.gave_up"
    DELIVERY_RETRIED = "delivery.retried"
    RUN_STARTED = "run.started"
    RUN_ENDED = "run.ended"
    RUN_CANCELLED = "run.cancelled"
    RUN_SETTLED = "run.settled"
    RUN_NEEDS_ATTENTION = "run.needs_attention"
    APPROVER_SAVED = "approver.saved"
    TOKEN_CREATED = "token.created"  # noqa: S105 - a name of an event
    TOKEN_REVOKED = "token.revoked"  # noqa: S105 - a name of an event
    DATABASE_ACCEPTED = "database.accepted"
    EXECUTION_STARTED = "execution.started"
    EXECUTION_FINISHED = "execution.finished"


class Hearing(StrEnum):
    """What became of something that Linear told, or that was read back from it."""

    RESUMED = "resumed"
    REJECTED = "rejected"
    RECORDED = "recorded"
    REFUSED = "refused"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    DEFERRED = "deferred"


LINEAR = "linear"
GITHUB = "github"
WORKFLOW = "workflow"


def event_of(status: Status) -> EventName:
    """The event by which a request came to a status."""
    return EventName.OPENED if status is Status.PENDING else EventName(f"request.{status}")


_RESOLVED = {event_of(status) for status in Status if status is not Status.PENDING}
_VOTES = {EventName.VOTE_CAST, EventName.VOTE_REFUSED}

# Delivery events concern no channel: a failed delivery must not owe itself another one.
CONCERNS: Mapping[str, frozenset[EventName]] = {
    LINEAR: frozenset({EventName.OPENED, *_VOTES, *_RESOLVED}),
    GITHUB: frozenset({EventName.OPENED, *_RESOLVED}),
    WORKFLOW: frozenset(_RESOLVED),
}


def concerned_channels(name: EventName, channels: Sequence[str]) -> list[str]:
    """Those of the given channels that must learn of the event, in the order given."""
    return [channel for channel in channels if name in CONCERNS.get(channel, _RESOLVED)]


@dataclass(frozen=True)
class Event:
    """One audit entry as a channel sees it; `data` is the entry's own JSON."""

    number: int
    name: EventName
    actor: str
    via: str
    at: datetime
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """A request as it is now, for channels; `memory` is what this channel noted last time.

    `action` is the frozen action as JSON, or None where the workflow itself does the work.
    Times carry a zone.
    """

    id: UUID
    status: Status
    risk_level: Risk
    matches: tuple[Match, ...]
    policy: Policy
    task: Mapping[str, Any]
    action: Mapping[str, Any] | None
    digest: str
    agent_name: str
    operation: str
    environment: str
    requested_by: str
    workflow_id: str
    thread_id: str
    interrupt_id: str
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    decided_by: str
    reason: str
    eligible: int
    pr_number: int | None
    pr_url: str
    github_repo: str
    linear_issue_id: str
    linear_issue_url: str
    url: str
    memory: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The operation in words, such as "deploy to production"."""
        return f"{self.operation} to {self.environment}" if self.environment else self.operation


@dataclass(frozen=True)
class Receipt:
    """What a channel wants to be remembered after it converged.

    `reference` and `url` are what people see (an issue's identifier and address); `memory` is
    handed back in the next snapshot.
    """

    reference: str = ""
    url: str = ""
    memory: Mapping[str, Any] = field(default_factory=dict)


class ChannelError(Exception):
    """A channel did not converge; the sentence is kept for people to read.

    `permanent` stops the retries until somebody asks for one. `retry_after` (seconds) pauses the
    whole channel, as a rate limit does. `memory` keeps what was achieved before the failure.
    """

    def __init__(
        self,
        sentence: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        memory: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.permanent = permanent
        self.retry_after = retry_after
        self.memory = memory


class ChannelBusy(Exception):
    """Somebody else holds what the channel needs; try again soon, and count no failed attempt."""


class Channel(Protocol):
    """An outside party that must learn of a request; the whole plugin interface.

    `converge` makes the outside agree with the request as it is now, however often it is called,
    and raises only ChannelError or ChannelBusy.
    """

    name: str

    def wants(self, request: Snapshot) -> bool:
        """Whether this request concerns the channel at all."""
        ...

    def converge(self, request: Snapshot, since: Sequence[Event]) -> Receipt:
        """Make the outside agree; `since` holds the events after the last success."""
        ...
