"""A gateway whose only channel is Linear, over the sandbox: what the tests of Linear arrange."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import User

from approvals import outbox, services
from approvals.models import ApprovalRequest, AuditEntry, Delivery
from tests.sandbox_process import Sandbox

WEBHOOK_SECRET = "a secret of the tests"
ADA = "b5ea5f1f-8adc-4f52-b4bd-ab4e84cf51ba"
BEN = "8c1d2e3f-4a5b-4c6d-8e7f-9a0b1c2d3e4f"
GATEWAY = "4d1f6a0e-7c0b-4a8e-9b1d-5c2f0b7a9e31"

DEPLOY = {"operation": "deploy", "environment": "production", "arguments": {"version": "v2.5.0"}}
MIGRATE = {"operation": "db_migrate", "environment": "staging"}
TERRAFORM = {"operation": "terraform_apply", "environment": "production"}

Json = dict[str, Any]


@dataclass
class LinearWorld:
    """The sandbox and verbs to open, deliver and look at requests."""

    sandbox: Sandbox

    def people(self) -> None:
        """Ada and Ben may decide everything; Nora and Rosa are unknown to the gateway."""
        for name, linear_user in (("ada", ADA), ("ben", BEN)):
            services.create_approver(
                name,
                email=f"{name}@example.com",
                groups=["developers", "platform", "release-managers"],
                linear_user_id=linear_user,
            )

    def open(self, task: Mapping[str, Any] = DEPLOY, **facts: Any) -> UUID:
        """Open a request; no delivery is tried."""
        named = {"workflow_id": "wf-1", "thread_id": str(uuid4()), "agent_name": "cicd", **facts}
        opened = services.open_request(task=task, **named)
        assert opened.request_id is not None
        return opened.request_id

    def deliver(self) -> None:
        """Deliver everything that is due, in this process."""
        while outbox.deliver_next("linear"):
            pass

    def opened(self, task: Mapping[str, Any] = DEPLOY, **facts: Any) -> UUID:
        """Open a request and create its issue."""
        request_id = self.open(task, **facts)
        self.deliver()
        return request_id

    def again(self, request_id: UUID) -> None:
        """Owe the channel another visit, whatever failed before, and deliver."""
        outbox.nudge(request_id, "linear")
        self.deliver()

    def issue(self, request_id: UUID) -> Json:
        """The issue as the sandbox has it."""
        return self.sandbox.issue(str(request_id))

    def replies(self, request_id: UUID) -> list[str]:
        """The texts of the gateway's own comments."""
        comments = self.issue(request_id)["comments"]
        return [comment["body"] for comment in comments if comment["author"] == "gateway"]

    def row(self, request_id: UUID) -> ApprovalRequest:
        """The request as it is stored."""
        return ApprovalRequest.objects.get(pk=request_id)

    def delivery(self, request_id: UUID) -> Delivery:
        """What the channel still has to be told."""
        return Delivery.objects.get(request_id=request_id, channel="linear")

    def facts(self, request_id: UUID) -> list[str]:
        """The names of what happened to the request, without the deliveries."""
        names = AuditEntry.objects.filter(stream=request_id).order_by("number")
        return [
            name
            for name in names.values_list("name", flat=True)
            if not name.startswith("delivery.")
        ]

    def ada(self) -> User:
        """Ada's account here."""
        return User.objects.get(username="ada")


def signed(body: bytes, secret: str = WEBHOOK_SECRET) -> dict[str, str]:
    """The headers Linear sends with a body."""
    return {
        "Content-Type": "application/json; charset=utf-8",
        "Linear-Delivery": str(uuid4()),
        "Linear-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest(),
    }


def move_event(request_id: UUID | str, state: str = "Done", **changes: Any) -> Json:
    """A webhook of Ada moving the issue of a request; `changes` replace top-level keys."""
    return {
        "action": "update",
        "type": "Issue",
        "actor": {"id": ADA, "type": "user", "name": "Ada Approver"},
        "data": {"id": str(request_id), "stateId": "new", "state": {"name": state}},
        "updatedFrom": {"stateId": "old"},
        "webhookTimestamp": int(time.time() * 1000),
        "webhookId": str(uuid4()),
        **changes,
    }


def comment_event(request_id: UUID | str, body: str, **changes: Any) -> Json:
    """A webhook of Ada commenting on the issue of a request."""
    data = {"id": str(uuid4()), "body": body, "issueId": str(request_id), "userId": ADA}
    return move_event(
        request_id, **{"type": "Comment", "action": "create", "data": data, **changes}
    )


def reaction_event(request_id: UUID | str, emoji: str, **data: Any) -> Json:
    """A webhook of Ada reacting to the issue of a request."""
    facts = {"id": str(uuid4()), "emoji": emoji, "issueId": str(request_id), "userId": ADA, **data}
    return move_event(request_id, type="Reaction", action="create", data=facts)


def dumped(event: Mapping[str, Any]) -> bytes:
    """The event as the bytes that are signed and sent."""
    return json.dumps(event).encode()
