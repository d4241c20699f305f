"""A request opened by API: POST /api/approvals with a token, beside the bare inserts."""

import json
from collections.abc import Sequence
from uuid import UUID, uuid4

from bench import floor
from bench.load import Load, http_post, run, send_all, share
from bench.measure import Side
from bench.operation import AGENT, TASK
from bench.people import asking_token

NAME = "request opened by API"
CONCURRENCY = 16


def gateway(port: int) -> Side:
    """Requests over HTTP, answered once they are committed and Linear is owed the news."""

    def ask(count: int, concurrency: int) -> Load:
        posts = [_post() for _ in range(count)]
        return send_all(port, posts, 201, concurrency=concurrency)

    return Side(
        alone=lambda count: ask(count, 1).seconds,
        together=lambda count: ask(count, CONCURRENCY).per_second,
    )


def bare() -> Side:
    """The inserts of floor.sql from this process: no HTTP, no token, no rules."""
    return Side(
        alone=lambda count: insert(_ids(count), 1).seconds,
        together=lambda count: insert(_ids(count), CONCURRENCY).per_second,
    )


def insert(request_ids: Sequence[UUID], concurrency: int) -> Load:
    """Open these requests in the floor's tables, over so many connections."""
    task = json.dumps(TASK)

    async def load() -> Load:
        async with floor.open_pool() as pool:
            await pool.resize(concurrency, concurrency)
            await pool.wait()

            async def open_one(request_id: UUID) -> None:
                parameters = {"request_id": request_id, "task": task, "voter": "rosa"}
                await floor.execute(pool, "open", parameters)

            return await share(request_ids, [open_one] * concurrency)

    return run(load)


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
