"""People are told neither that something was begun which was not, nor the other way round."""

from typing import Any

import pytest

from agents import services
from agents.models import Execution
from approvals import services as approvals
from approvals.core.lifecycle import Actor
from tests.agents import executors_of_tests as executors
from tests.agents import scenes
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.test_executions import NOBODY_LISTENS, approve_and_die, leases_end
from tests.agents.worker import Worker
from tests.approvals.pages import page_of, read, signed_in
from tests.approvals.scenes import manager

pytestmark = pytest.mark.django_db(transaction=True)

IN_DOUBT = (
    " But an earlier attempt has no known end, and may have taken effect."
    " Look, then settle the run."
)


def test_what_may_have_happened_before_is_not_called_not_begun(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task", operation="rollback")
    approve_and_die(worker, run)
    executors.next_outcomes += ["die", "refuse", "refuse"]
    leases_end()
    with pytest.raises(WorkerDied):
        worker.turn()
    for reason in ("Its worker is gone.", "It may safely happen twice."):
        leases_end()
        worker.turn()
        run.refresh_from_db()
        assert (run.status, run.attention) == ("needs_attention", NOBODY_LISTENS + IN_DOUBT)
        assert Execution.objects.get().status == "unknown"
        services.settle_run(run.pk, "retry", actor=operator, reason=reason)
    worker.turn()
    run.refresh_from_db()
    assert (run.status, len(executors.begun)) == ("completed", 5)
    done = Execution.objects.get()
    assert (done.status, done.summary) == ("succeeded", "exited 0")


def test_a_repetition_that_fails_says_nothing_of_the_attempt_before_it(worker: Worker) -> None:
    run = worker.start("task", operation="rollback")
    approve_and_die(worker, run)
    executors.next_outcomes += ["die", "fail"]
    leases_end()
    with pytest.raises(WorkerDied):
        worker.turn()
    # Whoever looks at it now may say nothing yet.
    assert Execution.objects.get().summary == ""
    leases_end()
    worker.turn()
    run.refresh_from_db()
    told = "It was begun once more, and exited 3." + IN_DOUBT
    assert (run.status, run.attention) == ("needs_attention", told)
    row = Execution.objects.get()
    assert (row.status, row.summary, row.output) == ("unknown", told, "no disk left")


def test_what_fails_when_a_person_let_it_begin_again_has_failed(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    approve_and_die(worker, run)
    leases_end()
    worker.turn()
    executors.next_outcomes.append("fail")
    services.settle_run(run.pk, "retry", actor=operator, reason="I looked: it did not happen.")
    worker.turn()
    run.refresh_from_db()
    assert (run.status, Execution.objects.get().summary) == ("failed", "exited 3")


def test_what_may_have_happened_and_is_too_late_to_repeat_is_in_doubt_too(worker: Worker) -> None:
    run = worker.start("task", operation="rollback")
    request = approve_and_die(worker, run)
    leases_end()
    scenes.let_approval_grow_old(request)
    worker.turn()
    run.refresh_from_db()
    assert run.status == "needs_attention"
    assert "should have run within" in run.attention
    assert run.attention.endswith(IN_DOUBT)
    assert (Execution.objects.get().status, len(executors.begun)) == ("unknown", 1)


def test_what_may_have_happened_and_cannot_be_repeated_is_in_doubt_too(
    worker: Worker, settings: Any
) -> None:
    run = worker.start("task", operation="rollback")
    approve_and_die(worker, run)
    leases_end()
    settings.HITL_EXECUTORS = {"http": settings.HITL_EXECUTORS["http"]}
    worker.turn()
    run.refresh_from_db()
    assert run.attention.startswith("The approved action was not begun. There is no executor")
    assert run.attention.endswith(IN_DOUBT)


def test_a_word_that_came_to_nothing_does_not_outlive_the_next_one(
    worker: Worker, operator: Actor, settings: Any
) -> None:
    run = worker.start("task")
    executors.next_outcomes.append("refuse")
    worker.decide(worker.pending(run)[0])
    known = settings.HITL_EXECUTORS
    settings.HITL_EXECUTORS = {"http": known["http"]}
    services.settle_run(run.pk, "retry", actor=operator, reason="Somebody listens now.")
    worker.turn()
    settings.HITL_EXECUTORS = known
    services.settle_run(run.pk, "done", actor=operator, reason="I did it by hand.")
    worker.turn()
    run.refresh_from_db()
    assert (run.status, len(executors.begun)) == ("completed", 1)


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        ("done", "The operation counts as done: a person has looked."),
        ("abandon", "The operation counts as not done: a person has looked."),
    ],
)
def test_the_requests_page_tells_what_a_person_has_settled(
    worker: Worker, operator: Actor, outcome: str, sentence: str
) -> None:
    run = worker.start("task")
    request = approve_and_die(worker, run)
    leases_end()
    worker.turn()
    client = signed_in(manager("maria"))
    assert "Whether the operation happened is not known." in page_of(client, request.pk).text
    services.settle_run(run.pk, outcome, actor=operator, reason="I looked.")
    worker.turn()
    text = page_of(client, request.pk).text
    assert sentence in text
    assert f"Settled as {outcome} by olga: I looked." in text
    assert "The run has ended: " in text
    assert "is being carried out" not in text


def test_the_requests_page_tells_what_was_settled_that_never_began(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    request = worker.pending(run)[0]
    worker.vote(request)
    scenes.let_approval_grow_old(request)
    worker.turn()
    client = signed_in(manager("maria"))
    assert "The operation was not begun." in page_of(client, request.pk).text
    assert "attempt" not in read(client.get(f"/runs/{run.pk}/")).text
    services.settle_run(run.pk, "done", actor=operator, reason="I did it by hand.")
    worker.turn()
    text = page_of(client, request.pk).text
    assert "The operation counts as done: a person has looked." in text
    assert "The operation was not begun" not in text


def test_a_run_whose_request_was_cancelled_is_told_to_have_ended(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task")
    request = worker.pending(run)[0]
    approvals.cancel_request(request.pk, actor=operator, reason="Not this week.")
    worker.turn()
    run.refresh_from_db()
    assert run.status == "cancelled"
    text = page_of(signed_in(manager("maria")), request.pk).text
    assert "The run has ended: cancelled." in text
    assert "The run goes on." not in text


def test_what_an_attempt_left_is_not_the_next_ones(worker: Worker, operator: Actor) -> None:
    run = worker.start("task", operation="rollback")
    approve_and_die(worker, run)
    executors.next_outcomes += ["fail", "refuse"]
    leases_end()
    worker.turn()
    assert Execution.objects.get().output == "no disk left"
    services.settle_run(run.pk, "retry", actor=operator, reason="There is room now.")
    worker.turn()
    row = Execution.objects.get()
    assert (row.status, row.output, row.data) == ("unknown", "", {})


def test_the_requests_page_of_an_abandoned_run_says_that_nothing_was_begun(
    worker: Worker, operator: Actor, settings: Any
) -> None:
    run = worker.start("task")
    request = worker.pending(run)[0]
    settings.HITL_EXECUTORS = {"http": settings.HITL_EXECUTORS["http"]}
    worker.decide(request)
    services.settle_run(run.pk, "abandon", actor=operator, reason="Not any more.")
    text = page_of(signed_in(manager("maria")), request.pk).text
    assert "The operation was not begun." in text
    assert "The run has ended: failed." in text
