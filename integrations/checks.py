"""Whether Linear and GitHub answer, as whom, and with everything the configuration names."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings

from approvals.actors import linear_actor
from approvals.core.events import ChannelError
from approvals.core.lifecycle import Via
from approvals.policy import policy_groups
from approvals.selectors.people import active_members
from integrations.github.client import configured_github
from integrations.linear.client import linear
from integrations.linear.config import linear_config
from integrations.linear.directory import directory


@dataclass(frozen=True)
class Finding:
    """One sentence about an integration; `ok` is False where somebody has to act."""

    ok: bool
    sentence: str


def check_integrations() -> Iterator[Finding]:
    """Look at everything that outside parties and people are needed for, in order."""
    yield from _linear()
    yield from _github()
    yield from _people()


def _linear() -> Iterator[Finding]:
    if not settings.LINEAR_API_KEY:
        yield Finding(True, "Linear is off: LINEAR_API_KEY is not set.")
        return
    config = linear_config()
    try:
        viewer = linear().viewer()
        yield Finding(True, f"Linear answers at {settings.LINEAR_API_URL} as {viewer.name}.")
        directory().check(config)
    except ChannelError as error:
        yield Finding(False, f"Linear: {error}")
        return
    yield Finding(True, f"Linear knows the team {config.team}, its labels and its states.")
    actor = linear_actor(viewer.id, viewer.name, Via.LINEAR_MOVE)
    if actor.groups & policy_groups():
        yield Finding(
            False,
            f"The API key belongs to {viewer.name}, who is an approver: what they do in Linear is"
            " taken for the gateway's own and decides nothing. Use a key of another account.",
        )
    count = len(settings.LINEAR_WEBHOOK_SECRETS)
    yield Finding(
        True,
        f"{count} webhook secret{'s are' if count > 1 else ' is'} set; in Linear the webhook's"
        f" address is {settings.PUBLIC_URL}/resume, for issues, comments and reactions.",
    )


def _github() -> Iterator[Finding]:
    if not settings.GITHUB_TOKEN:
        yield Finding(True, "GitHub is off: GITHUB_TOKEN is not set.")
        return
    try:
        login = configured_github().login
    except ChannelError as error:
        yield Finding(False, f"GitHub: {error}")
        return
    yield Finding(True, f"GitHub answers at {settings.GITHUB_API_URL} as {login}.")
    allowed = ", ".join(settings.GITHUB_REPOSITORIES)
    yield Finding(
        bool(allowed),
        f"Pull requests of {allowed} get comments."
        if allowed
        else "HITL_GITHUB_REPOSITORIES is empty, so no pull request gets a comment.",
    )


def _people() -> Iterator[Finding]:
    members = active_members(policy_groups())
    for group in sorted(policy_groups()):
        count = members.get(group, 0)
        yield Finding(
            count > 0,
            f"{count} active member{'' if count == 1 else 's'} in the group {group}, which"
            " policies let decide.",
        )
