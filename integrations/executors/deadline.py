"""HTTP that ends at a deadline: httpx bounds each read, but an answer may take any number."""

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from typing import TypeVar

import httpx

from integrations.addresses import guarded
from integrations.http import USER_AGENT

T = TypeVar("T")


def open_client_until(
    deadline: float,
    *,
    base_url: httpx.URL | str = "",
    headers: Mapping[str, str] | None = None,
    timeout: httpx.Timeout | None = None,
) -> httpx.Client:
    """A client like that of `open_client`, none of whose requests outlives the deadline.

    `deadline` is a time of `time.monotonic()`. What is cut off raises ReadTimeout, or
    ConnectTimeout where nothing had been sent yet. For one thread that runs no event loop.
    """
    all_headers = httpx.Headers({"User-Agent": USER_AGENT})
    all_headers.update(headers)
    return httpx.Client(
        base_url=base_url,
        headers=all_headers,
        timeout=timeout,
        follow_redirects=False,
        transport=_Transport(deadline),
    )


class _Transport(httpx.BaseTransport):
    """Carries requests out on an event loop, where any wait can be broken off."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._loop = asyncio.new_event_loop()
        # A client rather than a bare transport: it knows the proxies of the environment.
        self._client = guarded(httpx.AsyncClient(timeout=None))  # noqa: S113 - the deadline bounds it

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = False

        async def watch(event: str, _: Mapping[str, object]) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        request.extensions["trace"] = watch
        try:
            answer = self.wait_for(self._client.send(request, stream=True))
        except TimeoutError as error:
            raise (httpx.ReadTimeout if sent else httpx.ConnectTimeout)("timed out") from error
        return httpx.Response(
            answer.status_code,
            headers=answer.headers,
            stream=_Body(self, answer),
            extensions=answer.extensions,
        )

    def wait_for(self, work: Awaitable[T], *, until_deadline: bool = True) -> T:
        """Do the work on the loop; TimeoutError where it is not done by the deadline."""

        async def bounded() -> T:
            async with asyncio.timeout_at(self._deadline if until_deadline else None):
                return await work

        return self._loop.run_until_complete(bounded())

    def close(self) -> None:
        try:
            self.wait_for(self._client.aclose(), until_deadline=False)
            self.wait_for(self._loop.shutdown_asyncgens(), until_deadline=False)
        finally:
            # Waits for no thread: a name may still be looked up, which nobody asks about any more.
            self._loop.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer, as long as it arrives before the deadline."""

    def __init__(self, transport: _Transport, answer: httpx.Response) -> None:
        self._transport = transport
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        chunks = self._answer.aiter_raw()
        try:
            while chunk := self._transport.wait_for(anext(chunks, b"")):
                yield chunk
        except TimeoutError as error:
            raise httpx.ReadTimeout("timed out") from error

    def close(self) -> None:
        self._transport.wait_for(self._answer.aclose(), until_deadline=False)
