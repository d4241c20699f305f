"""A signed webhook of Linear, answered 200 with the decision committed, beside a bare handler."""

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID, uuid4

from approvals.core.lifecycle import Status
from approvals.models import ApprovalRequest
from approvals.services import open_request
from bench import opening
from bench.load import Load, http_post, send_all
from bench.measure import Counts, Ratio, Result, Side, compare
from bench.operation import AGENT, TASK
from bench.people import DECIDES_LINEAR_ID, asking
from bench.stack import Stack

NAME = "signed webhook -> 200, decision committed"
CONCURRENCY = 16
FULL = Counts(rounds=5, alone=50, together=96, warm_up=30)
QUICK = Counts(rounds=1, alone=5, together=16, warm_up=1)
GOALS = (Ratio("p50_ms", 2), Ratio("per_second", 0.5))


class NotDecided(Exception):
    """A webhook was answered 200 although it decided nothing."""


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Send webhooks to the web server and to the floor's; no worker runs."""
    with stack.served("plain") as place, place.bare() as bare_port:
        sides = gateway(place.port), bare(bare_port, place.floor_url)
        yield compare(NAME, *sides, counts, GOALS)


def gateway(port: int, label: str = "gateway") -> Side:
    """Each webhook decides one request, and owes Linear and the run the news."""

    def decide(count: int, concurrency: int) -> Load:
        request_ids = [opened() for _ in range(count)]
        load = send_all(port, webhooks(request_ids), 200, concurrency=concurrency)
        approved = ApprovalRequest.objects.filter(pk__in=request_ids, status=Status.APPROVED)
        if approved.count() != count:
            raise NotDecided(f"{count} webhooks decided {approved.count()} requests.")
        return load

    return _side(label, decide)


def bare(port: int, url: str) -> Side:
    """The HMAC and the statements of floor.sql; one that changes no row is answered 500."""

    def decide(count: int, concurrency: int) -> Load:
        request_ids = [uuid4() for _ in range(count)]
        opening.insert(url, request_ids, 1)
        return send_all(port, webhooks(request_ids), 200, concurrency=concurrency)

    return _side("floor", decide)


def _side(label: str, decide: Callable[[int, int], Load]) -> Side:
    return Side(
        label,
        alone=lambda count: decide(count, 1),
        together=lambda count: decide(count, CONCURRENCY),
    )


def opened() -> UUID:
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


def webhooks(request_ids: Sequence[UUID]) -> list[bytes]:
    """A webhook for each of the requests, which approves it."""
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
