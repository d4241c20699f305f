"""The front of every stand-in endpoint: keeps a record of each call and lets faults strike."""

import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from sandbox.faults import Fault, Faults
from sandbox.store import Row, Store, clean_text, utc_now

RECORDS_KEPT = 10_000
WITHOUT_WORK = frozenset({"status", "graphql_error", "rate_limited", "reset"})


@dataclass(frozen=True)
class Call:
    """One API request, its body read."""

    request: Request
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers, names in lower case."""
        return self.request.headers

    @property
    def path(self) -> Mapping[str, Any]:
        """The parameters of the path."""
        return self.request.path_params


class Recorder:
    """Wraps the handlers of one process; see `endpoint`."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults

    def endpoint(
        self,
        target: str,
        operations: Callable[[Call], Sequence[str]],
        answer: Callable[[Call], Awaitable[Response]],
        refuse: Callable[[Fault], Response],
    ) -> Callable[[Request], Awaitable[Response]]:
        """A handler that records its calls under the names `operations` gives them.

        A fault that concerns one of these names delays the answer, replaces it by `refuse`'s, or
        drops the connection before or after the work.
        """

        async def handle(request: Request) -> Response:
            call = Call(request, await request.body())
            names = operations(call)
            fault = self._faults.take(target, set(names))
            number = self._begin(target, names, call, fault)
            if fault is not None:
                await fault.wait()
            if fault is not None and fault.kind in WITHOUT_WORK:
                response = refuse(fault)
            else:
                response = await answer(call)
            if fault is not None and fault.kind in {"reset", "lose_reply"}:
                _drop_connection(request)
            else:
                self._store.run(
                    "UPDATE requests SET status = ? WHERE id = ?", response.status_code, number
                )
            return response

        return handle

    def _begin(self, target: str, names: Sequence[str], call: Call, fault: Fault | None) -> int:
        headers = dict(call.request.headers)
        if "authorization" in headers:
            headers["authorization"] = "(left out)"
        url = call.request.url
        number = self._store.insert(
            "requests",
            target=target,
            operation=" ".join(names),
            method=call.request.method,
            path=clean_text(url.path + (f"?{url.query}" if url.query else "")),
            headers=json.dumps(headers),
            body=clean_text(call.body.decode("utf-8", "replace")),
            fault=fault.kind if fault else None,
            created_at=utc_now(),
        )
        self._store.run("DELETE FROM requests WHERE id <= ?", number - RECORDS_KEPT)
        return number

    def records(self, target: str | None, operation: str | None) -> list[dict[str, Any]]:
        """The calls recorded, the oldest first; `operation` must be one of a call's names."""
        rows = self._store.rows("SELECT * FROM requests ORDER BY id")
        return [
            _record(row)
            for row in rows
            if (target is None or row["target"] == target)
            and (operation is None or operation in row["operation"].split())
        ]


def _record(row: Row) -> dict[str, Any]:
    try:
        content = json.loads(row["body"]) if row["body"] else None
    except ValueError:
        content = row["body"]
    return {
        "id": row["id"],
        "at": row["created_at"],
        "target": row["target"],
        "operation": row["operation"].split(" ")[0],
        "operations": row["operation"].split(),
        "method": row["method"],
        "path": row["path"],
        "headers": json.loads(row["headers"]),
        "body": content,
        "status": row["status"],
        "fault": row["fault"],
    }


def _drop_connection(request: Request) -> None:
    """Cut the connection so that the caller sees a reset, whatever was or was not done."""
    transport = request.state.transport
    connection = transport.get_extra_info("socket")
    if connection is not None:
        # Lingering for zero seconds makes the kernel send a reset instead of an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
