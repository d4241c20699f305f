"""The ASGI application that the web server runs."""

import os

import django
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http.response import HttpResponseBase

from hitl_project.limits import limit_bodies
from hitl_project.tracing import follow_web


class Handler(ASGIHandler):
    """Django's, with a request's middleware and view in one thread.

    Most of our middleware and views are synchronous: Django would go to a thread and back for each
    of their steps, which costs as much as all the middleware does. An asynchronous view still runs
    on the event loop.
    """

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002
        """Chain the middleware as for WSGI."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: ASGIRequest) -> HttpResponseBase:  # type: ignore[override]
        """Answer in the request's own thread."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_project.settings")
django.setup(set_prefix=False)
application = follow_web(limit_bodies(Handler()))
