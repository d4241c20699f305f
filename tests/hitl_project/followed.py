"""A whole gateway that logs JSON, sends its traces to a stand-in collector and has a provider."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import yaml

from agents.operation_config import GATEWAY_SECRETS
from hitl_project.embedded import OWNER, Postgres
from tests.e2e.configuration import write_configuration
from tests.e2e.gateway import Gateway
from tests.e2e.stack import STOP_SECONDS, WORKER, Stack
from tests.hitl_project.collector import Collector
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET
from tests.openid_provider.process import OpenIdProvider

Line = dict[str, Any]
# Secrets beside those that every stack has.
MADE = (
    *("SECRET_KEY_FALLBACK", "LINEAR_WEBHOOK_SECRET", "HITL_METRICS_TOKEN"),
    *("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
    *("DEPLOY_KEY", "MIGRATIONS_KEY"),
)
KEY = "api-key="
# Who logs in by the provider.
LIN = {"preferred_username": "lin", "email": "lin@example.com", "groups": []}

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
    provider: OpenIdProvider

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
            **{name: f"{KEY}{value}" for name, value in made.items() if name.endswith("_HEADERS")},
            "HITL_CONFIG_DIR": str(_configuration(self.folder / "leaking")),
            "DJANGO_SETTINGS_MODULE": "tests.hitl_project.followed_settings",
            "HITL_LOG_FORMAT": "json",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector_url,
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "HITL_OIDC_ISSUER": self.provider.issuer,
            "HITL_OIDC_CLIENT_ID": CLIENT_ID,
            "HITL_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        }


class Followed(Gateway):
    """The gateway, what it logs, the collector that its spans go to, and the provider of logins."""

    def __init__(self, stack: Stack, collector: Collector, provider: OpenIdProvider) -> None:
        super().__init__(stack)
        self.collector = collector
        self.provider = provider

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

    def sign_on(self) -> dict[str, str]:
        """Log Lin in by the provider; what of that is secret."""
        url = self.stack.url
        self.provider.tell(f"{url}/accounts/sign-on/callback/", {"lin": LIN})
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as browser:
            begun = browser.get("/accounts/sign-on/").headers["Location"]
            answer = browser.get(self.provider.answer("lin", begun))
            assert (answer.status_code, answer.headers["Location"]) == (302, "/")
            code = answer.request.url.params["code"]
            return {"code of a login": code, "session of lin": browser.cookies["sessionid"]}

    def send_task(self, name: str, queue: str, *arguments: object) -> None:
        """Send one of the tests' own tasks."""
        self.stack.send_task(f"tests.hitl_project.tasks.{name}", queue, *arguments)

    def secrets(self) -> dict[str, str]:
        """What must stand in no log and no span, whatever it tells, by what it is."""
        environment = self.stack.environment
        current, previous = environment["LINEAR_WEBHOOK_SECRET"].split(",")
        urls = {name: environment[name] for name in ("DATABASE_URL", "REDIS_URL")}
        urls["DATABASE_OWNER_URL"] = self.stack.postgres.url(OWNER)
        names = {*MADE, *GATEWAY_SECRETS} - {"LINEAR_WEBHOOK_SECRET", *urls}
        return {
            **{name: environment[name].removeprefix(KEY) for name in names},
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


def start(
    folder: Path, postgres: Postgres, collector: Collector, provider: OpenIdProvider
) -> Followed:
    """Start it, with its people, and wait until it is ready."""
    FollowedStack.collector_url, FollowedStack.provider = collector.url, provider
    followed = Followed(FollowedStack.start(folder, postgres, "followed"), collector, provider)
    followed.create_people()
    followed.stack.wait_until_ready()
    return followed
