"""A database knows itself from the copies that PostgreSQL's own programs make of it."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from django.db import connection

from approvals.models import CurrentIdentity
from approvals.selectors.health import is_database_accepted
from hitl_project.embedded import OWNER, Postgres
from tests.application_role import as_application

pytestmark = pytest.mark.django_db(transaction=True)

_ACCEPTED = f"SELECT identity = {CurrentIdentity.template} FROM approvals_databaseidentity"  # noqa: S608
_ACCEPT = f"UPDATE approvals_databaseidentity SET identity = {CurrentIdentity.template}"  # noqa: S608


def run(postgres: Postgres, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's own programs."""
    command = [str(postgres.program(name)), *arguments]
    subprocess.run(command, check=True, timeout=60, env={})  # noqa: S603 - PostgreSQL's


@pytest.fixture
def copy(postgres_server: Postgres, create_database: Callable[[str], str], tmp_path: Path) -> str:
    """The address of a database with the table as a dump of the test database has it."""
    server = postgres_server
    address = server.url(OWNER, create_database("restored_copy"))
    dump(server, server.url(OWNER, str(connection.settings_dict["NAME"])), tmp_path / "dump")
    run(server, "pg_restore", f"--dbname={address}", str(tmp_path / "dump"))
    return address


def dump(server: Postgres, address: str, file: Path) -> None:
    """Dump the table that says which database it is."""
    options = ("--table=approvals_databaseidentity", "--format=custom", f"--file={file}")
    run(server, "pg_dump", *options, address)


@contextmanager
def inside(address: str) -> Iterator[Callable[[str], object]]:
    """A function that says what a query answers there, in one value."""
    with psycopg.connect(address, autocommit=True) as there:

        def ask(query: str) -> object:
            cursor = there.execute(query.encode())
            found = cursor.fetchone() if cursor.description else None
            return found and found[0]

        yield ask


def test_the_application_knows_the_database_that_was_migrated(postgres_server: Postgres) -> None:
    assert is_database_accepted()
    with as_application(postgres_server):
        assert is_database_accepted()


def test_a_restored_dump_is_no_database_of_the_gateways(copy: str) -> None:
    with inside(copy) as ask:
        assert ask(_ACCEPTED) is False
        ask(_ACCEPT)
        assert ask(_ACCEPTED) is True


def test_neither_is_one_that_was_restored_over_its_original(
    copy: str, postgres_server: Postgres, tmp_path: Path
) -> None:
    with inside(copy) as ask:
        ask(_ACCEPT)
    dump(postgres_server, copy, tmp_path / "own")
    options = ("--clean", f"--dbname={copy}")
    run(postgres_server, "pg_restore", *options, str(tmp_path / "own"))
    with inside(copy) as ask:
        assert ask(_ACCEPTED) is False


def test_neither_is_a_copy_by_the_server_itself(
    copy: str, postgres_server: Postgres, create_database: Callable[[str], str]
) -> None:
    with inside(copy) as ask:
        ask(_ACCEPT)
    twin = create_database("twin")
    with inside(postgres_server.superuser_url) as ask:
        ask("DROP DATABASE twin")
        ask("CREATE DATABASE twin TEMPLATE restored_copy")
    with inside(postgres_server.url("postgres", twin)) as ask:
        assert ask(_ACCEPTED) is False
    with inside(copy) as ask:
        assert ask(_ACCEPTED) is True
