"""The servers and processes that are measured, in a temporary folder, as long as a `with` lasts."""

import http.client
import json
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
from typing import Any

import django
import redis
from django.db import connection

from bench import floor
from bench.load import HOST
from hitl_project import children
from hitl_project.embedded import (
    APP,
    DATABASE,
    OWNER,
    SUPERUSER,
    start_postgres,
    start_redis,
)

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 10.0
# Migrated, with the people of the benchmark; every gateway begins with a copy of it.
TEMPLATE = "bench_template"
ALL_QUEUES = "runs,channels,sweeps"
# What the person at the keyboard exported must not change what is measured.
_OURS = ("HITL_", "LINEAR_", "GITHUB_", "DATABASE_", "REDIS_", "ALLOWED_HOSTS", "PORT")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class StackFailed(Exception):
    """A process did not start; the message holds what it printed."""


@dataclass(frozen=True)
class Gateway:
    """One gateway: its database, and the environment of its processes."""

    name: str
    environment: Mapping[str, str]
    folder: Path
    superuser_url: str
    port: int

    @contextmanager
    def web(self) -> Iterator[int]:
        """The web server, answering on `port`; yields its process id."""
        arguments = ("manage.py", "web", "--port", str(self.port), "--skip-checks")
        with self._process("web", *arguments, port=self.port) as pid:
            yield pid

    @contextmanager
    def worker(self, queues: str = "runs", concurrency: int = 1) -> Iterator[int]:
        """A worker for these queues; yields its process id."""
        options = ("--queues", queues, "--concurrency", str(concurrency), "--skip-checks")
        with self._process(f"worker-{queues}", "manage.py", "worker", *options) as pid:
            yield pid

    @contextmanager
    def beat(self) -> Iterator[int]:
        """What reminds the workers of what is due; yields its process id."""
        with self._process("beat", "manage.py", "beat", "--skip-checks") as pid:
            yield pid

    @contextmanager
    def bare(self) -> Iterator[int]:
        """The floor's server over the same database; yields its port."""
        port = children.free_port()
        arguments = ("-m", "bench.floor", "--port", str(port))
        with self._process("floor", *arguments, port=port):
            yield port

    @contextmanager
    def current(self) -> Iterator[None]:
        """Let what this process does with Django's models and verbs happen in this gateway."""
        connection.close()
        before = connection.settings_dict["NAME"]
        connection.settings_dict["NAME"] = self.name
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"] = before

    @property
    def floor_url(self) -> str:
        """Where the floor's statements connect."""
        return self.environment[floor.DATABASE_ENV]

    @contextmanager
    def _process(self, name: str, *arguments: str, port: int = 0) -> Iterator[int]:
        log = self.folder / f"{self.name}-{name}.log"
        with running(log, *arguments, environment=self.environment, port=port) as process:
            yield process.pid


