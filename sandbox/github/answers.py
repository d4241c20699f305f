"""GitHub's way to say no, and to read a body."""

from typing import Any

from starlette.responses import JSONResponse, Response

from sandbox.recorder import Call
from sandbox.store import parse_json

DOCUMENTATION = "https://docs.github.com/rest"


class Problem(Exception):
    """A request that is refused; `errors` names the fields in the wrong."""

    def __init__(
        self, status: int, message: str, errors: list[dict[str, str]] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors

    def response(self) -> Response:
        """The error as GitHub writes it."""
        body: dict[str, Any] = {"message": self.message, "documentation_url": DOCUMENTATION}
        if self.errors is not None:
            body["errors"] = self.errors
        body["status"] = str(self.status)
        return JSONResponse(body, self.status)


def not_found() -> Problem:
    """The answer for what is not there, or not to be seen with this token."""
    return Problem(404, "Not Found")


def invalid(resource: str, field: str, message: str) -> Problem:
    """The answer for a field with a value that cannot be."""
    error = {"resource": resource, "field": field, "code": "custom", "message": message}
    return Problem(422, "Validation Failed", [error])


def json_body(call: Call) -> dict[str, Any]:
    """The body's JSON object. Raises Problem."""
    try:
        body = parse_json(call.body or b"{}")
    except ValueError as error:
        raise Problem(400, "Problems parsing JSON") from error
    if not isinstance(body, dict):
        raise Problem(400, "Body should be a JSON object")
    return body
