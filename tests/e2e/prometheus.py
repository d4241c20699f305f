"""A real Prometheus and a real Alertmanager, and a past that is written into the former."""

import json
import math
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import httpx
import yaml

from hitl_project import children
from tests.e2e.metrics import series
from tests.e2e.stack import soon
from tests.observability import prometheus_files as files
from tests.tools import require_tool
from tests.waiting import answers

_INSTALL = "on Debian and Ubuntu `apt-get install prometheus`"
JOB = "hitl-gateway"
STEP_SECONDS = 15

Labels = frozenset[tuple[str, str]]


def labels(**pairs: str) -> Labels:
    """The labels of one series."""
    return frozenset(pairs.items())


class Past:
    """Scrapes of the running gateway at moments of our choice, as OpenMetrics."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def scrape(self, urls: Iterable[str], moments: Iterable[float]) -> None:
        """Read every instance's `/metrics` once and note what it says at each of the moments."""
        pages = {url.removeprefix("http://"): series(url) for url in urls}
        said = {
            _of_target(name, instance): value
            for instance, page in pages.items()
            for name, value in {**page, "up": 1.0}.items()
        }
        for moment in moments:
            self._lines += [f"{name} {value} {moment:.3f}" for name, value in said.items()]

    def write(self, folder: Path) -> None:
        """Give a Prometheus that starts in the folder a memory of everything that was noted."""
        remember(folder, self._lines)


