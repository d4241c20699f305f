"""Fixtures for every test, over a PostgreSQL and a Redis that run as long as the session."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import django
import psycopg
import pytest
from psycopg import sql

from hitl_project.embedded import SUPERUSER, Postgres, RedisServer
from tests import servers
from tests.tools import require_contracts

_GATEWAYS = {"whole_gateway", "followed", "site"}

# Before any other test module, which may import models, is itself imported.
django.setup()


def pytest_configure(config: pytest.Config) -> None:
    """Let each process that tests are spread over start its own servers before Django looks."""
    if config.getoption("numprocesses", None):
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together, where tests are spread over processes, what shares a costly start.

    That is a whole gateway, a browser with a web server, or else the file.
    """
    for item in items:
        gateways = _GATEWAYS.intersection(getattr(item, "fixturenames", ()))
        group = min(gateways, default=str(item.path))
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Leave the database its name: every process of the tests has a PostgreSQL of its own."""


@pytest.fixture(scope="session")
def postgres_server() -> Postgres:
    """The session's PostgreSQL, for tests that need addresses rather than Django's connection."""
    return servers.postgres


@pytest.fixture(scope="session")
def redis_server() -> RedisServer:
    """The session's Redis; its databases 1 to 15 are free for tests that need an empty one."""
    return servers.redis


@pytest.fixture(scope="session")
def contracts_dir() -> Path:
    """The folder of the vendors' schemas and examples."""
    return require_contracts()


@pytest.fixture
def create_database(postgres_server: Postgres) -> Iterator[Callable[[str], str]]:
    """A function that creates an empty database of the given name and returns the name.

    Its addresses are `postgres_server.url(role, name)`. The database goes when the test ends.
    """
    created: list[str] = []

    def create(name: str) -> str:
        postgres_server.create_database(name)
        created.append(name)
        return name

    yield create
    administration = postgres_server.url(SUPERUSER, "postgres")
    with psycopg.connect(administration, autocommit=True) as connection:
        for name in created:
            statement = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(statement)
