"""A database that was restored acts upon nothing before an operator's word, run by run."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from agents import executions, services, turns
from agents.models import Execution
from agents.restoring import accept_database
from approvals import outbox
from approvals.actors import user_actor
from approvals.core.lifecycle import Actor, Via
from approvals.errors import InvalidInput, NotAllowed
from approvals.models import AuditEntry, DatabaseIdentity
from approvals.selectors.health import is_database_accepted
from approvals.services import open_request
from tests.agents import executors_of_tests as executors
from tests.agents import graphs_of_others as others
from tests.agents import scenes
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

WHICH = "The dump of Tuesday night."
ASKS_THEN_ACTS = "tests.agents.graphs_of_others.asks_then_acts"


def restore() -> None:
    """Let the tables be those of a dump that was taken of another database."""
    DatabaseIdentity.objects.update(identity="7123456789/00000001/16384/16999")


@pytest.fixture(autouse=True)
def _home() -> Any:
    known = DatabaseIdentity.objects.get().identity
    yield
    DatabaseIdentity.objects.update_or_create(pk=1, defaults={"identity": known})


def test_nothing_owed_is_claimed_in_a_restored_database(worker: Worker) -> None:
    run = scenes.waiting(worker)
    (request,) = worker.pending(run)
    worker.vote(request)
    started = services.start_run(
        actor=user_actor(worker.requester, Via.API),
        workflow="task",
        task={"operation": "deploy", "environment": "production", **scenes.VERSION},
    )
    restore()
    assert not is_database_accepted()
    assert (turns.advance_next(), outbox.deliver_next("workflow")) == (False, False)
    # Who had claimed the run before the database was exchanged begins nothing, either.
    with pytest.raises(executions.StillRunning, match="accept_database"):
        executions.run_approved(run.pk, 0, request.pk)
    assert not Execution.objects.exists()
    assert executors.begun == []
    assert scenes.fresh(started).steps == started.steps


def test_a_graph_is_not_entered_by_who_had_claimed_the_run_before(
    worker: Worker, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node of somebody else's acts by itself, and no execution is claimed for it."""
    settings.HITL_GRAPHS = {"asks_then_acts": (ASKS_THEN_ACTS, "1")}
    run = worker.start("asks_then_acts")
    worker.vote(worker.pending(run)[0])
    claim = outbox.claim

    def claim_too_soon(*rows: Any, **how: Any) -> Any:
        claimed = claim(*rows, **how)
        restore()
        return claimed

    monkeypatch.setattr(outbox, "claim", claim_too_soon)
    worker.turn()
    assert not is_database_accepted()
    assert (scenes.fresh(run).status, others.effects) == ("waiting", [])


def test_a_row_that_is_missing_accepts_nothing(worker: Worker) -> None:
    DatabaseIdentity.objects.all().delete()
    run = scenes.waiting(worker)
    assert (run.status, worker.pending(run)) == ("running", [])


def test_whatever_had_not_ended_is_held_with_the_reason(worker: Worker, operator: Actor) -> None:
    runs = scenes.every_state(worker, operator)
    begun = list(executors.begun)
    restore()
    assert accept_database(actor=operator, reason=WHICH) == 3
    assert is_database_accepted()
    for name in ("waiting", "running", "needs_attention"):
        run = scenes.fresh(runs[name])
        assert run.status == "needs_attention"
        assert run.attention.startswith("This database was restored from a backup")
        assert WHICH in run.attention
        told = AuditEntry.objects.filter(stream=run.pk, name="run.needs_attention")
        assert WHICH in told.latest("number").data["reason"]
    # What stood open says so, with what it said before; the action at work may have ended since.
    assert "The reply was lost" in scenes.fresh(runs["needs_attention"]).attention
    held = Execution.objects.filter(run__status="needs_attention")
    assert {(row.status, row.claim_token) for row in held} == {("unknown", None)}
    for name in ("completed", "rejected", "failed", "cancelled"):
        assert scenes.fresh(runs[name]).status == runs[name].status
    (entry,) = AuditEntry.objects.filter(name="database.accepted")
    assert (entry.actor, entry.data["held"]) == ("olga", 3)
    # Leases end, and approvals arrive, also those that are only read back from Linear.
    Execution.objects.update(lease_until="2020-01-01T00:00:00Z")
    worker.vote(worker.pending(runs["waiting"])[0])
    worker.turn()
    turns.flag_silent_workers()
    worker.turn()
    assert executors.begun == begun


