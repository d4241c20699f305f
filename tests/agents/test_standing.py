"""Who may end or settle a run, and what becomes of the requests that it waits for."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from agents import services
from agents.restoring import accept_database
from approvals import actors
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.errors import InvalidInput, NotAllowed
from approvals.models import ApprovalRequest
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)


def test_who_asked_and_operators_may_cancel_a_run_and_its_requests_go_with_it(
    worker: Worker, operator: Actor
) -> None:
    rosa = actors.user_actor(worker.requester, Via.API)
    for actor in (rosa, operator):
        run = worker.start("task", arguments={"version": "v2.5.0"})
        services.cancel_run(run.pk, actor=actor, reason="Not now.")
        run.refresh_from_db()
        request = ApprovalRequest.objects.get(workflow_id=str(run.pk))
        assert run.status == "cancelled"
        assert (request.status, request.decided_by) == ("cancelled", actor.name)
        assert request.decision_reason == "Not now."


def test_nobody_else_may_cancel_a_run(worker: Worker, operator: Actor) -> None:
    ada = actors.user_actor(worker.approver, Via.WEB)
    rosa = actors.user_actor(worker.requester, Via.API)
    run = worker.start("task", arguments={"version": "v2.5.0"})
    for actor in (ada, replace(rosa, active=False), replace(operator, active=False)):
        with pytest.raises(NotAllowed, match="Only whoever asked"):
            services.cancel_run(run.pk, actor=actor, reason="Not now.")
    run.refresh_from_db()
    assert run.status == "waiting"
    assert len(worker.pending(run)) == 1


def test_only_an_operator_settles_a_run(worker: Worker, operator: Actor) -> None:
    run = worker.start("task", arguments={"version": "v2.5.0"})
    rosa = actors.user_actor(worker.requester, Via.API)
    for actor in (rosa, replace(operator, active=False)):
        with pytest.raises(NotAllowed, match="Only an operator"):
            services.settle_run(run.pk, "abandon", actor=actor, reason="Stop.")
    with pytest.raises(NotAllowed, match="only one that needs attention"):
        services.settle_run(run.pk, "abandon", actor=operator, reason="Stop.")


def test_a_request_that_was_decided_meanwhile_keeps_its_decision(
    worker: Worker, operator: Actor
) -> None:
    run = worker.start("task", arguments={"version": "v2.5.0"})
    worker.vote(worker.pending(run)[0], Choice.REJECT)
    services.cancel_run(run.pk, actor=operator, reason="Not now.")
    assert ApprovalRequest.objects.get(workflow_id=str(run.pk)).status == "rejected"


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (" ", "Give a reason of at most 4000 characters."),
        ("x" * 4001, "The reason is longer than 4000 characters."),
        ("a\x00", "The reason contains a NUL or a lone surrogate."),
    ],
)
@pytest.mark.parametrize(
    "verb", [partial(services.settle_run, UUID(int=0), "done"), accept_database]
)
def test_a_reason_that_cannot_be_kept_is_refused_for_what_is_wrong_with_it(
    operator: Actor, verb: Callable[..., Any], reason: str, sentence: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        verb(actor=operator, reason=reason)
    assert (caught.value.field, str(caught.value)) == ("reason", sentence)
