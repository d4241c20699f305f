"""POST /linear/graphql: authentication, limits, execution and Linear's way to say no."""

import math
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    GraphQLError,
    OperationDefinitionNode,
    build_schema,
    execute,
    parse,
    validate,
)
from starlette.responses import JSONResponse, Response

from sandbox.faults import Fault
from sandbox.linear import cast
from sandbox.linear.complexity import MOST_POINTS, points_of
from sandbox.linear.errors import InputError
from sandbox.linear.operations import root_of
from sandbox.linear.workspace import Workspace
from sandbox.recorder import Call
from sandbox.store import parse_json

SCHEMA = build_schema((Path(__file__).parent.parent / "linear.graphql").read_text("utf-8"))
REQUESTS_AN_HOUR = 2_500
HOUR_MS = 3_600_000
PERSON_BY_KEY = {person.api_key: person for person in cast.PEOPLE}


class LinearApi:
    """Answers GraphQL requests.

    The hourly limit is counted and told in headers, but only a fault enforces it.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._roots = {
            person.api_key: root_of(workspace, person) for person in PERSON_BY_KEY.values()
        }
        self._hour = 0
        self._used = 0

    def operations(self, call: Call) -> list[str]:
        """The operation's name and its root fields: what a fault or a record can name it by."""
        try:
            request = parse_json(call.body)
            document = _parsed(request["query"])
        except (ValueError, TypeError, KeyError, GraphQLError):
            return []
        given = request.get("operationName")
        names = [given] if isinstance(given, str) else []
        for node in document.definitions:
            if isinstance(node, OperationDefinitionNode):
                names += [node.name.value] if node.name else []
                names += [
                    field.name.value
                    for field in node.selection_set.selections
                    if isinstance(field, FieldNode)
                ]
        return list(dict.fromkeys(names))

    async def answer(self, call: Call) -> Response:
        """Execute one request and answer as Linear does."""
        key = call.headers.get("authorization", "")
        if key not in self._roots:
            return self._respond(_unauthenticated(key), 401)
        try:
            request = parse_json(call.body)
            query = request["query"]
            variables = request.get("variables") or {}
            document = _parsed(query)
            if not isinstance(variables, dict):
                raise TypeError("variables is no object")
        except (ValueError, TypeError, KeyError, AttributeError):
            return self._respond(_failure("The body is no GraphQL request.", "INPUT_ERROR"), 400)
        except GraphQLError as error:
            return self._respond(_failure(error.message, "GRAPHQL_PARSE_FAILED"), 400)
        problems = _problems(query)
        if problems:
            return self._respond(_failure(problems[0], "GRAPHQL_VALIDATION_FAILED"), 400)
        points = points_of(document, variables)
        if points > MOST_POINTS:
            refusal = _failure(
                f"Query too complex: {points} points, the maximum is {MOST_POINTS}.", "INPUT_ERROR"
            )
            return self._respond(refusal, 400, points)
        result = execute(
            SCHEMA, document, self._roots[key], variable_values=variables,
            operation_name=request.get("operationName"),
        )  # fmt: skip
        if not isinstance(result, ExecutionResult):
            raise TypeError("A resolver of the sandbox must not be asynchronous.")
        return self._respond(_formatted(result), 200, points)

    def refuse(self, fault: Fault) -> Response:
        """The answer of a fault that does no work."""
        match fault.kind:
            case "rate_limited":
                wait_ms = 1000 * (fault.retry_after if fault.retry_after is not None else 60)
                body = _failure(
                    "Rate limit exceeded.", "RATELIMITED", kind="ratelimited", status=429
                )
                return self._respond(body, 400, reset_ms=time.time_ns() // 1_000_000 + wait_ms)
            case "graphql_error":
                message = fault.message or "Something went wrong in Linear."
                body = _failure(message, fault.code or "INTERNAL_SERVER_ERROR")
                return self._respond(body, fault.status or 200)
            case _:
                status = fault.status or 500
                text = fault.message or f"The sandbox was told to answer {status}."
                response = Response(text, status, media_type="text/plain")
                if fault.retry_after is not None:
                    response.headers["Retry-After"] = str(fault.retry_after)
                return response

    def _respond(
        self, body: dict[str, Any], status: int, points: int = 1, reset_ms: int | None = None
    ) -> Response:
        now_ms = time.time_ns() // 1_000_000
        if now_ms // HOUR_MS != self._hour:
            self._hour, self._used = now_ms // HOUR_MS, 0
        self._used += 1
        left = 0 if reset_ms is not None else max(0, REQUESTS_AN_HOUR - self._used)
        hour_ends = (math.floor(now_ms / HOUR_MS) + 1) * HOUR_MS
        return JSONResponse(
            body,
            status,
            headers={
                "X-RateLimit-Requests-Limit": str(REQUESTS_AN_HOUR),
                "X-RateLimit-Requests-Remaining": str(left),
                "X-RateLimit-Requests-Reset": str(reset_ms or hour_ends),
                "X-Complexity": str(points),
            },
        )


@lru_cache(maxsize=256)
def _parsed(query: str) -> DocumentNode:
    return parse(query)


@lru_cache(maxsize=256)
def _problems(query: str) -> tuple[str, ...]:
    return tuple(error.message for error in validate(SCHEMA, _parsed(query)))


def _formatted(result: ExecutionResult) -> dict[str, Any]:
    for error in result.errors or ():
        # Anything but a refusal or a variable of the wrong type is a fault of the sandbox itself.
        if error.original_error is not None and not isinstance(error.original_error, GraphQLError):
            raise error.original_error
        if not error.extensions:
            error.extensions = InputError(error.message).extensions
    return dict(result.formatted)


def _failure(
    message: str, code: str, *, kind: str = "invalid input", status: int = 400
) -> dict[str, Any]:
    extensions = {
        "type": kind,
        "code": code,
        "statusCode": status,
        "userError": code != "INTERNAL_SERVER_ERROR",
        "userPresentableMessage": message,
    }
    return {"errors": [{"message": message, "extensions": extensions}]}


def _unauthenticated(key: str) -> dict[str, Any]:
    message = "Authentication required, not authenticated."
    if key.startswith("Bearer "):
        message += " An API key is sent as it is, without Bearer."
    return _failure(message, "AUTHENTICATION_ERROR", kind="authentication error", status=401)