def remember(folder: Path, lines: Iterable[str]) -> None:
    """Make blocks of lines of OpenMetrics, for a Prometheus that starts in the folder."""
    promtool = require_tool("promtool", _INSTALL)
    page = folder / "past.om"
    page.write_text("\n".join([*lines, "# EOF", ""]))
    blocks = ("tsdb", "create-blocks-from", "openmetrics", "--quiet", page, folder / "data")
    done = subprocess.run(  # noqa: S603 - an installed program on our own files
        [promtool, *blocks], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _labels(series: Mapping[str, Any]) -> Labels:
    return frozenset((key, text) for key, text in series["metric"].items() if key != "__name__")


def _of_target(name: str, instance: str) -> str:
    """A series with the labels that Prometheus would add."""
    target = f'job="{JOB}",instance="{instance}"'
    return f"{name[:-1]},{target}}}" if name.endswith("}") else f"{name}{{{target}}}"


@dataclass
class Prometheus:
    """One server on a port of its own; it ends with `stop`, which tests must call."""

    url: str
    process: "subprocess.Popen[bytes]" = field(repr=False)
    http: httpx.Client = field(repr=False)

    @classmethod
    def start(cls, folder: Path, file: Path) -> Self:
        """Start over the data in `folder/data`, configured by the file, and wait for it."""
        program = require_tool("prometheus", _INSTALL)
        port = children.free_port()
        process = children.spawn(
            [
                program,
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=30d",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            log=folder / "prometheus.log",
        )
        url = f"http://127.0.0.1:{port}"
        server = cls(url, process, httpx.Client(base_url=url, trust_env=False, timeout=30.0))
        soon(server._ready, f"Prometheus is ready; see {folder}")
        return server

    def _ready(self) -> bool:
        return _ready(self.process, self.url)

    def query(self, expression: str, moment: float | None = None) -> dict[Labels, float]:
        """What an expression gives at a moment, by labels; NaN is left out."""
        parameters: dict[str, str | float] = {"query": expression}
        if moment is not None:
            parameters["time"] = moment
        data = self._ask("/api/v1/query", parameters)
        if data["resultType"] == "scalar":
            return {frozenset(): float(data["result"][1])}
        found = {_labels(series): float(series["value"][1]) for series in data["result"]}
        return {labels: value for labels, value in found.items() if not math.isnan(value)}

    def last(
        self, expression: str, start: float, end: float, step_seconds: float
    ) -> dict[Labels, float]:
        """Where the series of an expression over a time end, as Grafana would draw them."""
        parameters: dict[str, str | float] = {
            "query": expression,
            "start": start,
            "end": end,
            "step": step_seconds,
        }
        series = self._ask("/api/v1/query_range", parameters)["result"]
        return {
            _labels(line): float(line["values"][-1][1])
            for line in series
            if line["values"][-1][0] == end
        }

    def alerts(self, name: str) -> list[dict[str, Any]]:
        """The pending and firing alerts of one rule."""
        found = self._ask("/api/v1/alerts", {})["alerts"]
        return [alert for alert in found if alert["labels"]["alertname"] == name]

    def _ask(self, path: str, parameters: Mapping[str, str | float]) -> Any:
        answer = self.http.get(path, params=dict(parameters)).json()
        assert answer["status"] == "success", (answer, parameters)
        return answer["data"]

    def stop(self) -> None:
        """End the server."""
        self.http.close()
        _end(self.process)


@dataclass
class Alertmanager:
    """One server, and what it has told its receiver; it ends with `stop`."""

    url: str
    process: "subprocess.Popen[bytes]" = field(repr=False)
    http: httpx.Client = field(repr=False)
    receiver: ThreadingHTTPServer = field(repr=False)
    told: list[dict[str, Any]]

    @classmethod
    def start(cls, folder: Path, config: Callable[[str], Mapping[str, Any]]) -> Self:
        """Start with the configuration for the address of a receiver, and wait for it."""
        program = require_tool(
            "prometheus-alertmanager",
            "on Debian and Ubuntu `apt-get install prometheus-alertmanager`",
        )
        told: list[dict[str, Any]] = []
        receiver = _receive(told)
        address = f"http://127.0.0.1:{receiver.server_address[1]}/"
        file = folder / "alertmanager.yml"
        file.write_text(yaml.safe_dump(dict(config(address))))
        port = children.free_port()
        process = children.spawn(
            [
                program,
                f"--config.file={file}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            log=folder / "alertmanager.log",
        )
        url = f"http://127.0.0.1:{port}"
        client = httpx.Client(base_url=url, trust_env=False, timeout=30.0)
        server = cls(url, process, client, receiver, told)
        soon(server._ready, f"Alertmanager is ready; see {folder}")
        return server

    def _ready(self) -> bool:
        return _ready(self.process, self.url)

    def states(self, name: str) -> list[str]:
        """What the receiver was told of one rule's alerts, in that order."""
        found = [alert for message in self.told for alert in message["alerts"]]
        return [alert["status"] for alert in found if alert["labels"]["alertname"] == name]

    def active(self, name: str) -> list[dict[str, Any]]:
        """The alerts of one rule that it holds."""
        alerts: list[dict[str, Any]] = self.http.get("/api/v2/alerts").raise_for_status().json()
        return [alert for alert in alerts if alert["labels"]["alertname"] == name]

    def post(self, *labels: Mapping[str, str]) -> None:
        """Let alerts with these labels fire."""
        alerts = [{"labels": dict(each)} for each in labels]
        self.http.post("/api/v2/alerts", json=alerts).raise_for_status()

    def free(self) -> set[str]:
        """The names of the alerts that fire and that no other one holds back."""
        alerts: list[dict[str, Any]] = self.http.get("/api/v2/alerts").raise_for_status().json()
        return {
            alert["labels"]["alertname"]
            for alert in alerts
            if alert["status"]["state"] == "active" and not alert["status"]["inhibitedBy"]
        }

    def stop(self) -> None:
        """End the server and its receiver."""
        self.http.close()
        _end(self.process)
        self.receiver.shutdown()
        self.receiver.server_close()


def hasty(folder: Path, gateway: Sequence[str], alertmanager: str) -> Path:
    """The shipped configuration in a new folder, its times shortened; the main file.

    Only targets, intervals and the times an alert is pending differ.
    """
    shutil.copytree(files.PROMETHEUS.parent, folder)
    for name, urls in (("gateway", gateway), ("alertmanager", [alertmanager])):
        addresses = [url.removeprefix("http://") for url in urls]
        (folder / "targets" / f"{name}.yml").write_text(yaml.safe_dump([{"targets": addresses}]))
    file = folder / "prometheus.yml"
    config = yaml.safe_load(file.read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    file.write_text(yaml.safe_dump(config))
    alerts = folder / "alerts" / files.ALERTS.name
    rules = yaml.safe_load(alerts.read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["for"] = "4s"
    alerts.write_text(yaml.safe_dump(rules))
    return file


def hasty_routes(receiver: str) -> Mapping[str, Any]:
    """The shipped configuration of Alertmanager, telling one receiver, and soon."""
    config: dict[str, Any] = files.load(files.ALERTMANAGER)
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "0s", "group_interval": "1s"}
    for receivers in config["receivers"]:
        for webhook in receivers["webhook_configs"]:
            webhook["url"] = f"{receiver}{receivers['name']}"
    return config


def _receive(told: list[dict[str, Any]]) -> ThreadingHTTPServer:
    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def _ready(process: "subprocess.Popen[bytes]", url: str) -> bool:
    assert process.poll() is None, "The server ended; its log says why."
    return answers(f"{url}/-/ready")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(20)
