"""A server that takes webhooks, keeps them as they came, and answers as a test wants."""

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

WAIT_SECONDS = 10.0
STOP_WITHIN_SECONDS = 0.02


@dataclass(frozen=True)
class Received:
    """One request: the headers as sent, the raw body, and when it came (monotonic seconds)."""

    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Receiver:
    """Answers the next statuses in `answers`, then 200."""

    answers: list[int] = field(default_factory=list)
    slow_seconds: float = 0.0

    def __enter__(self) -> Self:
        """Start to listen on a free port."""
        self._received: list[Received] = []
        self._arrived = threading.Condition()
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.take(self)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(STOP_WITHIN_SECONDS,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Stop, letting go of answers that are still held back."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WAIT_SECONDS)

    @property
    def url(self) -> str:
        """Where to send webhooks."""
        return f"http://127.0.0.1:{self._server.server_port}/resume"

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """Keep one request and answer it."""
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        with self._arrived:
            status = self.answers.pop(0) if self.answers else 200
            request = Received(dict(handler.headers.items()), body, time.monotonic())
            self._received.append(request)
            self._arrived.notify_all()
        if self.slow_seconds:
            self._released.wait(self.slow_seconds)
        answer = b'{"status": "recorded"}'
        try:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(answer)))
            handler.end_headers()
            handler.wfile.write(answer)
        except OSError:
            # The sender has stopped waiting, which is what a slow answer is for.
            return

    def get(self, delivery: str) -> Received:
        """The request of one Linear-Delivery. Raises AssertionError after a while."""

        def found() -> list[Received]:
            return [one for one in self._received if one.headers["Linear-Delivery"] == delivery]

        with self._arrived:
            assert self._arrived.wait_for(found, WAIT_SECONDS), f"{delivery} did not come"
            return found()[0]

    def wait_for(self, count: int) -> list[Received]:
        """The requests so far, once there are `count`. Raises AssertionError after a while."""
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(self._received) >= count, WAIT_SECONDS)
            assert arrived, f"{len(self._received)} of {count} webhooks came in {WAIT_SECONDS:g} s"
            return list(self._received)
