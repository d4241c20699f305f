"""POST /hooks/NAME: an internal endpoint, such as one that runs a migration when told to."""

import json
from typing import Any

from starlette.responses import JSONResponse, Response

from sandbox.faults import Fault
from sandbox.recorder import Call
from sandbox.store import Row, Store, dump_json, parse_json, utc_now

Json = dict[str, Any]


class Hooks:
    """Does what it is told once per Idempotency-Key, and answers the same each time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self, call: Call) -> list[str]:
        """A hook's calls are recorded under its name."""
        return [str(call.path["name"])]

    async def answer(self, call: Call) -> Response:
        """Do it; the same key with another body is refused with 422."""
        name, key = call.path["name"], call.headers.get("idempotency-key")
        try:
            body = dump_json(parse_json(call.body) if call.body else {})
        except ValueError:
            return JSONResponse({"detail": "The body is not JSON."}, 400)
        earlier = self._store.row(
            "SELECT * FROM hook_calls WHERE name = ? AND idempotency_key = ?", name, key
        )
        if earlier is not None:
            self._store.run("UPDATE hook_calls SET calls = calls + 1 WHERE id = ?", earlier["id"])
            if earlier["body"] != body:
                return JSONResponse({"detail": "This key was used with another body."}, 422)
            return JSONResponse(_result(earlier))
        number = self._store.insert(
            "hook_calls", name=name, idempotency_key=key, body=body, calls=1, created_at=utc_now()
        )
        return JSONResponse(_result(self._store.rows(
            "SELECT * FROM hook_calls WHERE id = ?", number
        )[0]))  # fmt: skip

    def refuse(self, fault: Fault) -> Response:
        """The answer of a fault that does no work."""
        status = fault.status or (429 if fault.kind == "rate_limited" else 500)
        detail = fault.message or f"The sandbox was told to answer {status}."
        more = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        return JSONResponse({"detail": detail}, status, headers=more)


def _result(row: Row) -> Json:
    return {
        "done": True,
        "hook": row["name"],
        "id": row["id"],
        "done_at": row["created_at"],
        "received": json.loads(row["body"]),
    }


def hook_report(row: Row) -> Json:
    """A call for the control API and the pages."""
    return {
        "id": row["id"],
        "at": row["created_at"],
        "name": row["name"],
        "idempotency_key": row["idempotency_key"],
        "body": json.loads(row["body"]),
        "calls": row["calls"],
    }
