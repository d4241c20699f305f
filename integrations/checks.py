"""Whether Linear and GitHub answer, as whom, and with everything the configuration names."""

from collections.abc import Iterator

from django.conf import settings

from approvals.core.events import ChannelError
from approvals.policy import policy_groups
from approvals.selectors.people import active_members
from integrations.github.client import configured_github
from integrations.linear.examine import Finding, examine_linear


def check_integrations() -> Iterator[Finding]:
    """Look at everything that outside parties and people are needed for, in order."""
    yield from examine_linear()
    yield from _github()
    yield from _people()


def _github() -> Iterator[Finding]:
    if not settings.GITHUB_TOKEN:
        yield Finding(ok=True, sentence="GitHub is off: GITHUB_TOKEN is not set.")
        return
    try:
        login = configured_github().login
    except ChannelError as error:
        yield Finding(ok=False, sentence=f"GitHub: {error}")
        return
    yield Finding(ok=True, sentence=f"GitHub answers at {settings.GITHUB_API_URL} as {login}.")
    allowed = ", ".join(settings.GITHUB_REPOSITORIES)
    yield Finding(
        ok=bool(allowed),
        sentence=f"Pull requests of {allowed} get comments."
        if allowed
        else "HITL_GITHUB_REPOSITORIES is empty, so no pull request gets a comment.",
    )


def _people() -> Iterator[Finding]:
    members = active_members(policy_groups())
    for group in sorted(policy_groups()):
        count = members.get(group, 0)
        yield Finding(
            ok=count > 0,
            sentence=f"{count} active member{'' if count == 1 else 's'} in the group {group}, which"
            " policies let decide.",
        )
