"""The API under `/api`: one title, one kind of authentication, one way to say no."""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema

from agents.api import router as workflows_router
from approvals.api import router as approvals_router
from approvals.bearer import BearerToken
from approvals.errors import AlreadyDecided, InvalidInput, Refusal

log = logging.getLogger(__name__)

_LONGEST_FIELD = 100


class Api(NinjaAPI):
    """Ninja's, with a description that is made once: anybody may ask for it, with no token."""

    @cached_property
    def _description(self) -> OpenAPISchema:
        return super().get_openapi_schema()

    def get_openapi_schema(self, **_: object) -> OpenAPISchema:
        """The description of every call; it takes a fifth of a second to make."""
        return self._description


api = Api(
    title="Approval gateway",
    version="1",
    description="Ask whether an operation may run, wait for people's decision, or decide.",
    urls_namespace="api",
    auth=BearerToken(),
)
api.add_router("/approvals", approvals_router)
api.add_router("/workflows", workflows_router)


@api.exception_handler(Refusal)
def refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """A verb's refusal with the status of its type."""
    if isinstance(refusal, InvalidInput):
        return _unprocessable(request, [(refusal.field, str(refusal))])
    body: dict[str, Any] = {"detail": str(refusal)}
    if isinstance(refusal, AlreadyDecided):
        body |= {
            "status": refusal.status,
            "decided_by": refusal.decided_by,
            "decided_at": refusal.decided_at,
        }
    return api.create_response(request, body, status=refusal.http_status)


@api.exception_handler(AuthenticationError)
def unauthorized(request: HttpRequest, error: AuthenticationError) -> HttpResponse:  # noqa: ARG001
    """No token, or one that is wrong or revoked."""
    sentence = "Send a valid token: Authorization: Bearer TOKEN."
    response = api.create_response(request, {"detail": sentence}, status=401)
    response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(ValidationError)
def unfit(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """A body, query or path that does not fit its type."""
    return _unprocessable(request, [(_field(e["loc"]), e["msg"]) for e in error.errors])


@api.exception_handler(HttpError)
def unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    """The framework's own errors; its 400 is a body that is not JSON."""
    if error.status_code == 400:
        return _unprocessable(request, [("body", "The body is not JSON.")])
    return api.create_response(request, {"detail": str(error)}, status=error.status_code)


@api.exception_handler(RequestDataTooBig)
def too_big(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:  # noqa: ARG001
    """A body past the bound on every upload."""
    return _unprocessable(request, [("body", "The body is larger than 2.5 MB.")])


@api.exception_handler(OperationalError)
def unavailable(request: HttpRequest, error: OperationalError) -> HttpResponse:
    """The database does not answer; nothing was changed, or nobody knows."""
    log.error("The database failed an API call: %s", error)
    sentence = "The database does not answer now; try again, with the same idempotency key."
    response = api.create_response(request, {"detail": sentence}, status=503)
    response["Retry-After"] = "5"
    return response


@csrf_exempt
def no_such_path(request: HttpRequest, rest: str) -> HttpResponse:
    """What is under `/api/` but is not part of the API."""
    sentence = f"There is nothing at /api/{rest[:_LONGEST_FIELD]}; see /api/docs."
    return api.create_response(request, {"detail": sentence}, status=404)


def _unprocessable(request: HttpRequest, faults: Sequence[tuple[str, str]]) -> HttpResponse:
    body = {
        "detail": "; ".join(f"{field}: {message}" for field, message in faults),
        "errors": [{"field": field, "message": message} for field, message in faults],
    }
    return api.create_response(request, body, status=422)


def _field(location: Sequence[str | int]) -> str:
    """The field's own name: the framework puts the source and the parameter's name before it."""
    source, *path = location
    if source in {"body", "query"} and len(path) > 1:
        path = path[1:]
    return ".".join(map(str, path))[:_LONGEST_FIELD] or str(source)
