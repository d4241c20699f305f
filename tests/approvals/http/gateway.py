"""People, tokens and tasks for tests of the API, and the calls they make."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.test import Client

from approvals import services
from approvals.selectors.request import find_request

DEPLOY = {"operation": "deploy", "environment": "production", "description": "Release 2.5.0"}
MIGRATE = {"operation": "db_migrate", "environment": "staging", "description": "Add a column"}
DOCS = {"operation": "update_docs", "environment": "production"}
DELETE = {"operation": "delete_bucket", "environment": "production"}


def body(task: dict[str, Any] = DEPLOY, **changes: Any) -> dict[str, Any]:
    """What an agent posts to have a task approved."""
    known = {"workflow_id": "wf-1", "thread_id": "thread-1", "checkpoint_id": "cp-1"}
    return {**known, "task": task, "agent_name": "cicd", **changes}


@dataclass(frozen=True)
class People:
    """An agent's token, and those of two release managers and of a developer who may decide."""

    agent: str
    ana: str
    ben: str
    dev: str


def make_people() -> People:
    """Make the accounts and a token for each."""
    services.create_approver("agent", email="agent@example.org", groups=[])
    for name, group in (
        ("ana", "release-managers"),
        ("ben", "release-managers"),
        ("dev", "developers"),
    ):
        services.create_approver(name, email=f"{name}@example.org", groups=[group])
    return People(
        services.create_token("agent", scope="request"),
        *(services.create_token(name, scope="decide") for name in ("ana", "ben", "dev")),
    )


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    status_code: int
    content: bytes

    def json(self) -> Any:
        """The body, which must be JSON."""
        return json.loads(self.content)


class Api:
    """Calls the API in this process."""

    def __init__(self) -> None:
        self.client = Client()

    def call(self, token: str, method: str, path: str, data: Any = None) -> Answer:
        """Call below `/api`; bytes are sent as they are, anything else as JSON."""
        raw = data if isinstance(data, bytes) else b"" if data is None else json.dumps(data)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        response = self.client.generic(
            method, f"/api{path}", raw, content_type="application/json", headers=headers
        )
        return Answer(response.status_code, response.content)

    def open(self, token: str, task: dict[str, Any] = DEPLOY, **changes: Any) -> str:
        """Open a request and return its id."""
        answer = self.call(token, "POST", "/approvals", body(task, **changes))
        assert answer.status_code == 201, answer.content
        return str(answer.json()["request_id"])


def status_of(request_id: str | UUID) -> str:
    """The status in the table."""
    return find_request(str(request_id)).status
