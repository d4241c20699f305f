"""The ASGI application that the web server runs."""

import gc
import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import django
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.http.response import HttpResponseBase
from django.urls import resolve

from hitl_project.limits import Receive, Scope, Send, limit_bodies
from hitl_project.tracing import follow_web

# Seldom are more requests answered at once; one that stays open, as a live page's, keeps its own.
IDLE_THREADS = 32


class Handler(ASGIHandler):
    """Django's, with a request's middleware and view in one thread.

    Most of our middleware and views are synchronous: Django would go to a thread and back for each
    of their steps, which costs as much as all the middleware does. An asynchronous view still runs
    on the event loop.
    """

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[ThreadPoolExecutor] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a thread that an earlier request has left, where there is one.

        Django would start two for each request: one to work in, and one to wait for its end.
        """
        thread = self._idle.pop() if self._idle else ThreadPoolExecutor(max_workers=1)
        try:
            async with ThreadSensitiveContext(executor=thread):
                await super().__call__(scope, receive, send)
        finally:
            if len(self._idle) < IDLE_THREADS:
                self._idle.append(thread)
            else:
                thread.shutdown(wait=False)

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: ARG002
        """Chain the middleware as for WSGI."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: ASGIRequest) -> HttpResponseBase:  # type: ignore[override]
        """Answer in the request's own thread."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hitl_project.settings")
django.setup(set_prefix=False)
# Of our own static files, which are small: whitenoise opens them as for WSGI.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")
application = follow_web(limit_bodies(Handler()))
# Views load with the first address that is looked up: now, so that no one waits for it. And what
# stays is not looked through again and again for garbage, for 25 ms in the midst of a request.
resolve("/healthz")
gc.collect()
gc.freeze()
