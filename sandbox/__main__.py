"""`python -m sandbox`: the stand-in Linear and GitHub, on 127.0.0.1 only."""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.app import Settings, build
from sandbox.store import DataFolderInUse

LINEAR_RETRY_DELAYS = "60,3600,21600"
LOOK_AT_PARENT_SECONDS = 0.5


class Protocol(HttpToolsProtocol):
    """Hands each request its connection, so that a fault can cut it."""

    def connection_made(self, transport: Any) -> None:  # as uvicorn declares it
        """Remember the transport in the state that every request gets a copy of."""
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)


class Server(uvicorn.Server):
    """A server that says when it is ready and stops with the process that started it."""

    def __init__(
        self, config: uvicorn.Config, ready: str, parent: int | None, let_go: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._let_go = let_go
        self._ready = ready
        self._parent = parent
        self._watch: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer, then print the one line that callers wait for."""
        await super().startup(sockets)
        if self.started:
            sys.stdout.write(f"{self._ready}\n")
            sys.stdout.flush()
            if self._parent is not None:
                self._watch = asyncio.create_task(self._stop_without(self._parent))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let go of calls that a fault holds back, then stop."""
        self._let_go()
        await super().shutdown(sockets)

    async def _stop_without(self, parent: int) -> None:
        while os.getppid() == parent:  # noqa: ASYNC110  # nothing would set an event
            await asyncio.sleep(LOOK_AT_PARENT_SECONDS)
        self.should_exit = True
        self.force_exit = True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8001, help="0 takes a free one")
    parser.add_argument("--data", type=Path, required=True, help="folder that keeps the state")
    parser.add_argument("--public-url", help="address people reach it at")
    parser.add_argument("--webhook-url", help="where Linear's webhooks go; without it none is sent")
    parser.add_argument(
        "--webhook-secret-env",
        metavar="NAME",
        help="environment variable with the signing secret; of several, comma-separated, the first",
    )
    parser.add_argument(
        "--retry-delays",
        default=LINEAR_RETRY_DELAYS,
        metavar="SECONDS",
        help=f"waits before a webhook is sent again (default {LINEAR_RETRY_DELAYS}, as Linear)",
    )
    parser.add_argument("--empty", action="store_true", help="start without sample pull requests")
    parser.add_argument("--parent-pid", type=int, help="stop when this parent process is gone")
    return parser.parse_args()


def _secret(name: str | None, webhook_url: str | None) -> str:
    secret = os.environ.get(name, "").split(",")[0].strip() if name else ""
    if webhook_url and not secret:
        wanted = f"the environment variable {name}" if name else "--webhook-secret-env"
        sys.exit(f"Webhooks need a signing secret: set {wanted}.")
    return secret


def _retry_delays(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        sys.exit(f"--retry-delays must be seconds separated by commas, not {text!r}.")


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    options = _arguments()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", options.port))
    except OSError as error:
        sys.exit(f"Port {options.port} on 127.0.0.1 cannot be used: {error.strerror}.")
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = Settings(
        data=options.data,
        public_url=(options.public_url or address).rstrip("/"),
        webhook_url=options.webhook_url,
        webhook_secret=_secret(options.webhook_secret_env, options.webhook_url),
        retry_delays=_retry_delays(options.retry_delays),
        with_samples=not options.empty,
    )
    try:
        app = build(settings)
    except DataFolderInUse as error:
        sys.exit(str(error))
    config = uvicorn.Config(
        app, http=Protocol, ws="none", log_level="warning", access_log=False,
        timeout_graceful_shutdown=1, server_header=False,
    )  # fmt: skip
    # uvicorn raises the signal again once it has stopped; ending by request is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server = Server(config, f"Sandbox ready: {address}", options.parent_pid, app.state.let_go)
    server.run(sockets=[listener])
    if not server.started:
        sys.exit("The sandbox could not start.")


if __name__ == "__main__":
    main()