def test_each_run_goes_on_by_its_own_word(worker: Worker, operator: Actor) -> None:
    again, happened, unwanted = (scenes.waiting(worker) for _ in range(3))
    decided = scenes.waiting(worker)
    worker.vote(worker.pending(decided)[0])
    restore()
    accept_database(actor=operator, reason=WHICH)
    worker.turn()
    assert executors.begun == []

    services.settle_run(decided.pk, "retry", actor=operator, reason="It had not begun.")
    worker.turn()
    assert scenes.fresh(decided).status == "completed"
    assert len(executors.begun) == 1

    services.settle_run(again.pk, "retry", actor=operator, reason="Nobody had decided.")
    worker.turn()
    assert scenes.fresh(again).status == "waiting"
    worker.decide(worker.pending(again)[0])
    assert scenes.fresh(again).status == "completed"

    services.settle_run(happened.pk, "done", actor=operator, reason="It is live.")
    services.settle_run(unwanted.pk, "abandon", actor=operator, reason="It is not.")
    worker.turn()
    assert [scenes.fresh(run).status for run in (happened, unwanted)] == ["completed", "failed"]
    assert (worker.pending(happened), len(executors.begun)) == ([], 2)


def test_a_word_to_begin_once_more_that_the_backup_holds_counts_no_more(
    worker: Worker, operator: Actor
) -> None:
    run = scenes.stopped(worker)
    services.settle_run(run.pk, "retry", actor=operator, reason="Nothing was deployed.")
    begun = len(executors.begun)
    restore()
    accept_database(actor=operator, reason=WHICH)
    worker.turn()
    row = Execution.objects.get(run=run)
    assert (row.status, row.retry_granted_at, scenes.fresh(run).may_continue) == (
        "unknown",
        None,
        False,
    )
    assert len(executors.begun) == begun
    # One word is enough, as for anything else that may have happened.
    services.settle_run(run.pk, "retry", actor=operator, reason="I looked: it was not.")
    worker.turn()
    assert scenes.fresh(run).status == "completed"
    assert len(executors.begun) == begun + 1


def test_a_graph_of_somebody_elses_is_held_and_goes_on_as_well(
    worker: Worker, operator: Actor, settings: Any
) -> None:
    settings.HITL_GRAPHS = {"asks_then_acts": (ASKS_THEN_ACTS, "1")}
    run = worker.start("asks_then_acts")
    restore()
    accept_database(actor=operator, reason=WHICH)
    worker.decide(worker.pending(run)[0])
    assert others.effects == []
    services.settle_run(run.pk, "retry", actor=operator, reason="Nothing had been done.")
    worker.turn()
    assert (scenes.fresh(run).status, others.effects) == ("completed", ["acted"])


def test_where_nothing_was_lost_an_operator_may_say_so(worker: Worker, operator: Actor) -> None:
    run = scenes.waiting(worker)
    restore()
    assert accept_database(actor=operator, reason="Moved to 18.", nothing_lost=True) == 0
    worker.decide(worker.pending(run)[0])
    assert scenes.fresh(run).status == "completed"
    assert AuditEntry.objects.get(name="database.accepted").data["nothing_lost"] is True


def test_it_may_be_repeated_where_it_was_interrupted(
    worker: Worker, operator: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = scenes.waiting(worker), scenes.waiting(worker)
    restore()

    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("approvals.services.accept_database", interrupted)
        with pytest.raises(KeyboardInterrupt):
            accept_database(actor=operator, reason=WHICH)
    assert not is_database_accepted()
    assert accept_database(actor=operator, reason=WHICH) == 2
    for run in (first, second):
        assert AuditEntry.objects.filter(stream=run.pk, name="run.needs_attention").count() == 1


@pytest.mark.parametrize("nothing_lost", [False, True])
def test_only_an_operator_may_and_says_why(
    worker: Worker, operator: Actor, *, nothing_lost: bool
) -> None:
    run = scenes.waiting(worker)
    restore()
    approver = user_actor(worker.approver, Via.COMMAND)
    with pytest.raises(NotAllowed):
        accept_database(actor=approver, reason=WHICH, nothing_lost=nothing_lost)
    with pytest.raises(InvalidInput):
        accept_database(actor=operator, reason=" ", nothing_lost=nothing_lost)
    assert not is_database_accepted()
    assert scenes.fresh(run).status == "waiting"


def test_the_command_says_what_is_left_to_do(worker: Worker, operator: Actor) -> None:
    scenes.waiting(worker)
    open_request(
        workflow_id="w-1",
        thread_id="t-1",
        task={"operation": "deploy", "environment": "production"},
        agent_name="cicd",
        requested_by="rosa",
        actor=user_actor(worker.requester, Via.API),
    )
    restore()
    given = ["accept_database", "--reason", WHICH]
    with pytest.raises(CommandError, match="no account named nobody"):
        call_command(*given, "--as", "nobody")
    with pytest.raises(CommandError, match="Only an operator"):
        call_command(*given, "--as", User.objects.get(username="ada").username)
    printed = StringIO()
    call_command(*given, "--as", "olga", stdout=printed)
    assert "need attention: 1;" in printed.getvalue()
    assert "wait for: 1;" in printed.getvalue()
