"""A whole gateway that logs JSON and sends its traces to a stand-in collector."""

import json
from pathlib import Path
from typing import Any

from hitl_project.embedded import Postgres
from tests.e2e.gateway import Gateway
from tests.e2e.stack import STOP_SECONDS, Stack
from tests.hitl_project.collector import Collector

Line = dict[str, Any]


class FollowedStack(Stack):
    """The stack as in production, as far as logs and traces go."""

    collector_url: str

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
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

    def send_task(self, name: str, queue: str, *arguments: object) -> None:
        """Send one of the tests' own tasks."""
        self.stack.send_task(f"tests.hitl_project.tasks.{name}", queue, *arguments)

    def secrets(self) -> list[str]:
        """What must stand in no log and no span, whatever it tells."""
        names = ("SECRET_KEY", "LINEAR_API_KEY", "LINEAR_WEBHOOK_SECRET", "GITHUB_TOKEN")
        environment = self.stack.environment
        tokens = [self.token("ben"), self.token("rosa")]
        return [*(environment[name] for name in names), *tokens, self.password]


def start(folder: Path, postgres: Postgres, collector: Collector) -> Followed:
    """Start it, with its people, and wait until it is ready."""
    FollowedStack.collector_url = collector.url
    followed = Followed(FollowedStack.start(folder, postgres, "followed"), collector)
    followed.create_people()
    followed.stack.wait_until_ready()
    return followed
