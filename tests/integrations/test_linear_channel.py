"""What Linear shows of a request, and what the gateway hears from it, over the real sandbox."""

from typing import Any

import pytest

from approvals import actors, services
from approvals.core.lifecycle import Choice, Via
from tests.integrations.linear_world import DEPLOY, MIGRATE, TERRAFORM, LinearWorld

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _people(linear: LinearWorld) -> None:
    linear.people()


def test_the_issue_says_everything_that_a_decision_needs(linear: LinearWorld) -> None:
    request_id = linear.opened(
        {**DEPLOY, "description": "the canary @here looked <b>clean</b>", "api_token": "hunter2"},
        requested_by="rosa",
        pr_number=7,
        pr_url="https://github.com/acme/shop/pull/7",
        github_repo="acme/shop",
    )
    issue = linear.issue(request_id)
    title = "[APPROVAL REQUIRED] deploy to production: the canary @here looked <b>clean</b>"
    assert issue["title"] == title
    assert (issue["labels"], issue["project"], issue["priority"]) == (
        ["approval-required"],
        "Approvals",
        1,
    )
    assert [link["url"] for link in issue["attachments"]] == ["https://github.com/acme/shop/pull/7"]
    text = issue["description"]
    row = linear.row(request_id)
    for expected in (
        "**Critical risk.**",
        "**production\\_deploy** (critical): operation is deploy and environment is production",
        "requested by rosa",
        "release-managers",
        f"{row.expires_at:%Y-%m-%d %H:%M} UTC",
        row.digest,
        row.url,
        "move this issue to **Done** or **Approved**",
        "move it to **Canceled** or **Rejected**",
        "v2.5.0",
    ):
        assert expected in text
    assert "hunter2" not in text
    assert "@here" not in text.split("## Task", maxsplit=1)[0]
    assert "<b>" not in text.split("## Task", maxsplit=1)[0]
    assert row.linear_issue_id == issue["identifier"]
    assert row.linear_issue_url == issue["url"]


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (
            {"argv": ["deploy", "--note", "it's `new`"]},
            "Command, without a shell:\n\n```\ndeploy --note 'it'\"'\"'s `new`'\n```",
        ),
        (
            {"url": "https://ci.example/run", "body": {"api_token": "hunter2", "a": 1}},
            (
                "HTTP call:\n\n```\nPOST https://ci.example/run\n{\n"
                '  "a": 1,\n  "api_token": "••••••"\n}\n```'
            ),
        ),
        (
            {"workflow": "ship.yml", "repo": "acme/shop", "ref": "main", "inputs": {"to": "x"}},
            'GitHub workflow run:\n\n```\nship.yml in acme/shop at main\n{\n  "to": "x"\n}\n```',
        ),
        ({"spell": "abracadabra"}, '## What will run\n\n```\n{\n  "spell": "abracadabra"\n}\n```'),
        (None, "## What will run\n\nThe workflow does the work itself with the task below."),
    ],
    ids=["command", "http", "github workflow", "another executor", "the workflow itself"],
)
def test_the_issue_says_in_words_what_will_run(
    linear: LinearWorld, action: dict[str, Any] | None, told: str
) -> None:
    issue = linear.issue(linear.opened(action=action))
    assert told in issue["description"]
    assert issue["description"].count("abracadabra") <= 1
    assert "hunter2" not in issue["description"]


def test_a_request_that_too_few_people_can_decide_says_so(linear: LinearWorld) -> None:
    services.create_approver("ben", email="b@example.com", groups=[])
    linear.row(linear.opened(TERRAFORM, agent_name="infrastructure", requested_by="ada"))
    text = linear.sandbox.issues()[0]["description"]
    assert "**Only 1 person could decide when this was opened; 2 are needed.**" in text


def test_the_template_is_the_floor_of_the_priority(linear: LinearWorld) -> None:
    assert linear.issue(linear.opened(TERRAFORM))["priority"] == 2
    assert linear.issue(linear.opened(MIGRATE))["priority"] == 3


