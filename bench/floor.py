"""The floor: floor.sql behind a bare ASGI application, on the same server as the product's web.

Run as `python -m bench.floor --port N`; the environment names the database and the secret.
"""

import argparse
import hashlib
import hmac
import json
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import uvicorn
from psycopg_pool import AsyncConnectionPool

from bench.load import Load, run, share

DATABASE_ENV = "BENCH_FLOOR_DATABASE_URL"
POOL_SIZE = 20

Message = MutableMapping[str, Any]


def create_tables(database_url: str) -> None:
    """Create the floor's tables beside the product's, in the same database."""
    with psycopg.connect(database_url) as connection:
        for statement in statements("tables"):
            connection.execute(statement)


@cache
def statements(section: str) -> tuple[bytes, ...]:
    """The statements of a section of floor.sql, in order."""
    text = Path(__file__).with_name("floor.sql").read_text()
    _, _, after = text.partition(f"-- section: {section}\n")
    part, _, _ = after.partition("-- section: ")
    return tuple(one.strip().encode() for one in part.split(";\n") if one.strip())


def open_pool(url: str) -> AsyncConnectionPool:
    """An unopened pool as large as the product's."""
    return AsyncConnectionPool(url, min_size=1, max_size=POOL_SIZE, open=False)


async def execute(
    pool: AsyncConnectionPool, section: str, parameters: Mapping[str, object]
) -> None:
    """Execute a section in one transaction; RuntimeError where a statement changes nothing."""
    async with pool.connection() as connection:
        for statement in statements(section):
            changed = await connection.execute(statement, parameters)
            if changed.rowcount == 0:
                raise RuntimeError("A statement of the floor changed no row.")


def insert(url: str, request_ids: Sequence[UUID], task: str, concurrency: int) -> Load:
    """Open these requests in the floor's tables, over so many connections."""

    async def load() -> Load:
        async with open_pool(url) as pool:
            await pool.resize(concurrency, concurrency)
            await pool.wait()

            async def open_one(request_id: UUID) -> None:
                parameters = {"request_id": request_id, "task": task, "voter": "rosa"}
                await execute(pool, "open", parameters)

            return await share(request_ids, [open_one] * concurrency)

    return run(load)


class DecideByWebhook:
    """The ASGI application: checks the signature and decides the request that the body names."""

    def __init__(self) -> None:
        self._pool: AsyncConnectionPool | None = None

    async def __call__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer 200 once the decision is committed, 401 where the signature is wrong."""
        headers = dict(scope["headers"])
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        secret = os.environ["LINEAR_WEBHOOK_SECRET"].encode()
        expected = hmac.new(secret, body, hashlib.sha256).hexdigest().encode()
        signed = hmac.compare_digest(headers.get(b"linear-signature", b""), expected)
        if signed:
            await self._decide(headers[b"linear-delivery"].decode(), body)
        answer = b'{"status": "resumed"}' if signed else b'{"status": "refused"}'
        length = str(len(answer)).encode()
        await send(
            {
                "type": "http.response.start",
                "status": 200 if signed else 401,
                "headers": [(b"content-type", b"application/json"), (b"content-length", length)],
            }
        )
        await send({"type": "http.response.body", "body": answer})

    async def _decide(self, delivery_id: str, body: bytes) -> None:
        if self._pool is None:
            # Without a lifespan, as in the product's server, the first call opens it.
            self._pool = open_pool(os.environ[DATABASE_ENV])
            await self._pool.open()
        event = json.loads(body)
        parameters = {
            "delivery_id": delivery_id,
            "body_digest": hashlib.sha256(body).hexdigest(),
            "body": body.decode(),
            "request_id": event["data"]["id"],
            "voter": event["actor"]["id"],
        }
        await execute(self._pool, "decide", parameters)


application = DecideByWebhook()


def main() -> None:
    """Serve the application with the options of `manage.py web`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        "bench.floor:application",
        host="127.0.0.1",
        port=parser.parse_args().port,
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
    )


if __name__ == "__main__":
    main()
