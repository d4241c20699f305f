"""The servers and processes that are measured, in a temporary folder, as long as a `with` lasts."""

import http.client
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bench import floor
from bench.load import HOST
from hitl_project import children
from hitl_project.embedded import start_postgres, start_redis

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 10.0
# What the person at the keyboard exported must not change what is measured.
_OURS = ("HITL_", "LINEAR_", "GITHUB_", "DATABASE_", "REDIS_", "ALLOWED_HOSTS", "PORT")


class StackFailed(Exception):
    """A process did not start; the message holds what it printed."""


@dataclass(frozen=True)
class Stack:
    """Everything that runs: the environment of the gateway's processes, and two ports."""

    environment: Mapping[str, str]
    web_port: int
    floor_port: int
    folder: Path

    @contextmanager
    def worker(self) -> Iterator[None]:
        """One worker process for runs, like for like with the one process of the floor."""
        arguments = ("worker", "--queues", "runs", "--concurrency", "1", "--skip-checks")
        with _process(self, "worker", "manage.py", *arguments):
            yield

    def last_words(self, name: str) -> str:
        """The end of the log of a process: `web`, `floor`, `worker` or `migrate`."""
        return f"Its log ends with:\n{children.last_lines(self.folder / f'{name}.log', 30)}"


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Start PostgreSQL and Redis, migrate, and serve the gateway's web and the floor."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="hitl-bench-")))
        postgres = start_postgres(folder)
        exits.callback(postgres.stop)
        redis = start_redis(folder)
        exits.callback(redis.stop)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        environment = {
            **inherited,
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "LINEAR_WEBHOOK_SECRET": secrets.token_urlsafe(48),
            "DATABASE_URL": postgres.app_url,
            "REDIS_URL": redis.url,
            "HITL_DATA_DIR": str(folder),
            "HITL_LOG_LEVEL": "WARNING",
            floor.DATABASE_ENV: postgres.owner_url,
        }
        stack = Stack(environment, children.free_port(), children.free_port(), folder)
        _migrate(stack)
        floor.create_tables(postgres.owner_url)
        web = ("web", "--port", str(stack.web_port), "--skip-checks")
        exits.enter_context(_process(stack, "web", "manage.py", *web, port=stack.web_port))
        bare = ("-m", "bench.floor", "--port", str(stack.floor_port))
        exits.enter_context(_process(stack, "floor", *bare, port=stack.floor_port))
        yield stack


def _migrate(stack: Stack) -> None:
    owner = {"DATABASE_OWNER_URL": stack.environment[floor.DATABASE_ENV]}
    command = ("manage.py", "migrate", "--no-input")
    with _process(stack, "migrate", *command, more=owner) as process:
        children.wait_until(lambda: process.poll() is not None, process, START_SECONDS)
        if process.returncode != 0:
            raise StackFailed(f"The migrations failed.\n{stack.last_words('migrate')}")


@contextmanager
def _process(
    stack: Stack,
    name: str,
    *arguments: str,
    port: int = 0,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process of ours, ready when it answers on its port, if it has one."""
    process = children.spawn(
        [sys.executable, *arguments],
        log=stack.folder / f"{name}.log",
        cwd=ROOT,
        env={**stack.environment, **more},
    )
    try:
        if port and not children.wait_until(lambda: _answers(port), process, START_SECONDS):
            raise StackFailed(f"`{name}` did not start.\n{stack.last_words(name)}")
        yield process
    finally:
        children.end(process, signal.SIGTERM, signal.SIGKILL, STOP_SECONDS)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()
