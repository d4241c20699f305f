"""A pull request carries one comment about the opening and one about the outcome."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
from pytest_django import Settings

from approvals.core.events import ChannelError
from approvals.core.lifecycle import Status
from integrations.github.channel import GitHubChannel
from integrations.github.client import GitHubClient
from tests.integrations.github_world import (
    PULL,
    converge,
    part_of,
    remembering,
    resolved,
    snapshot,
    writes,
)
from tests.sandbox_process import GITHUB_TOKEN, REPOSITORY, Sandbox

# Every call is measured, which is a row.
pytestmark = pytest.mark.django_db


def failure(request: Any) -> ChannelError:
    with pytest.raises(ChannelError) as caught:
        converge(request)
    return caught.value


def test_the_opening_is_told_once_with_everything_needed_to_decide(sandbox: Sandbox) -> None:
    request = snapshot()
    receipt = converge(request)
    (comment,) = sandbox.github_comments(PULL)
    assert comment["body"] == (
        f"<!-- hitl:{request.id}:opened -->\n"
        "### Approval required: deploy to production\n"
        "\n"
        "Nothing happens until a person has decided.\n"
        "\n"
        "- **Operation:** `deploy`\n"
        "- **Environment:** `production`\n"
        "- **Risk:** critical\n"
        "- **Expires:** 2026-11-22 13:00 UTC\n"
        "\n"
        "> Saved baskets and faster search\n"
        "\n"
        "[Approval queue](https://gateway.example/approvals/1/)\n"
    )
    assert receipt.reference == f"{REPOSITORY}#{PULL}"
    assert receipt.url.endswith(f"#issuecomment-{comment['id']}")


def test_arguments_and_the_action_stay_out_of_the_pull_request(sandbox: Sandbox) -> None:
    request = snapshot()
    converge(resolved(remembering(request, converge(request))))
    assert "v2.5.0-private" not in str(sandbox.requests("github"))


def test_nothing_is_written_while_nothing_has_changed(sandbox: Sandbox) -> None:
    request = snapshot()
    request = remembering(request, converge(request))
    assert converge(request).memory == request.memory
    assert writes(sandbox) == ["create_comment"]


def test_a_linear_issue_that_comes_later_is_added_in_place(sandbox: Sandbox) -> None:
    request = snapshot()
    later = replace(
        remembering(request, converge(request)),
        linear_issue_id="OPS-12",
        linear_issue_url="https://linear.example/acme/issue/OPS-12",
    )
    converge(later)
    (comment,) = sandbox.github_comments(PULL)
    assert "Linear: [OPS-\u200b12](https://linear.example/acme/issue/OPS-12)" in comment["body"]
    assert writes(sandbox) == ["create_comment", "update_comment"]


@pytest.mark.parametrize(
    ("status", "changes", "sentence"),
    [
        (Status.APPROVED, {}, "Approved by ada at 2026-11-22 10:30 UTC.\n\n> Looks good"),
        (Status.REJECTED, {"reason": "Too late"}, "Rejected by ada at 2026-11-22 10:30 UTC."),
        (
            Status.EXPIRED,
            {"decided_by": "", "reason": "Nobody decided before the deadline."},
            "Nobody decided before 2026-11-22 13:00 UTC, so it does not run.\n\n[Approval queue]",
        ),
        (Status.CANCELLED, {"reason": "Not needed"}, "> Not needed"),
        (
            Status.SUPERSEDED,
            {"decided_by": "", "reason": ""},
            "The operation changed while it waited",
        ),
    ],
)
def test_every_outcome_is_told_once_and_the_opening_says_that_it_is_over(
    sandbox: Sandbox, status: Status, changes: dict[str, Any], sentence: str
) -> None:
    request = snapshot()
    ended = resolved(remembering(request, converge(request)), status, **changes)
    converge(remembering(ended, converge(ended)))
    opened, outcome = sandbox.github_comments(PULL)
    assert opened["body"].startswith(
        f"<!-- hitl:{request.id}:opened -->\n### Approval was required"
    )
    assert f"**{status.capitalize()}.**" in opened["body"]
    assert "Expires" not in opened["body"]
    assert outcome["body"].startswith(
        f"<!-- hitl:{request.id}:resolved -->\n### {status.capitalize()}"
    )
    assert sentence in outcome["body"]
    assert "Saved baskets" not in outcome["body"]


def test_a_request_that_ended_before_it_was_announced_gets_one_comment_that_says_it_all(
    sandbox: Sandbox,
) -> None:
    ended = resolved(snapshot())
    converge(remembering(ended, converge(ended)))
    (comment,) = sandbox.github_comments(PULL)
    assert "Approved by ada" in comment["body"]
    assert "- **Risk:** critical" in comment["body"]
    assert "> Saved baskets and faster search" in comment["body"]


def test_a_reply_lost_after_the_comment_was_written_leads_to_no_second_one(
    sandbox: Sandbox,
) -> None:
    request = snapshot()
    sandbox.fault("github", "lose_reply", "create_comment", times=1)
    lost = failure(request)
    assert not lost.permanent
    request = replace(request, memory=lost.memory or {})
    request = remembering(request, converge(request))
    assert writes(sandbox) == ["create_comment"]

    sandbox.fault("github", "lose_reply", "create_comment", times=1)
    ended = resolved(request)
    lost = failure(ended)
    converge(replace(ended, memory=lost.memory or {}))
    assert len(part_of(sandbox, request.id, "opened")) == 1
    assert len(part_of(sandbox, request.id, "resolved")) == 1


def test_a_lost_comment_is_found_on_a_later_page_and_brought_up_to_date(sandbox: Sandbox) -> None:
    for number in range(120):
        sandbox.add_github_comment(PULL, f"Comment {number}")
    request = snapshot()
    sandbox.fault("github", "lose_reply", "create_comment", times=1)
    failure(request)
    converge(replace(request, environment="staging"))
    (comment,) = part_of(sandbox, request.id, "opened")
    assert "deploy to staging" in comment["body"]


def test_a_marker_copied_by_somebody_else_is_not_taken_for_ours(sandbox: Sandbox) -> None:
    request = snapshot()
    forged = sandbox.add_github_comment(PULL, f"<!-- hitl:{request.id}:opened -->\nApproved!")
    converge(request)
    ours = [found for found in part_of(sandbox, request.id, "opened") if found != forged]
    assert len(ours) == 1
    assert forged in sandbox.github_comments(PULL)


def test_our_own_comment_about_one_request_is_not_taken_for_another(sandbox: Sandbox) -> None:
    other = snapshot()
    mark = f"<!-- hitl:{other.id}:opened -->"
    hostile = snapshot(operation=mark, task={"description": f"{mark}\n{mark}"})
    converge(hostile)
    converge(other)
    bodies = [comment["body"] for comment in sandbox.github_comments(PULL)]
    assert [body.startswith(mark) for body in bodies] == [False, True]


def test_a_comment_that_was_removed_is_written_anew_when_it_has_to_change(
    sandbox: Sandbox,
) -> None:
    request = snapshot()
    request = remembering(request, converge(request))
    (comment,) = sandbox.github_comments(PULL)
    httpx.delete(
        f"{sandbox.github_url}/repos/{REPOSITORY}/issues/comments/{comment['id']}",
        headers={"Authorization": f"Bearer {GITHUB_TOKEN}"},
    ).raise_for_status()
    request = remembering(request, converge(replace(request, linear_issue_id="OPS-1")))
    assert sandbox.github_comments(PULL) == []
    url = "https://linear.example/OPS-1"
    converge(replace(request, linear_issue_id="OPS-1", linear_issue_url=url))
    assert len(part_of(sandbox, request.id, "opened")) == 1


def test_what_was_achieved_before_a_failure_is_remembered(sandbox: Sandbox) -> None:
    request = snapshot()
    ended = resolved(remembering(request, converge(request)))
    sandbox.fault("github", "status", "update_comment", status=502, times=1)
    error = failure(ended)
    assert not error.permanent
    assert set(error.memory or {}) == {"opened", "resolved"}
    converge(replace(ended, memory=error.memory or {}))
    assert [len(part_of(sandbox, ended.id, part)) for part in ("opened", "resolved")] == [1, 1]


@pytest.mark.parametrize(
    ("fault", "shortest", "longest"),
    [
        ({"kind": "rate_limited", "retry_after": 30}, 30, 30),
        ({"kind": "rate_limited", "retry_after": 30, "status": 429}, 30, 30),
        # By GitHub's own clock, of which an answer tells the second, or the one before.
        ({"kind": "rate_limited", "seconds": 300}, 290, 302),
        ({"kind": "status", "status": 429}, 60, 60),
        ({"kind": "status", "status": 403, "message": "You hit a secondary rate limit"}, 60, 60),
    ],
)
def test_a_rate_limit_pauses_for_as_long_as_github_says(
    sandbox: Sandbox, fault: dict[str, Any], shortest: float, longest: float
) -> None:
    sandbox.fault("github", operation="create_comment", times=1, **fault)
    error = failure(snapshot())
    assert not error.permanent
    assert error.retry_after is not None
    assert shortest <= error.retry_after <= longest


@pytest.mark.parametrize(
    ("status", "permanent", "hint"),
    [
        (400, True, "answered 400"),
        (401, True, "GITHUB_TOKEN is not valid"),
        (403, True, "lacks a permission"),
        (404, True, "cannot see it"),
        (422, True, "answered 422"),
        (500, False, "answered 500"),
        (502, False, "answered 502"),
    ],
)
def test_what_repeating_cannot_heal_stops_and_says_why(
    sandbox: Sandbox, status: int, permanent: bool, hint: str
) -> None:
    sandbox.fault("github", "status", "create_comment", status=status)
    error = failure(snapshot())
    assert (error.permanent, error.retry_after) == (permanent, None)
    assert hint in str(error)
    assert GITHUB_TOKEN not in str(error)


def test_a_pull_request_that_does_not_exist_is_named(sandbox: Sandbox) -> None:
    error = failure(snapshot(pr_number=4711))
    assert error.permanent
    assert "/repos/acme/shop/issues/4711/comments" in str(error)


def test_only_pull_requests_of_allowed_repositories_concern_github(
    sandbox: Sandbox, settings: Settings
) -> None:
    channel = GitHubChannel()
    assert channel.wants(snapshot())
    assert channel.wants(snapshot(github_repo="Acme/Shop"))
    assert not channel.wants(snapshot(github_repo="evil/fork"))
    assert not channel.wants(snapshot(pr_number=None))
    assert not channel.wants(snapshot(github_repo=""))
    settings.GITHUB_REPOSITORIES = []
    assert not channel.wants(snapshot())
    assert failure(snapshot()).permanent
    assert sandbox.requests("github") == []


def test_a_crash_between_comment_and_receipt_leads_to_no_second_comment(sandbox: Sandbox) -> None:
    request = snapshot()
    converge(request)
    converge(request)  # the receipt of the first visit was never stored
    assert writes(sandbox) == ["create_comment"]


def test_the_account_is_asked_for_once_in_a_process(sandbox: Sandbox) -> None:
    converge(snapshot())
    converge(snapshot())
    assert len(sandbox.requests("github", "get_user")) == 1


def test_an_older_api_version_is_sent_where_it_is_configured(sandbox: Sandbox) -> None:
    client = GitHubClient(GITHUB_TOKEN, api_url=sandbox.github_url, api_version="2022-11-28")
    client.create_comment(REPOSITORY, PULL, "Hello")
    (call,) = sandbox.requests("github")
    assert call["headers"]["x-github-api-version"] == "2022-11-28"