class Stack:
    """PostgreSQL, Redis, and the gateways over them; `scale` is how many requests a full one has.

    What is entered into `exits` ends with the stack.
    """

    def __init__(self, folder: Path, exits: ExitStack, scale: int) -> None:
        self.folder = folder
        self.exits = exits
        self.scale = scale
        # Gateways that several measures use, by name.
        self.shared: dict[str, Gateway] = {}
        self._postgres = start_postgres(folder)
        exits.callback(self._postgres.stop)
        self._redis = start_redis(folder)
        exits.callback(self._redis.stop)
        self._secrets = {
            name: secrets.token_urlsafe(48) for name in ("SECRET_KEY", "LINEAR_WEBHOOK_SECRET")
        }

    def environment(self, database: str = DATABASE) -> dict[str, str]:
        """The environment of every process of a gateway over this database."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
        return {
            **inherited,
            **self._secrets,
            "DJANGO_SETTINGS_MODULE": "bench.settings",
            "DATABASE_URL": self._postgres.url(APP, database),
            "REDIS_URL": self._redis.url,
            "HITL_DATA_DIR": str(self.folder),
            "HITL_LOG_LEVEL": "WARNING",
            # Where the stand-in Linear is.
            "HITL_PRIVATE_NETWORKS": "127.0.0.0/8",
            floor.DATABASE_ENV: self._postgres.url(OWNER, database),
        }

    def set_up(self) -> None:
        """Migrate, set Django up in this process, and make what every gateway begins with."""
        owner = {"DATABASE_OWNER_URL": self._postgres.owner_url}
        log = self.folder / "migrate.log"
        command = ("manage.py", "migrate", "--no-input")
        with running(log, *command, environment=self.environment() | owner) as process:
            children.wait_until(lambda: process.poll() is not None, process, START_SECONDS)
            if process.returncode != 0:
                raise StackFailed(f"The migrations failed.\n{children.last_lines(log, 30)}")
        floor.create_tables(self._postgres.owner_url)
        os.environ.clear()
        os.environ.update(self.environment())
        django.setup()
        # These need the settings, which need the addresses of the stack.
        from bench import people  # noqa: PLC0415

        people.create_people()
        connection.close()
        self._postgres.create_database(TEMPLATE, template=DATABASE)

    @contextmanager
    def gateway(self, name: str, more: Mapping[str, str] = _NOTHING) -> Iterator[Gateway]:
        """A gateway of its own, which this process's Django works in meanwhile."""
        gateway = self.new_gateway(name, more)
        with gateway.current():
            yield gateway

    @contextmanager
    def served(self, name: str) -> Iterator[Gateway]:
        """A gateway whose web server runs on, so that several measures can use both."""
        if name not in self.shared:
            self.shared[name] = self.new_gateway(name)
            self.exits.enter_context(self.shared[name].web())
        with self.shared[name].current():
            yield self.shared[name]

    def new_gateway(self, name: str, more: Mapping[str, str] = _NOTHING) -> Gateway:
        """A gateway over a new database; nothing of it runs yet."""
        self._postgres.create_database(name, template=TEMPLATE)
        # Hints of another gateway would make this one's workers look for nothing.
        redis.Redis.from_url(self._redis.url).flushdb()
        gateway = Gateway(
            name,
            {**self.environment(name), **more},
            self.folder,
            self._postgres.url(SUPERUSER, name),
            children.free_port(),
        )
        # This needs the settings, which need the addresses of the stack.
        from approvals.models import CurrentIdentity, DatabaseIdentity  # noqa: PLC0415

        with gateway.current():
            # A copy is nobody's, and workers would do nothing for it.
            DatabaseIdentity.objects.update(identity=CurrentIdentity())
        return gateway

    @contextmanager
    def sandbox(self) -> Iterator["Sandbox"]:
        """The stand-in Linear, which sends no webhooks."""
        port = children.free_port()
        arguments = ("-m", "sandbox", "--port", str(port), "--data", str(self.folder / "sandbox"))
        log = self.folder / "sandbox.log"
        environment = self.environment()
        with running(log, *arguments, "--empty", environment=environment, port=port):
            yield Sandbox(port)

    def last_words(self) -> str:
        """The end of every log."""
        logs = [log for log in sorted(self.folder.glob("*.log")) if log.stat().st_size]
        return "\n".join(f"{log.name} ends with:\n{children.last_lines(log, 20)}" for log in logs)


@dataclass(frozen=True)
class Sandbox:
    """The stand-in Linear of a stack."""

    port: int

    @property
    def settings(self) -> dict[str, str]:
        """What a gateway's processes need to speak to it."""
        url = f"http://{HOST}:{self.port}/linear/graphql"
        return {"LINEAR_API_URL": url, "LINEAR_API_KEY": "sandbox-gateway-key"}

    def slow_down(self, seconds: float) -> None:
        """Let every answer of Linear take so long."""
        self._call("POST", {"target": "linear", "kind": "delay", "seconds": seconds})

    def recover(self) -> None:
        """Let Linear answer at once again, what it was asked before too."""
        self._call("DELETE", None)

    def _call(self, method: str, body: Any) -> None:
        asked = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            asked.request(method, "/_control/faults", body=body and json.dumps(body))
            answer = asked.getresponse()
            if answer.status != 200:
                raise StackFailed(f"The sandbox answered {answer.status}: {answer.read()!r}")
        finally:
            asked.close()


@contextmanager
def running_stack(scale: int) -> Iterator[Stack]:
    """Start PostgreSQL and Redis; everything ends with the block."""
    with ExitStack() as exits:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="hitl-bench-")))
        yield Stack(folder, exits, scale)


@contextmanager
def running(
    log: Path, *arguments: str, environment: Mapping[str, str], port: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process of ours, ready when it answers on its port, if it has one."""
    process = children.spawn([sys.executable, *arguments], log=log, cwd=ROOT, env=environment)
    try:
        if port and not children.wait_until(lambda: _answers(port), process, START_SECONDS):
            raise StackFailed(f"{log.stem} did not start.\n{children.last_lines(log, 30)}")
        yield process
    finally:
        children.end(process, signal.SIGTERM, signal.SIGKILL, STOP_SECONDS)


def _answers(port: int) -> bool:
    asked = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        asked.request("GET", "/healthz")
        return asked.getresponse().status < 500
    except OSError:
        return False
    finally:
        asked.close()
