"""A request opened by API: POST /api/approvals with a token, beside the bare inserts."""

import json
from collections.abc import Iterator, Sequence
from uuid import UUID, uuid4

from bench import floor
from bench.load import Load, generator, http_post, send_all
from bench.measure import Counts, Ratio, Result, Side, compare
from bench.operation import AGENT, TASK
from bench.people import asking_token
from bench.stack import Stack

NAME = "request opened by API"
CONCURRENCY = 16
FULL = Counts(rounds=5, alone=50, together=96, warm_up=30)
QUICK = Counts(rounds=1, alone=5, together=16, warm_up=1)


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Open requests through the web server, and rows through psycopg."""
    with stack.served("plain") as place:
        sides = gateway(place.port), bare(place.floor_url)
        yield compare(NAME, *sides, counts, [Ratio("per_second", 0.35)])


def gateway(port: int) -> Side:
    """Requests over HTTP, answered once they are committed and Linear is owed the news."""

    def ask(count: int, concurrency: int) -> Load:
        posts = [_post() for _ in range(count)]
        return send_all(port, posts, 201, concurrency=concurrency)

    return Side(
        "gateway",
        alone=lambda count: ask(count, 1),
        together=lambda count: ask(count, CONCURRENCY),
    )


def bare(url: str) -> Side:
    """The inserts of floor.sql by the generator itself: no HTTP, no token, no rules."""
    return Side(
        "floor",
        alone=lambda count: insert(url, _ids(count), 1),
        together=lambda count: insert(url, _ids(count), CONCURRENCY),
    )


def insert(url: str, request_ids: Sequence[UUID], concurrency: int) -> Load:
    """Open these requests in the floor's tables, over so many connections."""
    task = json.dumps(TASK)
    return generator().submit(floor.insert, url, list(request_ids), task, concurrency).result()


def _ids(count: int) -> list[UUID]:
    return [uuid4() for _ in range(count)]


def _post() -> bytes:
    body = {
        "workflow_id": str(uuid4()),
        "thread_id": str(uuid4()),
        "task": TASK,
        "agent_name": AGENT,
    }
    headers = {"Authorization": f"Bearer {asking_token()}"}
    return http_post("/api/approvals", headers, json.dumps(body).encode())
