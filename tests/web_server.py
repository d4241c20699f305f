"""The gateway's own web server, as a process of its own, for tests that speak real HTTP."""

import os
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from tests import warm
from tests.waiting import eventually

START_SECONDS = 30.0
STOP_SECONDS = 20.0


@dataclass
class WebServer:
    """One `manage.py web` over a database. It ends with `stop`, which tests must call."""

    process: warm.Process
    url: str
    log: Path
    client: httpx.Client = field(repr=False)

    @classmethod
    def start(cls, database_url: str, log: Path, workers: int = 1, /, **environment: str) -> Self:
        """Start the server on a free port, with these variables too, and wait for it to answer."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [str(warm.ROOT / "manage.py"), "web"]
        command += ["--port", str(port), "--workers", str(workers)]
        given = {"DATABASE_URL": database_url, "PORT": str(port)}
        process = warm.start(command, {**os.environ, **given, **environment}, log)
        url = f"http://127.0.0.1:{port}"
        client = httpx.Client(base_url=url, timeout=60.0, trust_env=False)
        server = cls(process, url, log, client)
        eventually(server.answers, f"the web server answers (see {log})", START_SECONDS)
        return server

    def answers(self) -> bool:
        """Whether the process serves HTTP; fails at once where it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"The web server ended:\n{self.log.read_text()[-2000:]}")
        try:
            return self.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def call(
        self, token: str, method: str, path: str, json: Any = None, **rest: Any
    ) -> httpx.Response:
        """Call the API below `/api` with a token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.client.request(method, f"/api{path}", json=json, headers=headers, **rest)

    def stop(self) -> int:
        """Ask the server to end, wait until it has, and return its exit status."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
