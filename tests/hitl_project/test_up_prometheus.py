"""`HITL_PROMETHEUS=1 manage.py up` watches the gateway it starts."""

import json
import re
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hitl_project import children
from tests.hitl_project.test_up_whole import ROOT, environment, get, manage
from tests.processes import descendants, runs
from tests.tools import require_tool
from tests.waiting import eventually

ALERTS = ROOT / "config" / "prometheus" / "alerts" / "hitl-metrics.yml"


class Watched:
    """One `manage.py up` with Prometheus, without the demo, and what it printed."""

    def __init__(self, folder: Path) -> None:
        self.port = children.free_port()
        self._said = folder / "said"
        given = environment(
            HITL_DATA_DIR=str(folder / "data"),
            PORT=str(self.port),
            HITL_DEMO="0",
            HITL_PROMETHEUS="1",
            HITL_METRICS_TOKEN="new-token,old-token",
        )
        with self._said.open("w") as said:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, str(ROOT / "manage.py"), "up"],
                env=given,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    @property
    def prometheus_port(self) -> int:
        found = re.search(
            r"^Prometheus: http://127\.0\.0\.1:(\d+)/alerts$", self.said, re.MULTILINE
        )
        assert found, self.said
        return int(found[1])

    def asked(self, path: str) -> Any:
        """Return the data of Prometheus's answer."""
        status, body = get(self.prometheus_port, f"/api/v1/{path}")
        assert status == 200, body
        return json.loads(body)["data"]


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """`up` with Prometheus, ready; killed when the test ends."""
    require_tool("prometheus", "on Debian and Ubuntu `apt install prometheus`")
    started = Watched(tmp_path)

    def decided() -> bool:
        return "Ctrl-C stops" in started.said or started.process.poll() is not None

    try:
        eventually(decided, "`up` is ready", seconds=120)
        assert started.process.poll() is None, started.said
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait()


@pytest.mark.timeout(300)
def test_prometheus_scrapes_the_gateway_by_its_rules_and_ends_with_it(watched: Watched) -> None:
    def scraped() -> bool:
        query = urllib.parse.quote('up{job="hitl-gateway"} == 1')
        return bool(watched.asked(f"query?query={query}")["result"])

    eventually(scraped, "Prometheus has scraped the gateway", 45, every_seconds=0.5)
    (target,) = watched.asked("targets")["activeTargets"]
    assert target["scrapeUrl"] == f"http://127.0.0.1:{watched.port}/metrics"
    assert target["lastError"] == ""

    loaded = {
        rule["name"]
        for group in watched.asked("rules?type=alert")["groups"]
        for rule in group["rules"]
    }
    written = yaml.safe_load(ALERTS.read_text())["groups"]
    assert loaded == {rule["alert"] for group in written for rule in group["rules"]}
    assert len(loaded) == 9

    left = {
        pid: command
        for pid, command in descendants(watched.process.pid).items()
        if "--storage.tsdb.path" in command
    }
    assert len(left) == 1
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(60) == 0
    assert not any(map(runs, left))


@pytest.mark.timeout(300)
def test_prometheus_does_not_outlive_a_killed_up(watched: Watched) -> None:
    everything = descendants(watched.process.pid)
    assert any("--storage.tsdb.path" in command for command in everything.values())
    watched.process.kill()
    watched.process.wait()
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
