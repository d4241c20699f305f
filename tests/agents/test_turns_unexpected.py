"""A run whose turn fails as nobody foresaw waits, and holds up no other run."""

from collections.abc import Callable

import django.db
import pytest
from django.db.models import F
from psycopg import errors

from agents import runtime, services, tasks
from agents.models import Run
from approvals import outbox
from approvals.actors import user_actor
from approvals.clock import clock
from approvals.core.lifecycle import Via
from approvals.models import Delivery
from tests.agents import executors_of_tests as executors
from tests.agents.scenes import SHIP, VERSION, fresh, waiting
from tests.agents.worker import Worker
from tests.approvals.scenes import (
    write_policy_of_another_release,
    write_policy_of_this_release,
)

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "hunter2-hunter2"


def owe(run: Run) -> None:
    """Owe the run a turn, before all others."""
    Run.objects.filter(pk=run.pk).update(
        wanted=F("wanted") + 1, not_before="2020-01-01T00:00:00Z", lease_until=None
    )


def unreadable(worker: Worker) -> Run:
    """A run that is owed a turn, and whose request this release cannot read."""
    run = waiting(worker)
    write_policy_of_another_release(worker.pending(run)[0].pk)
    owe(run)
    return run


def fails(error: BaseException) -> Callable[..., None]:
    """A turn that fails like this."""

    def take_turn(*_: object) -> None:
        raise error

    return take_turn


def test_a_turn_that_fails_backs_off_and_the_next_run_has_its_turn(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    failing = [unreadable(worker) for _ in range(3)]
    task = {"operation": "deploy", "environment": "production", **SHIP, **VERSION}
    healthy = services.start_run(
        actor=user_actor(worker.requester, Via.API), workflow="task", task=task
    )
    tasks.advance_runs()
    assert fresh(healthy).status == "waiting"
    for run in map(fresh, failing):
        assert (run.attempts, run.lease_until, run.gave_up_at) == (1, None, None)
        assert run.done < run.wanted
        assert "'of_tomorrow'" in run.last_error
        assert 0 < (run.not_before - clock()).total_seconds() < 4
    tracebacks = [record.exc_text for record in caplog.records if record.exc_text]
    assert len(tracebacks) == len(failing)
    assert all("in frozen_policy" in text for text in tracebacks)


def test_it_goes_on_once_the_release_is_back(worker: Worker) -> None:
    run = unreadable(worker)
    worker.turn()
    (request,) = worker.pending(run)
    write_policy_of_this_release(request.pk)
    Run.objects.filter(pk=run.pk).update(not_before=clock())
    worker.turn()
    assert (fresh(run).status, fresh(run).attempts, fresh(run).last_error) == ("waiting", 0, "")
    worker.decide(request)
    assert fresh(run).status == "completed"
    assert len(executors.begun) == 1


def test_it_needs_a_person_after_the_bound(worker: Worker) -> None:
    run = unreadable(worker)
    Run.objects.filter(pk=run.pk).update(attempts=outbox.MAX_ATTEMPTS - 1)
    worker.turn()
    run = fresh(run)
    assert run.status == "needs_attention"
    assert "'of_tomorrow'" in run.attention
    assert run.done == run.wanted


def test_what_an_ended_run_left_open_is_cancelled_once_it_can_be_read(worker: Worker) -> None:
    run = unreadable(worker)
    (request,) = worker.pending(run)
    Run.objects.filter(pk=run.pk).update(status="cancelled", ended_at=clock())
    worker.turn()
    assert (fresh(run).attempts, len(worker.pending(run))) == (1, 1)
    write_policy_of_this_release(request.pk)
    Run.objects.filter(pk=run.pk).update(not_before=clock())
    worker.turn()
    assert (fresh(run).attempts, fresh(run).last_error, worker.pending(run)) == (0, "", [])


def test_a_verdict_that_cannot_be_handed_over_backs_off_and_is_used_once(worker: Worker) -> None:
    run = waiting(worker)
    (request,) = worker.pending(run)
    worker.vote(request)
    write_policy_of_another_release(request.pk)
    worker.turn()
    sent = Delivery.objects.get(request=request, channel="workflow")
    assert (sent.attempts, sent.gave_up_at, executors.begun) == (1, None, [])
    assert "'of_tomorrow'" in sent.last_error
    write_policy_of_this_release(request.pk)
    Delivery.objects.update(not_before=clock())
    worker.turn()
    assert fresh(run).status == "completed"
    assert len(executors.begun) == 1


def test_what_is_told_of_it_holds_no_secret(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = waiting(worker, deploy_token=SECRET)
    owe(run)
    monkeypatch.setattr(runtime, "take_turn", fails(ValueError(f"no access with {SECRET}")))
    worker.turn()
    assert "no access with" in fresh(run).last_error
    assert SECRET not in fresh(run).last_error
    assert SECRET not in caplog.text
    assert SECRET not in "".join(record.exc_text or "" for record in caplog.records)


@pytest.mark.parametrize(
    "error",
    [
        django.db.InterfaceError("connection already closed"),
        errors.AdminShutdown("terminating connection"),
        SystemExit(1),
    ],
    ids=repr,
)
def test_what_is_nobodys_fault_ends_the_task_and_costs_no_attempt(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    run = waiting(worker)
    owe(run)
    monkeypatch.setattr(runtime, "take_turn", fails(error))
    with pytest.raises(type(error)):
        tasks.advance_runs()
    run = fresh(run)
    assert (run.attempts, run.last_error) == (0, "")
    assert run.lease_token is not None
