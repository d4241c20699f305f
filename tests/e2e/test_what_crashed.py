"""Actions that died with their worker: repeated where that does no harm, else left to a person."""

import pytest

from tests.e2e.crash import Crashed
from tests.e2e.gateway import Gateway

# Their time of 12 s and the grace of 30 s, if this file runs alone, then a sweep and the work.
KNOWN_AS_CRASHED_SECONDS = 100.0
pytestmark = pytest.mark.timeout(180)


def test_an_idempotent_action_that_died_is_repeated_with_the_same_key(
    gateway: Gateway, crashed: Crashed
) -> None:
    crashed.repeatable.wait("completed", KNOWN_AS_CRASHED_SECONDS)
    first, second = crashed.repeatable.effects()
    assert first["idempotency_key"] == second["idempotency_key"]
    assert first["pid"] != second["pid"]


def test_any_other_action_that_died_waits_for_a_person_who_says_that_it_is_done(
    gateway: Gateway, crashed: Crashed
) -> None:
    run = crashed.done_by_hand
    seen = run.wait("needs_attention", KNOWN_AS_CRASHED_SECONDS)
    assert "may or may not have happened" in seen["attention"]
    gateway.wait_for_sweep()
    assert len(run.effects()) == 1
    words = ("--reason", "The instances were replaced.", "--as", "ada")
    gateway.stack.manage("settle_run", run.id, "done", *words)
    summary = run.wait("completed")["steps"][0]["summary"]
    assert summary == "Settled as done by ada: The instances were replaced."
    assert len(run.effects()) == 1


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


def test_the_log_is_whole_after_all_of_this(gateway: Gateway, crashed: Crashed) -> None:
    del crashed
    assert "The audit log is whole" in gateway.stack.manage("verify_audit")
