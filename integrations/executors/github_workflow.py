"""The executor of workflow dispatches: asked for once, since GitHub cannot tell a repetition."""

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from django.conf import settings

from agents.actions import ActionResult, NotBegun, OutcomeUnknown
from approvals.core.events import ChannelError
from integrations.addresses import RefusedAddress
from integrations.executors.deadline import open_client_until
from integrations.github.client import GitHubClient, RateLimited, is_allowed
from integrations.http import ReplyLost, Unreachable

PAUSES_SECONDS = (0.25, 1.0, 3.0)


def dispatch_github_workflow(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Dispatch the action's workflow; success means that GitHub has accepted it.

    The run itself goes on at GitHub. An answer that is lost, or not whole within the action's time
    limit, or 5xx, raises OutcomeUnknown, even for an idempotent action; only an attempt that never
    left this machine is repeated. NotBegun where none left it, or a rate limit turned it away.
    """
    repo = action["repo"]
    if not settings.GITHUB_TOKEN:
        raise _not_begun("set GITHUB_TOKEN for the workers.")
    if not is_allowed(repo):
        raise _not_begun(f"{repo} is not among HITL_GITHUB_REPOSITORIES.")
    inputs = dict(action["inputs"])
    if name := action["idempotency_key_input"]:
        inputs[name] = idempotency_key
    deadline = time.monotonic() + float(action["timeout_seconds"])
    with closing(_GitHubUntil(deadline)) as github:
        return _dispatched(github, action, inputs, deadline)


def _not_begun(reason: object) -> NotBegun:
    return NotBegun(f"The workflow was not dispatched: {reason}")


class _GitHubUntil(GitHubClient):
    """The account that the settings describe, until the end of one action's time.

    A client of its own, since what the process shares knows no such end.
    """

    def __init__(self, deadline: float) -> None:
        super().__init__(
            settings.GITHUB_TOKEN,
            api_url=settings.GITHUB_API_URL,
            api_version=settings.GITHUB_API_VERSION,
        )
        with self._http as alike:
            self._http = open_client_until(
                deadline, base_url=alike.base_url, headers=alike.headers, timeout=alike.timeout
            )

    def close(self) -> None:
        self._http.close()


def _dispatched(
    github: GitHubClient, action: Mapping[str, Any], inputs: Mapping[str, str], deadline: float
) -> ActionResult:
    repo = action["repo"]
    for pause in (*PAUSES_SECONDS, None):
        try:
            url = github.dispatch_workflow(repo, action["workflow"], action["ref"], inputs)
        except ReplyLost as error:
            raise OutcomeUnknown(f"The workflow may or may not have started: {error}") from error
        except Unreachable as error:
            if error.permanent or pause is None or time.monotonic() + pause >= deadline:
                raise _not_begun(error) from error
            time.sleep(pause)
        except (RefusedAddress, RateLimited) as error:
            raise _not_begun(error) from error
        except ChannelError as error:
            return ActionResult(False, f"was not dispatched: {error}")
        else:
            break
    summary = f"{action['workflow']} was dispatched in {repo}" + (f": {url}" if url else "")
    return ActionResult(True, summary, data={"url": url} if url else {})