def test_a_reply_that_gets_lost_leaves_one_issue(linear: LinearWorld) -> None:
    linear.sandbox.fault("linear", "lose_reply", "issueCreate", times=1)
    request_id = linear.opened()
    assert "gave no answer" in linear.delivery(request_id).last_error
    linear.again(request_id)
    assert len(linear.sandbox.issues()) == 1
    assert linear.row(request_id).linear_issue_id == linear.issue(request_id)["identifier"]


@pytest.mark.parametrize("kind", ["reset", "status", "graphql_error"])
def test_linear_that_fails_for_a_while_gets_the_issue_in_the_end(
    linear: LinearWorld, kind: str
) -> None:
    more = {"status": 503} if kind == "status" else {"code": "INTERNAL_SERVER_ERROR"}
    linear.sandbox.fault("linear", kind, times=2, **(more if kind != "reset" else {}))
    request_id = linear.opened()
    row = linear.delivery(request_id)
    assert row.attempts == 1
    assert row.gave_up_at is None
    linear.again(request_id)
    linear.again(request_id)
    assert len(linear.sandbox.issues()) == 1


def test_a_move_that_no_webhook_told_of_is_a_vote(linear: LinearWorld) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    linear.again(request_id)
    row = linear.row(request_id)
    assert (row.status, row.decided_by, row.decision_reason) == (
        "approved",
        "ada",
        "Moved to Done by Ada Approver",
    )
    assert linear.facts(request_id) == ["request.opened", "vote.cast", "request.approved"]
    assert linear.issue(request_id)["state"] == "Done"
    assert "**Approved** by ada by moving the Linear issue" in linear.replies(request_id)[0]


def test_a_move_to_a_reject_state_rejects(linear: LinearWorld) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Rejected", "ben", webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "rejected"
    assert linear.row(request_id).decision_reason == "Moved to Rejected by Ben Approver"
    assert linear.issue(request_id)["state"] == "Rejected"


