"""Hear the moves that no webhook told of, many issues in one query."""

import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import UUID

from approvals import outbox, unexpected
from approvals.core.events import LINEAR, ChannelError, Snapshot
from approvals.core.lifecycle import Status
from approvals.selectors.request import current_for_channel, requests_by_id
from integrations.linear.channel import Memory
from integrations.linear.client import PAGE, linear
from integrations.linear.config import linear_config
from integrations.linear.directory import directory
from integrations.linear.hearing import cast_unseen, find_bounce
from integrations.linear.issue import Issue

log = logging.getLogger(__name__)

# Who moves an issue while somebody else decides does it within minutes. Later moves are heard by
# webhook alone, which Linear sends again for hours.
ENDED_WITHIN = timedelta(minutes=10)


def reconcile() -> None:
    """Cast every vote that a lost webhook kept from us.

    Raises ChannelError. Harmless when two processes do it at once.
    """
    page = _page(None)
    while page:
        issues = linear().issues(list(page))
        for request_id, snapshot in page.items():
            if (issue := issues.get(request_id)) is not None:
                _hear_alone(request_id, snapshot, issue)
        page = _page(max(page))


def _page(after: UUID | None) -> Mapping[UUID, Callable[[], Snapshot]]:
    return current_for_channel(LINEAR, PAGE, after, ended_within=ENDED_WITHIN)


def _hear_alone(
    request_id: UUID, snapshot: Callable[[], Snapshot], issue: Callable[[], Issue]
) -> None:
    """Hear one issue; where it, or its request, cannot be read, the log alone tells."""
    try:
        _hear(snapshot(), issue())
    except ChannelError:
        raise
    except Exception as error:
        # Wide on purpose: whatever one of them raises it would raise at every tick, and no other
        # would be read back any more. An outage is all of theirs, and ends it.
        if unexpected.is_outage(error):
            raise
        row = requests_by_id([request_id])[request_id]
        text = "The Linear issue of request %s could not be read back"
        unexpected.log_traceback(log, row, error, text, request_id)


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
