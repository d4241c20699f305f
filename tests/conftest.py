"""Fixtures for every test, over a PostgreSQL and a Redis that run as long as the session."""

import gc
import os
import ssl
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import django
import psycopg
import pytest
from django.test import TransactionTestCase
from django_prometheus.middleware import Metrics  # type: ignore[import-untyped]
from prometheus_client.metrics import MetricWrapperBase
from psycopg import sql
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling

from hitl_project.embedded import SUPERUSER, Postgres, RedisServer
from tests import servers
from tests.emptying import empty_tables
from tests.tools import require_contracts

# What their tests share: the whole gateway of tests/e2e, the browser and its web server, and the
# gateway whose logs and traces are followed.
_GATEWAY = (
    *("crashes", "hitl_linear_webhook", "outages", "outcomes", "races", "trust", "user_graphs"),
    *("ways_to_decide", "what_crashed"),
)
_BROWSER = (
    *("accessibility", "admin_browser", "browser", "browser_runs", "insights_browser"),
    *("live_browser", "queue_browser", "reach_browser"),
)
_SHARED = {
    **{f"tests/e2e/test_{name}.py": "gateway" for name in _GATEWAY},
    **{f"tests/e2e/test_{name}.py": "browser" for name in _BROWSER},
    **{
        f"tests/hitl_project/test_{name}.py": "followed"
        for name in ("logs", "secrets_kept", "tracing")
    },
}
# What takes longest, the longest first: begun last, it would go on while other processes idle.
_LONGEST = (
    *("browser", "gateway", "tests/e2e/test_observability.py", "followed"),
    *(f"tests/chaos/test_{name}.py" for name in ("crash_points", "short", "restored")),
    *(f"tests/hitl_project/test_{name}.py" for name in ("image", "up_whole", "embedded")),
    "tests/approvals/test_access_table.py",
)

# Before any other test module, which may import models, is itself imported.
django.setup()


def pytest_configure(config: pytest.Config) -> None:
    """Let each process that tests are spread over start its own servers before Django looks."""
    if config.getoption("numprocesses", None):
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def pytest_collection_finish() -> None:
    """Let what was loaded by now not be looked through for garbage again and again."""
    gc.collect()
    gc.freeze()


def _scope(nodeid: str) -> str:
    """The file of a test, or what several files share."""
    file = nodeid.partition("::")[0]
    return _SHARED.get(file, file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; the rest stays in its order."""
    place = {scope: number for number, scope in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(_scope(item.nodeid), len(place)))


class Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist says nothing of its types
    """Keeps a file in one process, and files that share a costly start in the same one."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling:
    """Let tests be spread over processes as their files say."""
    return Together(config, log)


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Leave the database its name: every process of the tests has a PostgreSQL of its own."""


@pytest.fixture(scope="session", autouse=True)
def _empty_quickly() -> Iterator[None]:
    """Let tests that commit clear up after themselves in little time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty_tables())
        yield


@pytest.fixture(scope="session", autouse=True)
def _find_static_files_once() -> Iterator[None]:
    """Let not every test client, which starts the middleware anew, look at every file again."""
    find = WhiteNoiseMiddleware.add_files_from_finders
    found: dict[str, Any] = {}

    def find_once(middleware: WhiteNoiseMiddleware) -> None:
        if not found:
            find(middleware)
            found.update(middleware.files)
        middleware.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", find_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _read_certificates_once() -> Iterator[None]:
    """Let not every HTTP client read all certificates anew, which takes longer than most calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="module", autouse=True)
def _forget_what_was_asked_for() -> None:
    """Let no page of metrics tell of all that other modules asked for, and take long."""
    for metric in vars(Metrics.get_instance()).values():
        if isinstance(metric, MetricWrapperBase):
            metric.clear()


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
