"""`HITL_PROMETHEUS=1 manage.py up` watches the gateway it starts."""

import json
import re
import shutil
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hitl_project import children
from tests.hitl_project.test_up_whole import ROOT, Up, get, manage
from tests.observability import prometheus_files as files
from tests.processes import descendants, runs
from tests.tools import require_tool
from tests.waiting import eventually


class Watched:
    """One `manage.py up` with Prometheus, without the demo."""

    def __init__(self, folder: Path) -> None:
        config = shutil.copytree(ROOT / "config", folder / "config")
        file = config / "prometheus" / "prometheus.yml"
        # Nobody wants to wait for as long as between two scrapes of the shipped configuration.
        file.write_text(
            re.sub(r"scrape_(interval|timeout): \d+s", r"scrape_\1: 1s", file.read_text())
        )
        self.up = Up(
            folder / "data",
            children.free_port(),
            HITL_CONFIG_DIR=str(config),
            HITL_PROMETHEUS="1",
            HITL_METRICS_TOKEN="new-token,old-token",
        )

    @property
    def prometheus_port(self) -> int:
        address = r"^Prometheus: http://127\.0\.0\.1:(\d+)/alerts$"
        found = re.search(address, self.up.said(), re.MULTILINE)
        assert found, self.up.said()
        return int(found[1])

    def asked(self, path: str) -> Any:
        """Return the data of Prometheus's answer."""
        status, body = get(self.prometheus_port, f"/api/v1/{path}")
        assert status == 200, body
        return json.loads(body)["data"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """`up` with Prometheus, ready; killed when the last test ends, if not before."""
    require_tool("prometheus", "on Debian and Ubuntu `apt install prometheus`")
    started = Watched(tmp_path_factory.mktemp("watched"))
    try:
        started.up.wait_until_ready()
        yield started
    finally:
        started.up.process.kill()
        started.up.process.wait()


@pytest.mark.timeout(300)
def test_prometheus_scrapes_the_gateway_by_its_rules(watched: Watched) -> None:
    def scraped() -> bool:
        query = urllib.parse.quote('up{job="hitl-gateway"} == 1')
        return bool(watched.asked(f"query?query={query}")["result"])

    eventually(scraped, "Prometheus has scraped the gateway", 45, every_seconds=0.2)
    (target,) = watched.asked("targets")["activeTargets"]
    assert target["scrapeUrl"] == f"http://127.0.0.1:{watched.up.port}/metrics"
    assert target["lastError"] == ""

    loaded = {
        rule["name"]
        for group in watched.asked("rules?type=alert")["groups"]
        for rule in group["rules"]
    }
    assert loaded == set(files.alerts())
    assert len(loaded) == 9


def test_prometheus_does_not_outlive_a_killed_up(watched: Watched) -> None:
    everything = descendants(watched.up.process.pid)
    assert sum("--storage.tsdb.path" in command for command in everything.values()) == 1
    watched.up.process.kill()
    watched.up.process.wait()
    eventually(lambda: not any(map(runs, everything)), f"all of {everything} ended")


def test_where_prometheus_is_not_installed_up_names_the_package(tmp_path: Path) -> None:
    given = {
        "PATH": str(tmp_path),
        "PORT": str(children.free_port()),
        "HITL_DATA_DIR": str(tmp_path),
    }
    ended = manage("up", HITL_PROMETHEUS="1", **given)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "install the package prometheus" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_value_that_is_neither_0_nor_1_stops_with_a_sentence(tmp_path: Path) -> None:
    ended = manage("up", HITL_DATA_DIR=str(tmp_path), HITL_PROMETHEUS="yes")
    assert ended.returncode == 1
    assert ended.stderr.strip() == "Error: HITL_PROMETHEUS must be 0 or 1, not 'yes'."
