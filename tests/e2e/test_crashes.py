"""Workers that die or are stopped: the work goes on once, or a person is asked.

A killed action is known as such 30 s after its time is over. The first tests use these seconds.
"""

from dataclasses import dataclass

import pytest

from tests.e2e.gateway import Gateway, Run
from tests.e2e.stack import STOP_SECONDS
from tests.processes import runs
from tests.waiting import eventually

# Its time of 8 s and the grace of 30 s, then a sweep, then the work itself on a busy machine.
KNOWN_AS_CRASHED_SECONDS = 90.0
SLOW = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Crashed:
    """Runs whose worker was killed in the middle of their action; it works again."""

    repeatable: Run
    done_by_hand: Run
    to_be_retried: Run

    @property
    def all(self) -> tuple[Run, ...]:
        """Each of them."""
        return self.repeatable, self.done_by_hand, self.to_be_retried


@pytest.fixture(scope="module")
def crashed(whole_gateway: Gateway) -> Crashed:
    """A worker was killed while three approved actions were at work."""
    gateway, stack = whole_gateway, whole_gateway.stack
    crashed = Crashed(gateway.ask("repair"), gateway.ask("replace"), gateway.ask("replace"))
    gates = [stack.close_gate(run.label) for run in crashed.all]
    requests = [run.request() for run in crashed.all]
    for request_id in requests:
        assert gateway.approve(request_id).status_code == 200
    for run in crashed.all:
        run.wait_for_effects(1)
    stack.kill("worker")
    for gate in gates:
        gate.remove()
    stack.start_part("worker")
    return crashed


def test_an_action_does_not_outlive_its_killed_worker(crashed: Crashed) -> None:
    pids = [effect["pid"] for run in crashed.all for effect in run.effects()]
    eventually(lambda: not any(map(runs, pids)), "the actions have ended with their worker")


def test_what_was_decided_before_the_worker_died_follows_once_it_is_back(gateway: Gateway) -> None:
    run = gateway.ask("deploy")
    request_id = run.request()
    with gateway.stack.connection() as connection:
        # As long as somebody else moves the thread, the worker cannot deliver the verdict.
        lock = "SELECT pg_advisory_lock(hashtextextended(%s, 0))"
        connection.execute(lock, [f"hitl-thread:{run.id}"])
        assert gateway.approve(request_id).status_code == 200
        gateway.wait_until_tried(request_id)
        gateway.stack.kill("worker")
    assert (run.view()["status"], run.effects()) == ("waiting", [])
    gateway.stack.start_part("worker")
    run.wait("completed")
    gateway.wait_until_told(request_id)
    assert len(run.effects()) == 1


def test_what_is_asked_and_decided_while_no_worker_runs_follows_once_one_does(
    gateway: Gateway,
) -> None:
    waiting = gateway.ask("deploy")
    request_id = waiting.request()
    gateway.stack.kill("worker")
    started = gateway.ask("deploy")
    assert gateway.approve(request_id).status_code == 200
    gateway.stack.start_part("worker")
    waiting.wait("completed")
    assert len(waiting.effects()) == 1
    assert gateway.approval(started.request())["status"] == "pending"


def test_a_worker_that_is_asked_to_stop_lets_its_action_finish(gateway: Gateway) -> None:
    run = gateway.ask("replace")
    request_id = run.request()
    gate = gateway.stack.close_gate(run.label)
    assert gateway.approve(request_id).status_code == 200
    run.wait_for_effects(1)
    log, worker = gateway.stack.log("worker"), gateway.stack.processes.pop("worker")
    worker.terminate()
    eventually(lambda: "Warm shutdown" in log.read_text(), "the worker was told to stop")
    gate.open()
    assert worker.wait(STOP_SECONDS) == 0
    assert run.view()["status"] == "completed"
    assert len(run.effects()) == 1
    query = "SELECT status, attempts FROM agents_execution WHERE request_id = %s"
    assert gateway.stack.rows(query, request_id) == [{"status": "succeeded", "attempts": 1}]


@SLOW
def test_an_idempotent_action_that_died_is_repeated_with_the_same_key(
    gateway: Gateway, crashed: Crashed
) -> None:
    crashed.repeatable.wait("completed", KNOWN_AS_CRASHED_SECONDS)
    first, second = crashed.repeatable.effects()
    assert first["idempotency_key"] == second["idempotency_key"]
    assert first["pid"] != second["pid"]


@SLOW
def test_any_other_action_that_died_waits_for_a_person_who_says_that_it_is_done(
    gateway: Gateway, crashed: Crashed
) -> None:
    run = crashed.done_by_hand
    seen = run.wait("needs_attention", KNOWN_AS_CRASHED_SECONDS)
    assert "may or may not have happened" in seen["attention"]
    gateway.wait_for_sweeps(2)
    assert len(run.effects()) == 1
    words = ("--reason", "The instances were replaced.", "--as", "ada")
    gateway.stack.manage("settle_run", run.id, "done", *words)
    summary = run.wait("completed")["steps"][0]["summary"]
    assert summary == "Settled as done by ada: The instances were replaced."
    assert len(run.effects()) == 1


@SLOW
def test_any_other_action_that_died_is_begun_again_when_a_person_says_so(
    gateway: Gateway, crashed: Crashed
) -> None:
    run = crashed.to_be_retried
    run.wait("needs_attention", KNOWN_AS_CRASHED_SECONDS)
    words = ("--reason", "Nothing had been replaced.", "--as", "ada")
    gateway.stack.manage("settle_run", run.id, "retry", *words)
    run.wait("completed")
    first, second = run.effects()
    assert first["idempotency_key"] == second["idempotency_key"]
    gateway.stack.manage("settle_run", run.id, "retry", *words, status=1)
