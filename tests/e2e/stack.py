"""A whole gateway, every part a process of its own as in production, acted on from outside."""

import errno
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import httpx
import psycopg
from celery import Celery
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from hitl_project import children
from hitl_project.embedded import APP, OWNER, SUPERUSER, Postgres, RedisServer
from tests import warm
from tests.e2e.configuration import write_configuration
from tests.e2e.program import gate_of
from tests.sandbox_process import GITHUB_TOKEN, LINEAR_API_KEY, REPOSITORY, ROOT, Sandbox
from tests.waiting import eventually

MANAGE = str(ROOT / "manage.py")
START_SECONDS = 60.0
STOP_SECONDS = 30.0
COMMAND_SECONDS = 60.0
SOON_SECONDS = 40.0

# Enough processes for three actions that wait at their gates and the work beside them.
WORKER = ("worker", "--queues", "runs,channels,sweeps", "--concurrency", "5")
PARTS: Mapping[str, Sequence[str]] = {"worker": WORKER, "beat": ("beat",)}


def soon(condition: Callable[[], bool], what: str, seconds: float = SOON_SECONDS) -> None:
    """Wait for what other processes do, without asking so often that it slows them down."""
    eventually(condition, what, seconds, every_seconds=0.1)


class Gate:
    """Holds what comes to it until it is opened or removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)

    def open(self) -> None:
        """Let through whoever waits, once somebody does; later ones find no gate."""
        eventually(self._opened, f"somebody waits at the gate {self._path.name}")
        self.remove()

    def remove(self) -> None:
        """Let later ones through; who waits now goes on waiting."""
        self._path.unlink(missing_ok=True)

    def _opened(self) -> bool:
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            if error.errno == errno.ENXIO:  # nobody reads from it
                return False
            raise
        return True


class Stack:
    """PostgreSQL's own database, Redis, sandbox, web server, worker and beat, until `stop`."""

    # Whether its parts are forked from a process that has loaded their libraries already.
    forks = True

    def __init__(self, folder: Path, postgres: Postgres, database: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.postgres = postgres
        self.database = database
        self.redis = RedisServer(folder)
        self.webhook_secret = secrets.token_urlsafe(32)
        self.port = children.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=30.0, trust_env=False)
        self.parts: Mapping[str, Sequence[str]] = {
            "web": ("web", "--port", str(self.port)),
            **PARTS,
        }
        self.processes: dict[str, warm.Process] = {}
        self.sandbox: Sandbox
        self.environment: dict[str, str] = {}

    @classmethod
    def start(
        cls, folder: Path, postgres: Postgres, database: str, *, without: Sequence[str] = ()
    ) -> Self:
        """Start everything over a new, migrated database, without some of the variables."""
        stack = cls(folder, postgres, database)
        try:
            stack._start(without)
        except BaseException:
            stack.stop()
            raise
        return stack

    def _start(self, without: Sequence[str]) -> None:
        self.data_dir.mkdir()
        (self.data_dir / "gates").mkdir()
        self.postgres.create_database(self.database)
        self.redis.start()
        self.sandbox = Sandbox.start(
            self.folder / "sandbox", f"{self.url}/resume", self.webhook_secret
        )
        everything = self._environment()
        self.environment = {k: v for k, v in everything.items() if k not in without}
        self.manage("migrate", "--no-input")
        for name in self.parts:
            self.start_part(name)

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return inherited | {
            "DJANGO_SETTINGS_MODULE": "tests.e2e.settings",
            "SECRET_KEY": secrets.token_urlsafe(48),
            "DATABASE_URL": self.postgres.url(APP, self.database),
            # In the same file as the rest, as many keep it; only `migrate` takes it.
            "DATABASE_OWNER_URL": self.postgres.url(OWNER, self.database),
            "REDIS_URL": self.redis.url,
            "PORT": str(self.port),
            "HITL_DATA_DIR": str(self.data_dir),
            "HITL_LOG_FORMAT": "text",
            "HITL_CONFIG_DIR": str(write_configuration(self.folder / "config")),
            "LINEAR_API_URL": self.sandbox.linear_url,
            "LINEAR_API_KEY": LINEAR_API_KEY,
            "LINEAR_WEBHOOK_SECRET": self.webhook_secret,
            "GITHUB_API_URL": self.sandbox.github_url,
            "GITHUB_TOKEN": GITHUB_TOKEN,
            "HITL_GITHUB_REPOSITORIES": REPOSITORY,
            "HITL_OPERATIONS_URL": self.sandbox.hooks_url,
            "HITL_PRIVATE_NETWORKS": "127.0.0.1/32",
        }

    # Processes

    def run(
        self, name: str, *arguments: str, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Start a management command that keeps running, its output in `NAME.log`."""
        words, environment = [MANAGE, *arguments], {**self.environment, **more}
        # What is preloaded has to be there before anything else is.
        if self.forks and "LD_PRELOAD" not in more:
            self.processes[name] = warm.start(words, environment, self.log(name))
        else:
            self.processes[name] = children.spawn(
                [sys.executable, *words], log=self.log(name), cwd=ROOT, env=environment
            )

    def start_part(self, name: str) -> None:
        """Start a part, for the first time or anew."""
        self.run(name, *self.parts[name])

    def log(self, name: str) -> Path:
        """The file with what a process wrote."""
        return self.folder / f"{name}.log"

    def kill(self, name: str) -> None:
        """End a process without warning, as a crash would."""
        process = self.processes.pop(name)
        process.kill()
        process.wait(STOP_SECONDS)

    def wait_until_ready(self) -> None:
        """Wait until the gateway says that everything it needs is there."""
        soon(self._ready, f"the gateway is ready; logs are in {self.folder}", START_SECONDS)

    def _ready(self) -> bool:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended:\n{children.last_lines(self.log(name), 30)}")
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def send_task(self, name: str, queue: str, *arguments: object) -> None:
        """Send a task to whichever worker serves the queue."""
        with Celery(broker=self.redis.url, set_as_current=False) as sender:
            sender.send_task(name, arguments, queue=queue)

    def manage(self, *arguments: str, status: int = 0, **environment: str) -> str:
        """Run a management command to its end and return what it printed.

        Fails where its exit status is another one than `status`.
        """
        return self._python([MANAGE, *arguments], status=status, environment=environment)

    def manage_each(self, commands: Sequence[Sequence[str]], **environment: str) -> list[str]:
        """Run management commands one after the other and return what each of them printed."""
        printed = self._python(
            ["-m", "tests.e2e.commands"], environment=environment, given=json.dumps(commands)
        )
        return list(json.loads(printed))

    def _python(
        self,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str],
        given: str = "",
        status: int = 0,
    ) -> str:
        done = warm.run(arguments, {**self.environment, **environment}, given, COMMAND_SECONDS)
        assert done.returncode == status, f"{' '.join(arguments)} said: {done.stderr}"
        return (done.stdout or done.stderr).strip()

    def stop(self) -> None:
        """End every process and remove the database."""
        self._end_processes()
        administration = self.postgres.url(SUPERUSER, "postgres")
        with psycopg.connect(administration, autocommit=True) as connection:
            name = sql.Identifier(self.database)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def _end_processes(self) -> None:
        self.http.close()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            warm.end(process, 5)
        self.processes.clear()
        if hasattr(self, "sandbox"):
            self.sandbox.stop()
        self.redis.stop()

    # What can be seen

    @contextmanager
    def connection(self, role: str = APP) -> Iterator[psycopg.Connection[DictRow]]:
        """A connection to the gateway's database, each statement its own transaction."""
        with psycopg.connect(
            self.postgres.url(role, self.database), autocommit=True, row_factory=dict_row
        ) as connection:
            yield connection

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What a query finds."""
        with self.connection() as connection:
            return connection.execute(query.encode(), values).fetchall()

    def wait_for_row(self, query: str, *values: object, seconds: float = 20) -> dict[str, Any]:
        """The first row that a query finds, once it finds one."""
        found: list[dict[str, Any]] = []
        # To connect takes longer than to ask.
        with self.connection() as connection:

            def there() -> bool:
                found[:] = connection.execute(query.encode(), values).fetchall()
                return bool(found)

            eventually(there, f"there is a row of: {query} {values}", seconds, every_seconds=0.05)
        return found[0]

    def effects(self, label: str) -> list[dict[str, Any]]:
        """The executions that have one of their options set to the label, the oldest first."""
        file = self.data_dir / "effects.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        effects = [json.loads(line) for line in lines]
        return [effect for effect in effects if label in effect["options"].values()]

    def write_version(self, label: str, version: str) -> None:
        """Change what the graph `two_regions` would deploy from now on."""
        (self.data_dir / f"{label}.version").write_text(version)

    def close_gate(self, name: str) -> Gate:
        """Make whatever comes to the gate of that name wait there."""
        return Gate(gate_of(self.data_dir, name))
