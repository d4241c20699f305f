"""A signed webhook of Linear, answered 200 with the decision committed, beside a bare handler."""

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Sequence
from uuid import UUID, uuid4

from approvals.core.lifecycle import Status
from approvals.models import ApprovalRequest
from approvals.services import open_request
from bench import opening
from bench.load import Load, http_post, send_all
from bench.measure import Side
from bench.operation import AGENT, TASK
from bench.people import DECIDES_LINEAR_ID, asking

NAME = "signed webhook -> 200, decision committed"
CONCURRENCY = 16


class NotDecided(Exception):
    """A webhook was answered 200 although it decided nothing."""


def gateway(port: int) -> Side:
    """Each webhook decides one request, and owes Linear and the run the news."""

    def decide(count: int, concurrency: int) -> Load:
        request_ids = [_opened() for _ in range(count)]
        load = send_all(port, _webhooks(request_ids), 200, concurrency=concurrency)
        approved = ApprovalRequest.objects.filter(pk__in=request_ids, status=Status.APPROVED)
        if approved.count() != count:
            raise NotDecided(f"{count} webhooks decided {approved.count()} requests.")
        return load

    return _side(decide)


def bare(port: int) -> Side:
    """The HMAC and the statements of floor.sql; one that changes no row is answered 500."""

    def decide(count: int, concurrency: int) -> Load:
        request_ids = [uuid4() for _ in range(count)]
        opening.insert(request_ids, 1)
        return send_all(port, _webhooks(request_ids), 200, concurrency=concurrency)

    return _side(decide)


def _side(decide: Callable[[int, int], Load]) -> Side:
    return Side(
        alone=lambda count: decide(count, 1).seconds,
        together=lambda count: decide(count, CONCURRENCY).per_second,
    )


def _opened() -> UUID:
    """Open a request as a run's would be: with an interrupt, so that the run is owed a resume."""
    opened = open_request(
        workflow_id=str(uuid4()),
        thread_id=str(uuid4()),
        interrupt_id=uuid4().hex,
        task=TASK,
        agent_name=AGENT,
        actor=asking(),
    )
    if opened.request_id is None:
        raise NotDecided("The rules let the benchmark's task through without a human.")
    return opened.request_id


def _webhooks(request_ids: Sequence[UUID]) -> list[bytes]:
    return [_webhook(request_id) for request_id in request_ids]


def _webhook(request_id: UUID) -> bytes:
    """A move of the request's issue to Done, signed as Linear does, sent now."""
    event = {
        "action": "update",
        "type": "Issue",
        "actor": {"id": DECIDES_LINEAR_ID, "type": "user", "name": "Ada Approver"},
        "data": {
            "id": str(request_id),
            "title": "[APPROVAL REQUIRED] deploy to production",
            "stateId": "done",
            "state": {"id": "done", "name": "Done", "type": "completed"},
        },
        "updatedFrom": {"stateId": "todo"},
        "webhookTimestamp": int(time.time() * 1000),
        "webhookId": str(uuid4()),
    }
    body = json.dumps(event).encode()
    secret = os.environ["LINEAR_WEBHOOK_SECRET"].encode()
    headers = {
        "Linear-Delivery": str(uuid4()),
        "Linear-Signature": hmac.new(secret, body, hashlib.sha256).hexdigest(),
    }
    return http_post("/resume", headers, body)
