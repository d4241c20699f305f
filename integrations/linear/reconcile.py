"""Hear the moves that no webhook told of, many issues in one query."""

from datetime import timedelta
from uuid import UUID

from approvals import outbox
from approvals.core.events import LINEAR, Snapshot
from approvals.core.lifecycle import Status
from approvals.selectors.request import current_for_channel
from integrations.linear.channel import Memory
from integrations.linear.client import PAGE, linear
from integrations.linear.config import linear_config
from integrations.linear.directory import directory
from integrations.linear.hearing import cast_unseen, find_bounce
from integrations.linear.issue import Issue

# Who moves an issue while somebody else decides does it within minutes. Later moves are heard by
# webhook alone, which Linear sends again for hours.
ENDED_WITHIN = timedelta(minutes=10)


def reconcile() -> None:
    """Cast every vote that a lost webhook kept from us.

    Raises ChannelError. Harmless when two processes do it at once.
    """
    page = _page(None)
    while page:
        issues = linear().issues([request.id for request in page])
        for request in page:
            if (issue := issues.get(request.id)) is not None:
                _hear(request, issue)
        page = _page(page[-1].id)


def _page(after: UUID | None) -> list[Snapshot]:
    return current_for_channel(LINEAR, PAGE, after, ended_within=ENDED_WITHIN)


def _hear(request: Snapshot, issue: Issue) -> None:
    if issue.withdrawn:
        return
    config, viewer_id = linear_config(), directory().viewer_id()
    if request.status is Status.PENDING:
        heard = cast_unseen(request, issue, config, viewer_id)
        if any(outcome.status is not Status.PENDING for outcome in heard.values()):
            return
    bounce = find_bounce(request.status, issue, config, viewer_id)
    memory = Memory.from_json(request.memory)
    if bounce and memory.may_bounce and bounce.move.id not in memory.bounced:
        outbox.nudge(request.id, LINEAR)
