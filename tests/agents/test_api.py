"""`/api/workflows` over HTTP: start, follow, cancel."""

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.models import Run
from agents.services import start_run
from approvals.audit import SYSTEM
from approvals.errors import IdempotencyConflict
from approvals.models import AuditEntry
from approvals.services import create_token
from tests.agents.worker import Worker
from tests.approvals.scenes import at_once, person
from tests.servers import DATA_DIR

pytestmark = pytest.mark.django_db(transaction=True)

TASK = {"operation": "deploy", "environment": "production", "description": "Ship v2.5.0"}


class Api:
    """Calls as the holder of one token."""

    def __init__(self, username: str, scope: str) -> None:
        token = create_token(username, scope=scope)
        self._client = Client(headers={"Authorization": f"Bearer {token}"})

    def post(self, path: str, body: Any) -> Any:
        """POST JSON."""
        return self._client.post(path, body, content_type="application/json")

    def get(self, path: str) -> Any:
        """GET."""
        return self._client.get(path)


@pytest.fixture
def rosa(worker: Worker) -> Api:
    return Api("rosa", "request")


def test_a_run_is_accepted_followed_and_ends(rosa: Api, worker: Worker) -> None:
    answer = rosa.post("/api/workflows", {"workflow": "task", "task": TASK})
    assert answer.status_code == 202
    started = answer.json()
    assert set(started) == {"workflow_id", "thread_id", "status"}
    assert started["status"] == "running"
    worker.turn()
    path = f"/api/workflows/{started['workflow_id']}"
    waiting = rosa.get(path).json()
    assert waiting["status"] == "waiting"
    assert waiting["requested_by"] == "rosa"
    assert [item["status"] for item in waiting["approvals"]] == ["pending"]
    assert [step["status"] for step in waiting["steps"]] == ["waiting"]
    run = Run.objects.get()
    worker.decide(worker.pending(run)[0])
    ended = rosa.get(path).json()
    assert ended["status"] == "completed"
    assert ended["result"]["steps"][0]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("said", "asked_by"), [(None, "rosa"), ("", "rosa"), (" \t", "rosa"), (" grace ", "grace")]
)
def test_a_run_is_asked_for_by_somebody(rosa: Api, said: str | None, asked_by: str) -> None:
    body = {"workflow": "task", "task": TASK, "requested_by": said}
    assert rosa.post("/api/workflows", body).status_code == 202
    assert Run.objects.get().requested_by == asked_by


def test_a_run_is_cancelled_with_a_reason(rosa: Api, worker: Worker) -> None:
    run = worker.start("task")
    path = f"/api/workflows/{run.pk}/cancel"
    assert rosa.post(path, {"reason": " "}).status_code == 422
    assert rosa.post(path, {"reason": "Not today."}).json()["status"] == "cancelled"
    again = rosa.post(path, {"reason": "Not today."})
    assert again.status_code == 409
    assert "already ended" in again.json()["detail"]


def test_somebody_elses_run_cannot_be_cancelled(worker: Worker) -> None:
    run = worker.start("task")
    User.objects.create_user("mallory")
    refused = Api("mallory", "request").post(f"/api/workflows/{run.pk}/cancel", {"reason": "Mine."})
    assert refused.status_code == 403
    run.refresh_from_db()
    assert run.status == "waiting"


def test_a_token_that_decides_starts_nothing(worker: Worker) -> None:
    refused = Api("ada", "decide").post("/api/workflows", {"workflow": "task", "task": TASK})
    assert refused.status_code == 403
    assert not Run.objects.exists()


def test_the_same_idempotency_key_is_the_same_run(rosa: Api) -> None:
    body = {"workflow": "task", "task": TASK, "idempotency_key": "k1"}
    first, second = rosa.post("/api/workflows", body), rosa.post("/api/workflows", body)
    assert first.json()["workflow_id"] == second.json()["workflow_id"]
    other = rosa.post("/api/workflows", {**body, "task": {**TASK, "environment": "staging"}})
    assert other.status_code == 409
    assert Run.objects.count() == 1


@pytest.mark.parametrize("known", [True, False])
def test_one_idempotency_key_at_once_starts_one_run_and_fails_at_no_constraint(
    known: bool,
) -> None:
    """PostgreSQL would log the statement that failed, with the task in it."""
    log = DATA_DIR / "postgres" / "server.log"
    said_before = log.stat().st_size
    actor = person("ada") if known else SYSTEM
    asked: dict[str, Any] = {"actor": actor, "workflow": "task", "idempotency_key": "k"}
    runs = at_once(*[lambda: start_run(task=TASK, **asked)] * 6)
    assert {run.pk for run in runs} == {Run.objects.get().pk}
    assert AuditEntry.objects.filter(name="run.started").count() == 1
    said = log.read_bytes()[said_before:].decode()
    assert "one_run_an_idempotency_key" not in said
    assert TASK["description"] not in said


def test_one_key_with_two_bodies_at_once_starts_one_run_and_refuses_the_other() -> None:
    asked: dict[str, Any] = {"actor": person("ada"), "workflow": "task", "idempotency_key": "k"}
    outcomes = at_once(
        *(lambda to=to: start_run(task={**TASK, "environment": to}, **asked) for to in ("a", "b"))
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        *(IdempotencyConflict.__name__, Run.__name__)
    ]
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"workflow": "penguins"}, "workflow"),
        ({"task": {"environment": "production"}}, "task"),
        ({"task": {"operation": "deploy", "environment": 7}}, "task"),
        ({"task": {"operation": "deploy\u0000"}}, "task"),
        ({"task": {"operation": "deploy", "note": "x" * 70_000}}, "task"),
        ({"task": "deploy"}, "task"),
        ({"task": {**TASK, "agent": "penguin"}}, "task"),
        ({"task": {**TASK, "agent": "documentation"}}, "task"),
        ({"task": {**TASK, "github_repo": "not a repository"}}, "github_repo"),
        ({"task": {**TASK, "github_repo": "acme/" + "x" * 300}}, "github_repo"),
        ({"workflow": "hotfix", "task": {**TASK, "arguments": {"flavour": "mint"}}}, "task"),
        ({"pr_number": "7"}, "pr_number"),
        ({"pr_number": 0}, "pr_number"),
        ({"pr_number": 7, "pr_url": "https://github.com/acme/shop/pull/8"}, "pr_url"),
        ({"github_repo": "acme"}, "github_repo"),
        ({"surprise": 1}, "surprise"),
        ({"requested_by": "r\u0000"}, "requested_by"),
    ],
)
def test_a_body_that_does_not_fit_is_422_and_names_the_field(
    rosa: Api, change: dict[str, Any], field: str
) -> None:
    answer = rosa.post("/api/workflows", {"workflow": "task", "task": TASK, **change})
    assert answer.status_code == 422, answer.content
    assert field in {error["field"].split(".")[0] for error in answer.json()["errors"]}
    assert not Run.objects.exists()


def test_secrets_of_a_task_are_masked(rosa: Api) -> None:
    task = {**TASK, "deploy_token": "s3cr3t-value"}
    started = rosa.post("/api/workflows", {"workflow": "task", "task": task}).json()
    shown = rosa.get(f"/api/workflows/{started['workflow_id']}")
    assert "s3cr3t-value" not in shown.content.decode()


def test_an_unknown_run_is_404_and_no_token_is_401(rosa: Api) -> None:
    assert rosa.get(f"/api/workflows/{uuid4()}").status_code == 404
    assert rosa.get("/api/workflows/penguin").status_code == 404
    assert Client().get(f"/api/workflows/{uuid4()}").status_code == 401
