"""Fixtures of what is served over HTTP, in this process and by a real server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker, Settings

from approvals import outbox
from hitl_project.embedded import OWNER, Postgres
from tests.approvals.http.gateway import Api, People, make_people
from tests.emptying import empty_tables
from tests.web_server import WebServer


@pytest.fixture
def no_channels(settings: Settings) -> Iterator[None]:
    """No outside party to tell."""
    settings.HITL_CHANNELS = []
    outbox.channels.cache_clear()
    yield
    outbox.channels.cache_clear()


@pytest.fixture(scope="module")
def known_people(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[People]:
    """The people of a module's tests, which take longer to make than most calls."""
    with django_db_blocker.unblock():
        made = make_people()
    yield made
    with django_db_blocker.unblock():
        empty_tables()


@pytest.fixture
def people(known_people: People, db: None, no_channels: None) -> People:
    """The people of the tests, with their tokens."""
    return known_people


@pytest.fixture
def committed_people(transactional_db: None, no_channels: None) -> People:
    """The same people where other processes see them, with nobody beside them."""
    empty_tables()
    return make_people()


@pytest.fixture
def api(people: People) -> Api:
    """The API in this process."""
    return Api()


@pytest.fixture(scope="module")
def web_server(
    django_db_setup: None, postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WebServer]:
    """A real web server over the test database, for tests that commit."""
    server = _start(postgres_server, tmp_path_factory.mktemp("web"))
    yield server
    server.stop()


@pytest.fixture
def launch_web_server(
    django_db_setup: None, postgres_server: Postgres, tmp_path: Path
) -> Iterator[Callable[..., WebServer]]:
    """Starts web servers with variables of their own; they stop when the test ends."""
    started: list[WebServer] = []

    def launch(workers: int = 1, /, **environment: str) -> WebServer:
        started.append(_start(postgres_server, tmp_path, workers, **environment))
        return started[-1]

    yield launch
    for server in started:
        server.stop()


def _start(postgres: Postgres, folder: Path, workers: int = 1, **environment: str) -> WebServer:
    """A web server over the database that the tests of this process use."""
    url = postgres.url(OWNER, str(connection.settings_dict["NAME"]))
    known = {"DJANGO_SETTINGS_MODULE": "tests.approvals.http.server_settings"}
    log = folder / "web.log"
    return WebServer.start(url, log, workers, **(known | environment))
