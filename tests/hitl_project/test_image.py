"""What the Dockerfile installs runs as the compose file says, with nothing but what it names.

No container engine is needed: the instructions are carried out in an empty folder, and the services
are processes of this machine. The packages are downloaded, so this takes a minute or two.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from hitl_project import children
from hitl_project.embedded import SUPERUSER, Postgres
from tests.hitl_project import compose
from tests.hitl_project.containers import (
    Containers,
    Relay,
    psql,
    start_prometheus,
    start_redis,
)
from tests.hitl_project.dockerfile import Stage, build
from tests.tools import require_tool
from tests.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
LONG_RUNNING = ("web", "worker-runs", "worker-channels", "worker-sweeps", "beat")
ROLES = ("gateway_dashboard", "gateway_app", "gateway_owner")
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """An empty folder that every user may enter, as few of pytest's may."""
    made = Path(tempfile.mkdtemp(prefix="hitl-image-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def image(folder: Path) -> Stage:
    """What the Dockerfile makes of an empty folder."""
    return build(ROOT / "deploy" / "Dockerfile", ROOT, folder)


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    """What a person would put into .env."""
    asked_for = compose.variables(compose.COMPOSE.read_text())
    required = {name for name, message in asked_for.items() if message}
    return {name: secrets.token_hex(16) for name in required} | {
        "HITL_PUBLIC_URL": "https://approvals.example.com",
        "ALLOWED_HOSTS": "approvals.example.com",
        "HITL_BEHIND_TLS_PROXY": "1",
    }


@pytest.fixture(scope="module")
def superuser(postgres_server: Postgres) -> str:
    """Where the superuser of the session's PostgreSQL connects."""
    return postgres_server.url(SUPERUSER, "postgres")


@pytest.fixture(scope="module")
def database(superuser: str, values: dict[str, str]) -> Iterator[str]:
    """The address of a PostgreSQL on which roles.sql was run as the postgres image runs it."""
    known = conninfo_to_dict(superuser)
    relay = Relay(Path(str(known["host"])) / ".s.PGSQL.5432")
    script = str(compose.DEPLOY / "postgres" / "roles.sql")
    options = ["-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc", "-f", script]
    given = compose.services(values)["postgres"]["environment"]
    place = {"PGHOST": str(known["host"]), "PGPASSWORD": str(known["password"])}
    try:
        subprocess.run(  # noqa: S603
            [str(psql()), "--username", SUPERUSER, "--dbname", "postgres", *options],
            env={**given, **place, "PATH": os.defpath},
            check=True,
        )
        yield f"127.0.0.1:{relay.port}"
    finally:
        relay.stop()
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS gateway WITH (FORCE)")
            for role in ROLES:
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.fixture(scope="module")
def containers(
    image: Stage, values: dict[str, str], database: str, folder: Path
) -> Iterator[Containers]:
    """The gateway's services, not started, beside a Redis that its service's command started."""
    services = compose.services(values)
    port = children.free_port()
    redis = start_redis(services["redis"], port, folder)
    addresses = {
        "postgres:5432": database,
        "redis:6379": f"127.0.0.1:{port}",
        "web:8000": f"127.0.0.1:{children.free_port()}",
    }
    made = Containers(image, services, folder, addresses)
    try:
        yield made
    finally:
        made.stop_all()
        redis.terminate()
        redis.wait(20)


@pytest.fixture(scope="module")
def running(containers: Containers) -> Containers:
    """All of the gateway's services, migrated and started in the order of the compose file."""
    assert containers.start("migrate").wait(300) == 0, containers.log("migrate").read_text()
    for name in LONG_RUNNING:
        containers.start(name)
    return containers


def ask(containers: Containers, path: str, **headers: str) -> tuple[int, str]:
    connection = HTTPConnection(containers.here("web:8000"), timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def is_healthy(containers: Containers, service: str) -> bool:
    status, said = containers.check(service)
    # Not the interpreter's own status 1: a failed check says why in one sentence.
    assert status == 0 or len(said.splitlines()) == 1, said
    return status == 0


def test_web_answers_its_health_check_and_the_public_host_name(running: Containers) -> None:
    eventually(lambda: is_healthy(running, "web"), "web is healthy", 120, every_seconds=1)
    assert ask(running, "/healthz")[0] == 200
    host = {"Host": "approvals.example.com", "X-Forwarded-Proto": "https"}
    assert ask(running, "/accounts/login/", **host)[0] == 200
    assert ask(running, "/accounts/login/", Host="elsewhere.example")[0] == 400
    status, sheet = ask(running, "/static/hitl.css", **host)
    assert (status, bool(sheet)) == (200, True)


@pytest.mark.parametrize("service", ["worker-runs", "worker-channels", "worker-sweeps", "beat"])
def test_workers_and_beat_become_healthy(running: Containers, service: str) -> None:
    eventually(lambda: is_healthy(running, service), f"{service} is healthy", 120, every_seconds=1)


def test_all_of_it_together_is_ready(running: Containers) -> None:
    def ready() -> bool:
        return ask(running, "/readyz")[0] == 200

    eventually(ready, "the gateway is ready", 120, every_seconds=0.5)


def test_where_no_web_server_answers_a_health_check_fails_with_a_sentence() -> None:
    elsewhere = f"127.0.0.1:{children.free_port()}"
    check = [sys.executable, str(compose.DEPLOY / "healthcheck.py"), "--queue", "runs"]
    ended = subprocess.run(  # noqa: S603
        [*check, "--of", f"http://{elsewhere}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"http://{elsewhere} does not answer")


def test_the_owner_has_the_tables_and_the_application_cannot_change_the_past(
    running: Containers, values: dict[str, str], database: str
) -> None:
    services = compose.services(values)
    url = services["web"]["environment"]["DATABASE_URL"].replace("postgres:5432", database)
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
        assert rows == [("gateway_owner",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM approvals_auditentry")


def test_nothing_of_the_image_can_be_written_by_its_user(running: Containers, image: Stage) -> None:
    if running.user is None:
        pytest.skip("Only root can start the services as the image's user.")
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in running.pids()} == {running.user.uid}
    written = [path for path in image.root.rglob("*") if path.lstat().st_uid == running.user.uid]
    assert written == []
    open_to_all = [
        path
        for path in image.root.rglob("*")
        if not path.is_symlink() and path.stat().st_mode & 0o022
    ]
    assert open_to_all == []


def test_the_owner_makes_the_role_that_grafana_reads_the_table_with(
    running: Containers, values: dict[str, str], database: str
) -> None:
    given = compose.services(values)["grafana"]["environment"]
    user, name = given["DASHBOARD_DATABASE_USER"], given["DASHBOARD_DATABASE_NAME"]
    made = running.start("migrate", "create_dashboard_role", user, name="role")
    said = running.log("role").read_text() if made.wait(60) == 0 else pytest.fail("No role.")
    (password,) = [line for line in said.splitlines() if " " not in line]
    host, _, port = database.partition(":")
    place = {"host": host, "port": port, "dbname": name}
    with psycopg.connect(user=user, password=password, **place) as connection:
        assert connection.execute("SELECT count(*) FROM hitl_waiting_requests").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT count(*) FROM approval_requests")
        connection.rollback()
        # Nor does it hold what the gateway waits for, though a plain owner made it.
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_advisory_lock(1)")


def test_prometheus_reads_the_metrics_with_the_token_by_the_command_of_the_compose_file(
    running: Containers, values: dict[str, str], folder: Path
) -> None:
    require_tool("prometheus", "on Debian and Ubuntu `apt install prometheus`")
    eventually(lambda: is_healthy(running, "web"), "web is healthy", 120, every_seconds=1)
    port, root = children.free_port(), folder / "prometheus"
    root.mkdir()
    process = start_prometheus(compose.services(values)["prometheus"], running, port, root)
    try:
        eventually(lambda: _scraped(port), f"a scrape (see {root})", 60, every_seconds=1)
    finally:
        process.terminate()
        process.wait(20)


def _scraped(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    query = urllib.parse.quote('hitl_approval_backlog_total{job="hitl-gateway"}')
    try:
        connection.request("GET", f"/api/v1/query?query={query}")
        answer = json.loads(connection.getresponse().read())
    except OSError:
        return False
    finally:
        connection.close()
    return answer["status"] == "success" and bool(answer["data"]["result"])


def test_everything_ends_when_it_is_asked_to(running: Containers) -> None:
    for name in reversed(LONG_RUNNING):
        assert running.stop(name, 20) == 0, running.log(name).read_text()[-2000:]
