"""One gateway for the tests of logs and traces."""

from collections.abc import Iterator

import pytest

from hitl_project.embedded import Postgres
from tests.hitl_project.collector import collecting
from tests.hitl_project.followed import Followed, start


@pytest.fixture(scope="session")
def followed(
    postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Followed]:
    """A whole gateway that logs JSON and sends its traces to a stand-in collector."""
    with collecting() as collector:
        gateway = start(tmp_path_factory.mktemp("followed"), postgres_server, collector)
        yield gateway
        gateway.stack.stop()
