"""Workers that die or are stopped: what was decided follows once, when one is back.

What becomes of the actions that died with their worker is known 30 s after their time is over:
`test_what_crashed.py` looks at them, when other tests have used that time.
"""

from tests.e2e.crash import Crashed
from tests.e2e.gateway import Gateway
from tests.e2e.stack import STOP_SECONDS
from tests.processes import runs
from tests.waiting import eventually


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