def test_a_quorum_of_two_is_reached_by_two_moves(linear: LinearWorld) -> None:
    request_id = linear.opened(TERRAFORM, agent_name="infrastructure", requested_by="rosa")
    linear.sandbox.move(str(request_id), "In Progress", "ada", webhook=False)
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    linear.again(request_id)
    assert linear.issue(request_id)["state"] == "In Progress"
    (reply,) = linear.replies(request_id)
    assert reply == (
        "The move to **Done** by Ada Approver does not decide this yet: 1 of 2 approvals."
        " The issue is back in **In Progress**.\n"
    )
    linear.sandbox.move(str(request_id), "Done", "ben", webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "approved"
    assert linear.issue(request_id)["state"] == "Done"


def test_a_move_that_is_taken_back_late_is_told_the_tally_as_it_is_then(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened(TERRAFORM, agent_name="infrastructure", requested_by="rosa")
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    # The visit that hears the vote cannot say so, and the next one hears nothing new.
    linear.sandbox.fault("linear", "status", "commentCreate", status=502, times=1)
    linear.again(request_id)
    assert [fault["taken"] for fault in linear.sandbox.faults()] == [1]
    assert linear.facts(request_id) == ["request.opened", "vote.cast"]
    (reply,) = linear.replies(request_id)
    assert "Ada Approver does not decide this yet: 1 of 2 approvals." in reply


def test_a_move_by_somebody_without_the_right_goes_back_with_the_reason(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Done", "nora", webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "pending"
    assert linear.issue(request_id)["state"] == "Todo"
    assert "Nora Norights is not linked to an approver" in linear.replies(request_id)[0]
    assert linear.facts(request_id) == ["request.opened", "vote.refused"]


def test_only_three_moves_are_taken_back(linear: LinearWorld) -> None:
    request_id = linear.opened()
    for _ in range(3):
        linear.sandbox.move(str(request_id), "Done", "nora", webhook=False)
        linear.again(request_id)
        assert linear.issue(request_id)["state"] == "Todo"
    assert "leaves this issue where it is put" in linear.replies(request_id)[-1]
    linear.sandbox.move(str(request_id), "Done", "nora", webhook=False)
    linear.again(request_id)
    assert linear.issue(request_id)["state"] == "Done"
    assert linear.row(request_id).status == "pending"
    assert len(linear.replies(request_id)) == 3


def test_a_bounce_that_fails_halfway_is_completed_without_a_second_comment(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Done", "nora", webhook=False)
    linear.sandbox.fault("linear", "lose_reply", "commentCreate", times=1)
    linear.sandbox.fault("linear", "status", "issueUpdate", times=1, status=502)
    for _ in range(3):
        linear.again(request_id)
    assert [fault["taken"] for fault in linear.sandbox.faults()] == [1, 1]
    assert linear.issue(request_id)["state"] == "Todo"
    assert len(linear.replies(request_id)) == 1
    assert "not linked to an approver" in linear.replies(request_id)[0]


@pytest.mark.parametrize("mover", ["bot", "app", "nobody", "gateway"])
def test_what_no_person_moved_decides_nothing_and_stays(linear: LinearWorld, mover: str) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Done", mover, webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "pending"
    assert linear.issue(request_id)["state"] == "Done"
    assert linear.replies(request_id) == []


def test_a_decision_elsewhere_moves_the_issue_and_says_who(linear: LinearWorld) -> None:
    request_id = linear.opened()
    actor = actors.user_actor(linear.ada(), Via.WEB)
    services.cast_vote(request_id, actor=actor, choice=Choice.REJECT, comment="not on a *Friday*")
    linear.deliver()
    assert linear.issue(request_id)["state"] == "Canceled"
    (comment,) = linear.replies(request_id)
    assert "**Rejected** by ada on the web" in comment
    assert "> not on a \\*Friday\\*" in comment


@pytest.mark.parametrize("state", ["In Progress", "Approved"])
def test_after_the_decision_moves_that_tell_no_other_are_left_alone(
    linear: LinearWorld, state: str
) -> None:
    request_id = linear.opened()
    actor = actors.user_actor(linear.ada(), Via.API)
    services.cast_vote(request_id, actor=actor, choice=Choice.APPROVE)
    linear.deliver()
    linear.sandbox.move(str(request_id), state, "ben", webhook=False)
    linear.again(request_id)
    assert linear.issue(request_id)["state"] == state
    assert len(linear.replies(request_id)) == 1


def test_a_late_move_that_tells_another_decision_goes_back_with_the_reason(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened()
    actor = actors.user_actor(linear.ada(), Via.WEB)
    services.cast_vote(request_id, actor=actor, choice=Choice.REJECT, comment="no")
    linear.deliver()
    for times in (1, 2, 3):
        linear.sandbox.move(str(request_id), "Done", "ben", webhook=False)
        linear.again(request_id)
        assert linear.issue(request_id)["state"] == "Canceled"
        assert len(linear.replies(request_id)) == 1 + times
    assert "by Ben Approver came too late" in linear.replies(request_id)[1]
    assert "the request is rejected already" in linear.replies(request_id)[1]
    assert "leaves this issue where it is put" in linear.replies(request_id)[-1]
    assert "still waits" not in linear.replies(request_id)[-1]
    linear.sandbox.move(str(request_id), "Done", "ben", webhook=False)
    linear.again(request_id)
    assert linear.issue(request_id)["state"] == "Done"
    assert linear.facts(request_id) == ["request.opened", "vote.cast", "request.rejected"]


def test_an_ended_request_shows_its_end_even_if_linear_was_down_meanwhile(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened()
    linear.sandbox.fault("linear", "reset", times=1)
    services.withdraw_request(request_id, actor=services.SYSTEM, reason="no longer needed")
    linear.deliver()
    linear.again(request_id)
    assert linear.issue(request_id)["state"] == "Canceled"
    assert "**Cancelled** at" in linear.replies(request_id)[0]


def test_an_outcome_whose_replies_get_lost_is_told_once(linear: LinearWorld) -> None:
    request_id = linear.opened()
    linear.sandbox.fault("linear", "lose_reply", "commentCreate", times=1)
    linear.sandbox.fault("linear", "lose_reply", "issueUpdate", times=1)
    services.withdraw_request(request_id, actor=services.SYSTEM, reason="no longer needed")
    linear.deliver()
    linear.again(request_id)
    linear.again(request_id)
    assert linear.issue(request_id)["state"] == "Canceled"
    assert len(linear.replies(request_id)) == 1
    assert linear.delivery(request_id).last_error == ""


def test_an_issue_in_the_trash_is_no_approval(linear: LinearWorld) -> None:
    request_id = linear.opened()
    linear.sandbox.move(str(request_id), "Done", "ada", webhook=False)
    linear.sandbox.trash(str(request_id), webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "pending"
    delivery = linear.delivery(request_id)
    assert delivery.gave_up_at is not None
    assert linear.issue(request_id)["identifier"] in delivery.last_error


def test_a_workspace_that_counts_from_1_again_serves_new_requests_and_misses_old_ones(
    linear: LinearWorld,
) -> None:
    before = linear.opened()
    linear.sandbox.reset()
    after = linear.opened()
    identifier = linear.issue(after)["identifier"]
    assert linear.row(after).linear_issue_id == identifier == linear.delivery(before).reference
    assert linear.row(before).linear_issue_id is None
    linear.sandbox.move(identifier, "Done", "ada", webhook=False)
    linear.again(after)
    assert [linear.row(request_id).status for request_id in (before, after)] == [
        "pending",
        "approved",
    ]
    lost = linear.delivery(before)
    assert lost.gave_up_at is not None
    assert "no longer exists" in lost.last_error


def test_a_comment_that_no_webhook_told_of_is_heard_but_an_edited_one_is_not(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened(MIGRATE)
    edited = linear.sandbox.comment(str(request_id), "looks fine", "ben", webhook=False)
    linear.sandbox.edit_comment(edited["id"], "/approve", "ben", webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "pending"
    linear.sandbox.comment(str(request_id), "/approve canary looked clean", "ada", webhook=False)
    linear.again(request_id)
    row = linear.row(request_id)
    assert (row.status, row.decided_by, row.decision_reason) == (
        "approved",
        "ada",
        "canary looked clean",
    )


def test_a_thumb_counts_on_the_issue_and_on_the_gateways_comments_only(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened(MIGRATE)
    key = str(request_id)
    linear.sandbox.move(key, "Done", "nora", webhook=False)
    linear.again(request_id)
    own = linear.issue(request_id)["comments"][0]["id"]
    foreign = linear.sandbox.comment(key, "any thoughts?", "nora", webhook=False)["id"]
    linear.sandbox.react(key, "+1", "ada", comment_id=foreign, webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "pending"
    linear.sandbox.react(key, "-1", "ada", comment_id=own, webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "rejected"


def test_a_critical_request_is_not_decided_by_a_comment_and_the_answer_says_so(
    linear: LinearWorld,
) -> None:
    request_id = linear.opened()
    linear.sandbox.comment(str(request_id), "/approve", "ada", webhook=False)
    linear.again(request_id)
    assert linear.row(request_id).status == "pending"
    (answer,) = linear.replies(request_id)
    assert answer.startswith("The vote of ada does not count: A critical request is decided by")


def test_a_rejection_without_a_reason_is_answered(linear: LinearWorld) -> None:
    request_id = linear.opened(MIGRATE)
    linear.sandbox.comment(str(request_id), "/reject", "ada", webhook=False)
    linear.again(request_id)
    linear.again(request_id)
    assert linear.row(request_id).status == "pending"
    (answer,) = linear.replies(request_id)
    assert "A rejection needs a reason: write /reject and why." in answer


def test_nothing_else_on_the_issue_is_touched(linear: LinearWorld) -> None:
    request_id = linear.opened()
    before = linear.issue(request_id)
    linear.sandbox.comment(str(request_id), "let me look", "ben", webhook=False)
    services.withdraw_request(request_id, actor=services.SYSTEM, reason="no longer needed")
    linear.deliver()
    after = linear.issue(request_id)
    for field in ("title", "description", "priority", "labels", "project", "attachments"):
        assert after[field] == before[field]
    written = {
        name: set(call["body"]["variables"]["input"])
        for call in linear.sandbox.requests("linear")
        for name in ("issueUpdate", "commentCreate")
        if name in call["body"]["query"]
    }
    assert written == {"issueUpdate": {"stateId"}, "commentCreate": {"id", "issueId", "body"}}
