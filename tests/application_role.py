"""The test database as the application's own role sees it in production."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict

from agents import checkpoints
from hitl_project.embedded import APP, Postgres
from hitl_project.grants import grant


@contextmanager
def as_application(postgres: Postgres) -> Iterator[None]:
    """Let Django and the checkpointer connect as the role that `migrate` grants its rights."""
    name = str(connection.settings_dict["NAME"])
    urls = {"DATABASE_OWNER_URL": settings.DATABASE_URL, "DATABASE_URL": postgres.url(APP, name)}
    with override_settings(**urls):
        grant("default")
    with connected_as(postgres.url(APP, name)):
        yield


@contextmanager
def connected_as(url: str) -> Iterator[None]:
    """Let Django and the checkpointer connect as the role of an address of the test database."""
    before = {key: connection.settings_dict[key] for key in ("USER", "PASSWORD")}
    role = conninfo_to_dict(url)
    _connect(USER=role["user"], PASSWORD=role.get("password", ""))
    try:
        yield
    finally:
        _connect(**before)


def _connect(**facts: object) -> None:
    connection.close()
    checkpoints.disconnect()
    connection.settings_dict.update(facts)
