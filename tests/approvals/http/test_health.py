"""`/healthz` and `/readyz` say the truth, in words."""

import socketserver
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Lock, Thread

import pytest
from django.db import connection
from django.test import Client
from pytest_django import Settings

from approvals import outbox, services, tasks
from tests.approvals.http.gateway import People
from tests.web_server import WebServer


@pytest.fixture
def linear_on(settings: Settings) -> None:
    """A channel whose deliveries need the queue `channels`."""
    settings.HITL_CHANNELS = ["tests.approvals.channels.Linear"]
    outbox.channels.cache_clear()


def beat(*names: str, seconds_ago: int = 0) -> None:
    """Let the queues have been at work so long ago."""
    for name in names:
        services.beat_heart(name)
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE approvals_heartbeat SET seen_at = clock_timestamp()"
                " - make_interval(secs => %s) WHERE name = %s",
                [seconds_ago, name],
            )


def test_everything_at_work_is_ready(db: None, linear_on: None) -> None:
    beat("sweeps", "runs", "channels")
    response = Client().get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "checks": {
            "postgresql": "ok",
            "redis": "ok",
            "database": "ok",
            "sweeps": "ok",
            "runs": "ok",
            "channels": "ok",
        },
        "reasons": [],
    }


@pytest.mark.parametrize("missing", ["sweeps", "runs", "channels"])
def test_a_queue_that_nobody_serves_is_named(db: None, linear_on: None, missing: str) -> None:
    beat(*({"sweeps", "runs", "channels"} - {missing}))
    response = Client().get("/readyz")
    assert response.status_code == 503
    (reason,) = response.json()["reasons"]
    assert reason.startswith("Never seen at work")
    assert response.json()["checks"][missing] == reason


def test_a_sweep_that_fails_was_none(
    db: None, linear_on: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat("runs", "channels")

    def fail() -> int:
        raise RuntimeError("Nothing expires.")

    with monkeypatch.context() as patched:
        patched.setattr(services, "expire_overdue", fail)
        with pytest.raises(RuntimeError):
            tasks.sweep()
    assert Client().get("/readyz").json()["checks"]["sweeps"].startswith("Never seen at work")
    tasks.sweep()
    assert Client().get("/readyz").status_code == 200


def test_a_worker_that_fell_silent_is_named_with_its_age(db: None, linear_on: None) -> None:
    beat("sweeps", "channels")
    beat("runs", seconds_ago=31)
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert "Last seen at work 31 s ago" in response.json()["checks"]["runs"]


def test_without_channels_their_queue_is_not_missed(db: None, no_channels: None) -> None:
    beat("sweeps", "runs")
    response = Client().get("/readyz")
    assert (response.status_code, "channels" in response.json()["checks"]) == (200, False)


def test_a_redis_that_does_not_answer_is_named(
    db: None, no_channels: None, settings: Settings
) -> None:
    beat("sweeps", "runs")
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["Redis does not answer within 2 s."]


def test_a_database_that_nobody_has_accepted_is_named(db: None, no_channels: None) -> None:
    beat("sweeps", "runs")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE approvals_databaseidentity SET identity = 'another/00000001/1/1'")
    response = Client().get("/readyz")
    assert response.status_code == 503
    (reason,) = response.json()["reasons"]
    assert "manage.py accept_database" in reason


def test_without_postgresql_the_process_is_alive_and_not_ready(
    launch_web_server: Callable[..., WebServer], committed_people: People
) -> None:
    server = launch_web_server(
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing", HITL_DATABASE_POOL="0"
    )
    assert server.client.get("/healthz").json() == {"status": "ok"}
    response = server.client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ["PostgreSQL does not answer within 2 s."]
    answer = server.call(committed_people.agent, "GET", "/approvals")
    assert (answer.status_code, list(answer.json())) == (503, ["detail"])
    # Who asks whether it is ready is told; a line for every time they ask would bury the rest.
    log = server.log.read_text()
    assert "Service Unavailable: /api/approvals" in log
    assert "Service Unavailable: /readyz" not in log


class Hesitant(socketserver.ThreadingTCPServer):
    """Stands for a PostgreSQL that takes its time and then hangs up; counts who waits for it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hesitating)
        self.lock = Lock()
        self.waiting = self.most = self.all = 0


class Hesitating(socketserver.BaseRequestHandler):
    server: Hesitant

    def handle(self) -> None:
        with self.server.lock:
            self.server.all += 1
            self.server.waiting += 1
            self.server.most = max(self.server.most, self.server.waiting)
        # As long as anybody else would need to get here as well.
        Event().wait(0.3)
        with self.server.lock:
            self.server.waiting -= 1


def test_however_many_ask_one_looks_and_the_others_share_what_it_saw(settings: Settings) -> None:
    callers = 20
    start = Barrier(callers)

    def ask(_: int) -> int:
        start.wait(10)
        return Client().get("/readyz").status_code

    with Hesitant() as server, ThreadPoolExecutor(callers) as pool:
        Thread(target=server.serve_forever, daemon=True).start()
        settings.DATABASE_URL = f"postgresql://nobody@127.0.0.1:{server.server_address[1]}/nothing"
        assert list(pool.map(ask, range(callers))) == [503] * callers
        server.shutdown()
    assert server.most == 1
    assert 1 < server.all < callers / 2


def test_healthz_asks_the_database_nothing() -> None:
    # Without the `db` mark any query would fail.
    assert Client().get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_nobody_keeps_a_copy(db: None, no_channels: None, path: str) -> None:
    assert "no-store" in Client().get(path)["Cache-Control"]
    assert Client().post(path).status_code == 405
