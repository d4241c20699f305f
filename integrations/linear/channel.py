"""Linear as a channel: the issue exists, shows the request as it is, and its moves are heard."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from approvals.core.events import (
    LINEAR,
    ChannelError,
    Event,
    EventName,
    Receipt,
    Snapshot,
    event_of,
)
from approvals.core.lifecycle import CASUAL, Status
from approvals.selectors.request import count_approvals
from integrations.linear import messages
from integrations.linear.client import LinearClient, LinearRefused, linear
from integrations.linear.config import LinearConfig, linear_config
from integrations.linear.directory import Directory, directory
from integrations.linear.hearing import Heard, cast_unseen, find_bounce
from integrations.linear.issue import Issue

MAX_BOUNCES = 3
MAX_REPLIES = 10


@dataclass
class Memory:
    """What was done to the issue before, as JSON; an empty one costs repeats, never harm.

    `attached` is the linked pull request, `bounced` the history entries taken back, `replied` the
    votes and comments answered, `shown` the final status that the issue was made to show.
    """

    created: bool = False
    attached: str = ""
    bounced: list[str] = field(default_factory=list)
    replied: list[str] = field(default_factory=list)
    commented: bool = False
    shown: str = ""

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """The memory of a snapshot; keys of other versions are left out."""
        return cls(**{name: kept[name] for name in cls.__dataclass_fields__ if name in kept})

    @property
    def may_bounce(self) -> bool:
        """Whether another move may be taken back."""
        return len(self.bounced) < MAX_BOUNCES


class LinearChannel:
    """Keeps one issue a request, under the request's own id.

    Only the state and comments of the gateway's own are ever written after the creation.
    """

    name = LINEAR

    def wants(self, request: Snapshot) -> bool:
        """Every request has an issue."""
        del request
        return True

    def converge(self, request: Snapshot, since: Sequence[Event]) -> Receipt:
        """Make the issue agree with the request, and hear the moves that webhooks did not tell."""
        memory = Memory.from_json(request.memory)
        try:
            issue = _Visit(request, memory).make_agree(since)
        except ChannelError as error:
            if isinstance(error, LinearRefused):
                directory().forget()
            error.memory = asdict(memory)
            raise
        return Receipt(issue.identifier, issue.url, asdict(memory))


class _Visit:
    """One attempt to bring one issue up to date; notes every success in the memory at once."""

    def __init__(self, request: Snapshot, memory: Memory) -> None:
        self._request = request
        self._memory = memory
        self._client: LinearClient = linear()
        self._names: Directory = directory()
        self._config: LinearConfig = linear_config()

    def make_agree(self, since: Sequence[Event]) -> Issue:
        """The issue, as it was read."""
        issue = self._read() if self._memory.created else self._create()
        pending = self._request.status is Status.PENDING
        if issue.withdrawn:
            if pending:
                raise _gone(self._request, f"The Linear issue {issue.identifier} was put away")
            return issue
        if pending:
            self._answer_votes(issue, since)
            self._listen(issue, since)
        elif not self._memory.shown:
            self._show_outcome(issue, since)
        else:
            self._take_back(issue, {}, since)
        # Last, so that a link that Linear refuses holds back nothing else.
        self._attach(issue)
        return issue

    def _create(self) -> Issue:
        request, config = self._request, self._config
        template = config.approval_template
        fields: dict[str, Any] = {
            "id": str(request.id),
            "teamId": self._names.team_id(config.team),
            "title": messages.issue_title(request, config),
            "description": messages.issue_description(request, config),
            "priority": config.priority_for(request.risk_level),
            "labelIds": self._names.label_ids(config.team, template.labels),
        }
        if config.project:
            fields["projectId"] = self._names.project_id(config.project)
        try:
            issue = self._client.create_issue(fields)
        except LinearRefused as refused:
            if not refused.already_there:
                raise
            issue = self._read()
        self._memory.created = True
        return issue

    def _read(self) -> Issue:
        issue = self._client.issue(self._request.id)
        if issue is None:
            raise _gone(self._request, "The Linear issue of this request no longer exists")
        return issue

    def _attach(self, issue: Issue) -> None:
        url = self._request.pr_url
        if url and self._memory.attached != url:
            number = self._request.pr_number
            self._client.attach(
                issue.id, url, f"Pull request #{number}" if number else "Pull request"
            )
            self._memory.attached = url

    def _answer_votes(self, issue: Issue, since: Sequence[Event]) -> None:
        """Answer votes by comment or reaction, whose sender would otherwise learn nothing."""
        for event in since:
            if event.name in {EventName.VOTE_CAST, EventName.VOTE_REFUSED} and event.via in CASUAL:
                self._reply(issue, f"vote:{event.number}", messages.vote_comment(event))

    def _reply(self, issue: Issue, occasion: str, body: str) -> None:
        replied = self._memory.replied
        if occasion not in replied and len(replied) < MAX_REPLIES:
            self._comment(issue, occasion, body)
            replied.append(occasion)

    def _listen(self, issue: Issue, since: Sequence[Event]) -> None:
        """Count what was not heard before, and take back one that decided nothing."""
        viewer_id = self._names.viewer_id()
        heard = cast_unseen(self._request, issue, self._config, viewer_id)
        if any(outcome.status is not Status.PENDING for outcome in heard.values()):
            return  # decided just now; the next visit shows it
        for key, outcome in heard.items():
            if outcome.fault:
                self._reply(issue, key, messages.fault_comment(outcome))
        self._take_back(issue, heard, since)

    def _take_back(self, issue: Issue, heard: Mapping[str, Heard], since: Sequence[Event]) -> None:
        """Undo a person's move that reads as a decision which was not made, and say why."""
        viewer_id = self._names.viewer_id()
        bounce = find_bounce(self._request.status, issue, self._config, viewer_id)
        if bounce is None or not self._memory.may_bounce or bounce.move.id in self._memory.bounced:
            return
        last = len(self._memory.bounced) + 1 == MAX_BOUNCES
        own = heard.get(f"history:{bounce.move.id}")
        # Counted now: a visit that failed may have heard the vote.
        counted = count_approvals(self._request.id)
        body = messages.bounce_comment(self._request, bounce, own, since, counted, last=last)
        self._comment(issue, f"move:{bounce.move.id}", body)
        self._client.move_issue(issue.id, self._names.state_id(issue.team, bounce.back_to))
        self._memory.bounced.append(bounce.move.id)

    def _show_outcome(self, issue: Issue, since: Sequence[Event]) -> None:
        """Say once how it ended and move the issue; later only what contradicts it is undone."""
        status = self._request.status
        if not self._memory.commented:
            ended = [event for event in since if event.name is event_of(status)]
            body = messages.outcome_comment(self._request, ended[-1].via if ended else "")
            self._comment(issue, f"outcome:{status}", body)
            self._memory.commented = True
        if not self._config.shows(status, issue.state):
            state = self._config.outcome_state(status)
            self._client.move_issue(issue.id, self._names.state_id(issue.team, state))
        self._memory.shown = status

    def _comment(self, issue: Issue, occasion: str, body: str) -> None:
        self._client.comment(issue.id, messages.comment_id(self._request.id, occasion), body)


def _gone(request: Snapshot, what: str) -> ChannelError:
    return ChannelError(
        f"{what}: restore it in Linear, or decide the request at {request.url}.", permanent=True
    )
