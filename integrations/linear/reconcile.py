"""Hear the moves of all pending requests that no webhook told of, many issues in one query."""

from approvals import outbox
from approvals.core.events import LINEAR, Snapshot
from approvals.core.lifecycle import Status
from approvals.selectors.request import pending_for_channel
from integrations.linear.channel import Memory
from integrations.linear.client import PAGE, linear
from integrations.linear.config import linear_config
from integrations.linear.directory import directory
from integrations.linear.hearing import cast_unseen, find_bounce
from integrations.linear.issue import Issue


def reconcile_pending() -> int:
    """Cast every vote that a lost webhook kept from us; returns how many issues were read.

    Raises ChannelError. Harmless when two processes do it at once.
    """
    read = 0
    page = pending_for_channel(LINEAR, PAGE, None)
    while page:
        issues = linear().issues([request.id for request in page])
        for request in page:
            if (issue := issues.get(request.id)) is not None:
                _hear(request, issue)
        read += len(issues)
        page = pending_for_channel(LINEAR, PAGE, page[-1].id)
    return read


def _hear(request: Snapshot, issue: Issue) -> None:
    if issue.withdrawn:
        return
    config, viewer_id = linear_config(), directory().viewer_id()
    heard = cast_unseen(request, issue, config, viewer_id)
    if any(outcome.status is not Status.PENDING for outcome in heard.values()):
        return
    bounce = find_bounce(issue, config, viewer_id)
    memory = Memory.from_json(request.memory)
    if bounce and memory.may_bounce and bounce.move.id not in memory.bounced:
        outbox.nudge(request.id, LINEAR)
