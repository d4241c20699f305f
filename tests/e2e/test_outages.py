"""What is away for a while, or loses an answer, changes nothing about what is done in the end."""

import signal
import time
from collections.abc import Callable
from typing import TypeVar

from celery import Celery
from django.conf import settings
from django.utils.module_loading import import_string

from tests.e2e.gateway import Gateway

RECONCILE = "integrations.tasks.reconcile_linear"
# Long enough for a busy machine, and less than anybody's patience.
PROMPT_SECONDS = 3.0

T = TypeVar("T")


def promptly(call: Callable[[], T]) -> T:
    """What the call returns, which must not take long."""
    began = time.monotonic()
    result = call()
    assert time.monotonic() - began < PROMPT_SECONDS
    return result


def test_workflows_are_started_and_requests_decided_while_redis_is_away(gateway: Gateway) -> None:
    by_api, by_move = gateway.ask("deploy"), gateway.ask("deploy")
    request_id, issue = by_api.request(), gateway.issue(by_move.request())
    gateway.stack.redis.stop()
    started = promptly(lambda: gateway.ask("deploy"))
    assert promptly(lambda: gateway.approve(request_id)).json()["status"] == "approved"
    promptly(lambda: gateway.sandbox.move(issue["identifier"], "Done", "ada"))
    answer = gateway.answer_to(issue["id"], "Ada Approver moved it to Done")
    assert answer["status"] == "resumed"
    gateway.stack.redis.start()
    for run in (by_api, by_move):
        run.wait("completed", seconds=60)
        assert len(run.effects()) == 1
    gateway.issue(started.request(), state="Todo")
    # Nothing had to be started again for this.
    assert [p.poll() for p in gateway.stack.processes.values()] == [None, None, None]


def test_a_redis_that_answers_nothing_holds_nobody_up_for_long(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    request_id = run.request()
    gateway.wait_until_told(request_id, "linear")
    redis = gateway.stack.redis.process
    redis.send_signal(signal.SIGSTOP)
    try:
        answer = promptly(lambda: gateway.approve(request_id))
        started = promptly(lambda: gateway.ask("deploy"))
    finally:
        redis.send_signal(signal.SIGCONT)
    assert answer.json()["status"] == "approved"
    run.wait("completed", seconds=60)
    assert len(run.effects()) == 1
    started.request()


def test_an_issue_is_created_once_after_linear_has_failed_for_a_while(gateway: Gateway) -> None:
    gateway.wait_until_quiet()
    gateway.sandbox.fault("linear", "status", "issueCreate", status=500, times=2)
    run = gateway.ask("deploy")
    request_id = run.request()
    failing = "SELECT 1 FROM approvals_delivery WHERE request_id = %s AND last_error LIKE %s"
    gateway.stack.wait_for_row(failing, request_id, "%answered 500%")
    # Nobody has to wait for Linear: the run waits for people, who may decide elsewhere.
    assert run.wait("waiting")
    issue = gateway.issue(request_id)
    assert [found["id"] for found in gateway.issues(request_id)] == [issue["id"]]
    gateway.sandbox.move(issue["identifier"], "Done", "ada")
    run.wait("completed")
    assert len(run.effects()) == 1


def test_a_reply_that_linear_lost_leaves_one_issue(gateway: Gateway) -> None:
    gateway.wait_until_quiet()
    gateway.sandbox.fault("linear", "lose_reply", "issueCreate", times=1)
    run = gateway.ask("deploy")
    request_id = run.request()
    gateway.wait_until_told(request_id, "linear")
    (issue,) = gateway.issues(request_id)
    assert gateway.approval(request_id)["linear_issue_id"] == issue["identifier"]
    (fault,) = gateway.sandbox.faults()
    assert fault["taken"] == 1


def test_a_reply_that_github_lost_leaves_one_comment_about_each_thing(gateway: Gateway) -> None:
    gateway.wait_until_quiet()
    gateway.sandbox.fault("github", "lose_reply", "create_comment", times=2)
    pull = gateway.open_pull()
    run = gateway.ask("deploy", **pull)
    request_id = run.request()
    gateway.wait_until_told(request_id, "github")
    assert len(gateway.comments_on(pull, 1)) == 1
    assert gateway.reject(request_id).status_code == 200
    run.wait("rejected")
    gateway.wait_until_told(request_id, "github")
    opened, resolved = gateway.comments_on(pull, 2)
    assert "Approval was required" in opened
    assert "Rejected by ben" in resolved
    (fault,) = gateway.sandbox.faults()
    assert fault["taken"] == 2


def test_a_move_whose_webhook_was_lost_is_found_when_linear_is_read_back(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    issue = gateway.issue(run.request())
    gateway.wait_until_told(issue["id"], "linear")
    gateway.sandbox.move(issue["identifier"], "Done", "ada", webhook=False)
    assert run.view()["status"] == "waiting"
    with Celery(broker=gateway.stack.redis.url, set_as_current=False) as beat:
        beat.send_task(RECONCILE, queue="channels")
    run.wait("completed")
    assert len(run.effects()) == 1
    assert gateway.approval(issue["id"])["approved_by"] == "ada"


def test_linear_is_read_back_every_two_minutes() -> None:
    (entry,) = (e for e in settings.CELERY_BEAT_SCHEDULE.values() if e["task"] == RECONCILE)
    assert entry["schedule"] == 120.0
    assert import_string(RECONCILE).name == RECONCILE


def test_messages_that_only_another_release_understands_change_nothing(gateway: Gateway) -> None:
    stack = gateway.stack
    for queue in ("runs", "channels", "sweeps"):
        stack.send_task("agents.tasks.advance_everything", queue)
        stack.send_task("approvals.tasks.deliver", queue, "workflow", "urgently")
        stack.send_task("approvals.tasks.deliver", queue, "carrier_pigeon")
        stack.send_task("agents.tasks.advance_runs", queue, {"shard": 3})
    run = gateway.ask("deploy")
    gateway.approve(run.request())
    run.wait("completed")
    assert len(run.effects()) == 1
    assert [part.poll() for part in stack.processes.values()] == [None, None, None]
