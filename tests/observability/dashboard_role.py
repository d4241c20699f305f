"""The role that `create_dashboard_role` makes, as a dashboard connects with it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from urllib.parse import quote

import psycopg
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from psycopg import sql

from hitl_project.embedded import APP, SUPERUSER, Postgres
from tests import warm
from tests.application_role import connected_as

SITE = "https://gate.example.org"


def create(
    postgres: Postgres, *arguments: str, owner_url: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own on the test database, by default as superuser.

    The process takes its time to start; `create_here` does without.
    """
    name = str(connection.settings_dict["NAME"])
    given = {
        "DATABASE_URL": postgres.url(APP, name),
        "DATABASE_OWNER_URL": owner_url or postgres.url(SUPERUSER, name),
        "HITL_PUBLIC_URL": SITE,
    }
    command = [str(warm.ROOT / "manage.py"), "create_dashboard_role", *arguments]
    return warm.run(command, {**os.environ, **given}, "", 60)


def create_here(
    postgres: Postgres, *arguments: str, owner_url: str = "", public_url: str = SITE
) -> "subprocess.CompletedProcess[str]":
    """Run the command in this process, and tell what a process of its own would have told."""
    name = str(connection.settings_dict["NAME"])
    as_owner = owner_url or postgres.url(SUPERUSER, name)
    given = {
        "DATABASE_URL": postgres.url(APP, name),
        "DATABASE_OWNER_URL": as_owner,
        "PUBLIC_URL": public_url,
    }
    printed, said, status = StringIO(), StringIO(), 0
    with connected_as(as_owner), override_settings(**given):
        try:
            call_command("create_dashboard_role", *arguments, stdout=printed, stderr=said)
        except CommandError as error:
            said.write(f"CommandError: {error}")
            status = error.returncode
    return subprocess.CompletedProcess(arguments, status, printed.getvalue(), said.getvalue())


def url(postgres: Postgres, name: str, password: str) -> str:
    """The address of the test database for this role."""
    host = quote(str(connection.settings_dict["HOST"]), safe="")
    database = connection.settings_dict["NAME"]
    return f"postgresql://{name}:{quote(password, safe='')}@/{database}?host={host}"


def drop(postgres: Postgres, name: str) -> None:
    """Remove the role and what it was granted, if it is there, and what the command noted."""
    database = str(connection.settings_dict["NAME"])
    role = sql.Identifier(name)
    with psycopg.connect(postgres.url(SUPERUSER, database), autocommit=True) as administration:
        found = administration.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
        if found.fetchone() is not None:
            administration.execute(sql.SQL("DROP OWNED BY {}").format(role))
            administration.execute(sql.SQL("DROP ROLE {}").format(role))
        administration.execute("DELETE FROM approvals_site")


@contextmanager
def dashboard_role(postgres: Postgres, name: str = "grafana_reader") -> Iterator[str]:
    """Make the role, yield its address, and remove it."""
    try:
        made = create(postgres, name)
        assert made.returncode == 0, made.stderr
        yield url(postgres, name, made.stdout.strip())
    finally:
        drop(postgres, name)
