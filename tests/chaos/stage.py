"""The gateway under fire: two of everything, each a process, over servers that may be killed."""

import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
from redis import Redis

from hitl_project import children
from hitl_project.embedded import Postgres
from tests.chaos.configuration import write_configuration
from tests.e2e.gateway import Gateway
from tests.e2e.metrics import Scrape, scrape
from tests.e2e.stack import Stack

DATABASE = "chaos"
_QUEUES = ("--queues", "runs,channels,sweeps", "--concurrency", "3")


class Stage(Stack):
    """Two web servers, two workers, beat, sandbox, and a PostgreSQL and a Redis of its own.

    `skew` names parts whose clock is wrong, with by how many seconds; it needs libfaketime.
    """

    def __init__(self, folder: Path, skew: Mapping[str, int]) -> None:
        self.skew = skew
        postgres = Postgres(folder, durable=False)
        postgres.start()
        super().__init__(folder, postgres, DATABASE)
        other = children.free_port()
        self.urls = (self.url, f"http://127.0.0.1:{other}")
        self.parts: dict[str, Sequence[str]] = {
            "web-1": ("web", "--port", str(self.port)),
            "web-2": ("web", "--port", str(other)),
            "worker-1": ("worker", *_QUEUES),
            "worker-2": ("worker", *_QUEUES),
            "beat": ("beat",),
        }

    @classmethod
    def built(cls, folder: Path, skew: Mapping[str, int]) -> "tuple[Stage, Gateway]":
        """A running stage with its people."""
        stage = cls(folder, skew)
        try:
            stage._start(())
            gateway = Gateway(stage)
            gateway.create_people()
            gateway.create_token("ada", "decide")
            stage.wait_until_ready()
        except BaseException:
            stage.stop()
            raise
        return stage, gateway

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
            "HITL_CONFIG_DIR": str(write_configuration(self.folder / "chaos-config")),
        }

    def start_part(self, name: str) -> None:
        """Start a part, for the first time or anew, with its own clock."""
        by = self.skew.get(name)
        self.run(name, *self.parts[name], more={} if by is None else wrong_clock(by))

    def pool_of(self, name: str) -> Sequence[int]:
        """The processes that do the work of a worker."""
        worker = self.processes[name].pid
        with suppress(FileNotFoundError):
            return [
                int(pid)
                for pid in Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
            ]
        return ()

    def freeze(self, name: str) -> None:
        """Let a process do nothing for a while, as a busy machine would."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on."""
        self.processes[name].send_signal(signal.SIGCONT)

    def crash_postgres(self) -> None:
        """End PostgreSQL at once, without a checkpoint; `postgres.start` recovers."""
        process = self.postgres.process
        process.send_signal(signal.SIGQUIT)
        process.wait(30)

    def kill_redis(self) -> None:
        """End Redis without warning; it keeps nothing."""
        process = self.redis.process
        process.kill()
        process.wait(30)

    def empty_redis(self) -> None:
        """Take everything that Redis holds."""
        with Redis.from_url(self.redis.url) as client:
            client.flushall()

    def cut_connections(self) -> None:
        """End every connection to the database but this one."""
        with self.connection("postgres") as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def pages(self) -> Sequence[Scrape]:
        """The metrics of both web servers."""
        return [scrape(url) for url in self.urls]

    def works_since(self, moment: Any) -> bool:
        """Whether both web servers are ready, and a sweep has come through after the moment."""
        try:
            for url in self.urls:
                if httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code != 200:
                    return False
            query = "SELECT 1 FROM approvals_heartbeat WHERE name = 'sweeps' AND seen_at > %s"
            return bool(self.rows(query, moment))
        except (httpx.TransportError, psycopg.OperationalError):
            return False

    def stop(self) -> None:
        """End every process, PostgreSQL with its database last."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        self._end_processes()
        self.postgres.stop()


def wrong_clock(by: int) -> dict[str, str]:
    """The environment of a Python whose clock is off by so many seconds."""
    (library,) = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    # As where a machine's clock is wrong: how long something lasts is still measured rightly.
    measured = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    # Or every thread that waits for Python's lock would ask for the time over and over.
    measured["FAKETIME_FORCE_MONOTONIC_FIX"] = "0"
    slept = {"PYTHONPATH": str(Path(__file__).with_name("skewed"))}
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{by:+d}s", **measured, **slept}


def has_faketime() -> bool:
    """Whether a process can be given a wrong clock here."""
    return any(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
