"""One gateway for the tests of logs and traces."""

from collections.abc import Iterator

import pytest

from hitl_project.embedded import Postgres
from tests.hitl_project.collector import collecting
from tests.hitl_project.followed import Followed, start
from tests.openid_provider.process import OpenIdProvider


@pytest.fixture(scope="session")
def followed(
    postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Followed]:
    """A whole gateway that logs JSON, sends its traces to a collector and knows a provider."""
    provider = OpenIdProvider.start(tmp_path_factory.mktemp("provider") / "log")
    try:
        with collecting() as collector:
            folder = tmp_path_factory.mktemp("followed")
            gateway = start(folder, postgres_server, collector, provider)
            yield gateway
            gateway.stack.stop()
    finally:
        provider.stop()
