"""Keeps other web sites from pressing the sandbox's buttons in somebody's browser."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost"})


class SameOrigin:
    """Refuses names of hosts that are not ours, and writes that another site's page sent.

    A move on a page leads to a signed webhook, so a stranger's form could otherwise approve.
    """

    def __init__(self, app: ASGIApp, public_url: str) -> None:
        self._app = app
        self._hosts = LOCAL_HOSTS | {urlsplit(public_url).hostname}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            if urlsplit(f"//{host}").hostname not in self._hosts:
                refusal = PlainTextResponse("The sandbox does not answer to this host name.", 421)
                return await refusal(scope, receive, send)
            if (
                origin is not None
                and scope["method"] not in {"GET", "HEAD"}
                and urlsplit(origin).netloc != host
            ):
                refusal = PlainTextResponse("Sent by a page of another site: refused.", 403)
                return await refusal(scope, receive, send)
        return await self._app(scope, receive, send)
