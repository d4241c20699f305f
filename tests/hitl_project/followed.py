"""A whole gateway that logs JSON and sends its traces to a stand-in collector."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from hitl_project.embedded import OWNER, Postgres
from tests.e2e.configuration import write_configuration
from tests.e2e.gateway import Gateway
from tests.e2e.stack import STOP_SECONDS, WORKER, Stack
from tests.hitl_project.collector import Collector

Line = dict[str, Any]
# Secrets beside those that every stack has.
MADE = (
    *("SECRET_KEY_FALLBACK", "LINEAR_WEBHOOK_SECRET", "HITL_METRICS_TOKEN"),
    *("OTEL_EXPORTER_OTLP_HEADERS", "DEPLOY_KEY", "MIGRATIONS_KEY"),
)

# Each is handed a credential: one prints it and fails, the other one sends it.
LEAKING: dict[str, Line] = {
    "print_credential": {
        "command": {
            "argv": ["python", "-m", "tests.hitl_project.leaking"],
            "pass_env": ["DEPLOY_KEY"],
        }
    },
    "send_credential": {
        "http": {
            "base_url_env": "HITL_OPERATIONS_URL",
            "path": "/leaking",
            "headers_env": {"X-Api-Key": "MIGRATIONS_KEY"},
        }
    },
}


class FollowedStack(Stack):
    """The stack as in production, as far as logs and traces go."""

    # What other users of the machine see of a process is looked at, and how one starts.
    forks = False
    collector_url: str

    def __init__(self, folder: Path, postgres: Postgres, database: str) -> None:
        super().__init__(folder, postgres, database)
        # Nothing waits at a gate here, and each process of a worker takes its time to start.
        self.parts = {**self.parts, "worker": (*WORKER[:-1], "2")}

    def _environment(self) -> dict[str, str]:
        made = {name: secrets.token_hex(24) for name in MADE}
        known = super()._environment()
        return known | {
            **made,
            "LINEAR_WEBHOOK_SECRET": f"{self.webhook_secret},{made['LINEAR_WEBHOOK_SECRET']}",
            "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={made['OTEL_EXPORTER_OTLP_HEADERS']}",
            "HITL_CONFIG_DIR": str(_configuration(self.folder / "leaking")),
            "DJANGO_SETTINGS_MODULE": "tests.hitl_project.followed_settings",
            "HITL_LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector_url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }


class Followed(Gateway):
    """The gateway, what it logs, and the collector that its spans go to."""

    def __init__(self, stack: Stack, collector: Collector) -> None:
        super().__init__(stack)
        self.collector = collector

    def lines(self, *names: str) -> list[Line]:
        """Every line that processes have logged; fails on one that is no JSON object."""
        return [
            json.loads(line)
            for name in names or ("web", "worker", "beat")
            for line in self.stack.log(name).read_text().splitlines()
        ]

    def lines_about(self, key: str, value: str) -> list[Line]:
        """The lines with this value under this key, in the order of their times."""
        lines = [line for line in self.lines() if line.get(key) == value]
        return sorted(lines, key=lambda line: str(line["time"]))

    def stop(self, name: str) -> None:
        """Ask a process to stop and wait until it has."""
        process = self.stack.processes.pop(name)
        process.terminate()
        process.wait(STOP_SECONDS)

    @contextmanager
    def forking(self) -> Iterator[None]:
        """Fork what is started meanwhile, for tests that stop it again and look at no start."""
        self.stack.forks = True
        try:
            yield
        finally:
            self.stack.forks = False

    def send_task(self, name: str, queue: str, *arguments: object) -> None:
        """Send one of the tests' own tasks."""
        self.stack.send_task(f"tests.hitl_project.tasks.{name}", queue, *arguments)

    def secrets(self) -> dict[str, str]:
        """What must stand in no log and no span, whatever it tells, by what it is."""
        environment = self.stack.environment
        current, previous = environment["LINEAR_WEBHOOK_SECRET"].split(",")
        urls = {name: environment[name] for name in ("DATABASE_URL", "REDIS_URL")}
        urls["DATABASE_OWNER_URL"] = self.stack.postgres.url(OWNER)
        names = {*MADE, "SECRET_KEY", "LINEAR_API_KEY", "GITHUB_TOKEN"} - {"LINEAR_WEBHOOK_SECRET"}
        return {
            **{name: environment[name].removeprefix("api-key=") for name in names},
            **{f"password in {name}": password_in(url) for name, url in urls.items()},
            "LINEAR_WEBHOOK_SECRET": current,
            "LINEAR_WEBHOOK_SECRET, previous": previous,
            "token of ben": self.token("ben"),
            "token of rosa": self.token("rosa"),
            "password of ada": self.password,
        }


def password_in(url: str) -> str:
    """The password in an address."""
    return unquote(urlsplit(url).password or "")


def _configuration(folder: Path) -> Path:
    """The configuration of the end-to-end tests, with operations that are handed credentials."""
    operations = write_configuration(folder) / "hitl" / "operations.yaml"
    known = yaml.safe_load(operations.read_text())
    for name, does in LEAKING.items():
        facts: Line = {"description": "Leak.", "timeout_seconds": 20, "idempotent": False}
        known["operations"][name] = facts | does
    operations.write_text(yaml.safe_dump(known))
    return folder


def start(folder: Path, postgres: Postgres, collector: Collector) -> Followed:
    """Start it, with its people, and wait until it is ready."""
    FollowedStack.collector_url = collector.url
    followed = Followed(FollowedStack.start(folder, postgres, "followed"), collector)
    followed.create_people()
    followed.stack.wait_until_ready()
    return followed
