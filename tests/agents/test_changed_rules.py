"""Rules, policies, groups and operations change while runs wait: what was frozen stays."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.contrib.auth.models import Group

from agents import services
from agents.actions import FIELDS
from agents.models import Execution, Run
from agents.operations import load_operations
from approvals.core.lifecycle import Actor
from approvals.errors import NotAllowed
from tests.agents import executors_of_tests as executors
from tests.agents import scenes
from tests.agents.executors_of_tests import WorkerDied
from tests.agents.worker import Worker

pytestmark = pytest.mark.django_db(transaction=True)

Changed = Callable[[str, dict[str, Any]], None]
STRICT = {"quorum": 2, "expires_after_seconds": 60, "execute_within_seconds": 60}


@pytest.fixture
def change(settings: Any, tmp_path: Path) -> Iterator[Changed]:
    """A function that sets values in a file of config/hitl, as a new release that was started."""
    folder = tmp_path / "config"
    shutil.copytree(settings.HITL_CONFIG_DIR, folder)

    def changed(name: str, values: dict[str, Any]) -> None:
        path = folder / "hitl" / name
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **values}))
        settings.HITL_CONFIG_DIR = folder
        load_operations.cache_clear()

    yield changed
    load_operations.cache_clear()


def policies(**facts: Any) -> dict[str, Any]:
    """One policy for everything."""
    return {"policies": [{"name": "new", "groups": ["release-managers"], **facts}]}


@pytest.mark.parametrize(
    "policy", [{**STRICT}, {"groups": ["auditors"]}, {"quorum": 3, "groups": ["platform"]}]
)
def test_a_waiting_request_is_decided_by_the_policy_it_was_opened_with(
    worker: Worker, change: Changed, policy: dict[str, Any]
) -> None:
    run = scenes.waiting(worker)
    (request,) = worker.pending(run)
    frozen = (request.policy, request.expires_at)
    change("approval-policies.yaml", policies(**policy))
    Run.objects.filter(pk=run.pk).update(wanted=2)
    worker.decide(request)
    request.refresh_from_db()
    assert (request.policy, request.expires_at, request.status) == (*frozen, "approved")
    assert scenes.fresh(run).status == "completed"
    # What is opened from now on is decided by the new one.
    later = worker.pending(scenes.waiting(worker))[0]
    assert later.policy["name"] == "new"


def test_a_quorum_that_was_lowered_does_not_lower_what_was_asked(
    worker: Worker, change: Changed
) -> None:
    change("approval-policies.yaml", policies(quorum=2))
    run = scenes.waiting(worker)
    change("approval-policies.yaml", policies(quorum=1))
    worker.decide(worker.pending(run)[0])
    assert (scenes.fresh(run).status, executors.begun) == ("waiting", [])


def test_members_of_a_group_that_was_renamed_are_refused_until_it_is_back(worker: Worker) -> None:
    run = scenes.waiting(worker)
    (request,) = worker.pending(run)
    group = Group.objects.get(name="release-managers")
    Group.objects.filter(pk=group.pk).update(name="shippers")
    with pytest.raises(NotAllowed, match="release-managers"):
        worker.vote(request)
    assert [row.pk for row in worker.pending(run)] == [request.pk]
    Group.objects.filter(pk=group.pk).update(name="release-managers")
    worker.decide(request)
    assert scenes.fresh(run).status == "completed"


def test_a_risk_that_was_raised_is_that_of_what_is_asked_from_then_on(
    worker: Worker, change: Changed
) -> None:
    rollback: dict[str, Any] = {"operation": "rollback", **scenes.VERSION}
    run = scenes.waiting(worker, **rollback)
    (request,) = worker.pending(run)
    assert request.risk_level == "high"
    rule = {"name": "all", "conditions": {"operation": "*"}, "risk_level": "critical"}
    change("risk-assessment-rules.yaml", {"rules": [{**rule, "requires_approval": True}]})
    worker.decide(request)
    request.refresh_from_db()
    assert (request.risk_level, scenes.fresh(run).status) == ("high", "completed")
    assert worker.pending(scenes.waiting(worker, **rollback))[0].risk_level == "critical"


def test_a_step_that_needed_nobody_and_now_does_stops_before_it_is_begun_again(
    worker: Worker, operator: Actor, change: Changed
) -> None:
    executors.next_outcomes.append("die")
    with pytest.raises(WorkerDied):
        worker.start("task", operation="update_docs", environment="development")
    (begun,) = executors.begun
    rule = {"name": "all", "conditions": {"operation": "*"}, "risk_level": "high"}
    change("risk-assessment-rules.yaml", {"rules": [{**rule, "requires_approval": True}]})
    Run.objects.update(lease_until="2020-01-01T00:00:00Z")
    Execution.objects.update(lease_until="2020-01-01T00:00:00Z")
    worker.turn()
    run = Run.objects.get()
    assert run.status == "needs_attention"
    assert "The rules now require an approval" in run.attention
    assert executors.begun == [begun]


def test_an_operation_that_is_gone_runs_as_it_was_approved(worker: Worker, change: Changed) -> None:
    run = scenes.waiting(worker)
    (request,) = worker.pending(run)
    nothing = {"timeout_seconds": 5, "idempotent": True, "command": {"argv": ["true"]}}
    other = {"description": "Do nothing.", **nothing}
    change("operations.yaml", {"operations": {"other": other}})
    assert "deploy" not in load_operations().names
    worker.decide(request)
    assert [action for _, action in executors.begun] == [request.action]
    assert scenes.fresh(run).status == "completed"
    # What is asked from then on is refused before anybody is.
    assert scenes.fresh(scenes.waiting(worker)).status == "failed"


@pytest.mark.parametrize(
    ("knows", "sentence"),
    [
        (FIELDS["command"] - {"cwd"}, "would pass over cwd"),
        (FIELDS["command"] | {"user"}, "says nothing of user"),
    ],
)
def test_an_action_that_this_release_reads_otherwise_is_not_begun(
    worker: Worker,
    operator: Actor,
    monkeypatch: pytest.MonkeyPatch,
    knows: frozenset[str],
    sentence: str,
) -> None:
    run = scenes.waiting(worker)
    with monkeypatch.context() as patched:
        patched.setitem(FIELDS, "command", knows)
        worker.decide(worker.pending(run)[0])
    stopped = scenes.fresh(run)
    assert stopped.status == "needs_attention"
    assert sentence in stopped.attention
    assert (executors.begun, Execution.objects.count()) == ([], 0)
    services.settle_run(run.pk, "retry", actor=operator, reason="By the other release.")
    worker.turn()
    assert (scenes.fresh(run).status, len(executors.begun)) == ("completed", 1)


def test_an_action_whose_executor_is_gone_is_not_begun(
    worker: Worker, operator: Actor, settings: Any
) -> None:
    run = scenes.waiting(worker)
    known = settings.HITL_EXECUTORS
    settings.HITL_EXECUTORS = {"http": known["http"]}
    worker.decide(worker.pending(run)[0])
    stopped = scenes.fresh(run)
    assert stopped.status == "needs_attention"
    assert "There is no executor named 'command'" in stopped.attention
    assert not Execution.objects.exists()
    settings.HITL_EXECUTORS = known
    services.settle_run(run.pk, "retry", actor=operator, reason="It is back.")
    worker.turn()
    assert (scenes.fresh(run).status, len(executors.begun)) == ("completed", 1)
