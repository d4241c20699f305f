"""Where everything of one machine is, and the environment its processes find."""

import json
import secrets
import shlex
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hitl_project.embedded.folder import take_lock, write_private
from hitl_project.supervisor import StartFailedError

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
LOG_BYTES = 5_000_000


@dataclass(frozen=True)
class Site:
    """Where everything is: the data folder, the ports, and what the caller's shell exported.

    `prometheus_port` is None where nobody asked for Prometheus.
    """

    data_dir: Path
    port: int
    sandbox_port: int
    prometheus_port: int | None
    demo: bool
    given: Mapping[str, str]

    @property
    def sandboxed(self) -> set[str]:
        """The services whose key nobody gave, which the sandbox stands in for."""
        keys = {"linear": "LINEAR_API_KEY", "github": "GITHUB_TOKEN"}
        return {service for service, key in keys.items() if not self.given.get(key, "").strip()}

    def log(self, name: str) -> Path:
        """Return the log file of a process, put aside first when it has grown long."""
        path = self.data_dir / "logs" / f"{name}.log"
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.rename(path.with_suffix(".log.1"))
        return path

    def environment(self, database_url: str, redis_url: str) -> dict[str, str]:
        """Return what every process but the embedded servers finds in its environment."""
        made = {
            "PORT": str(self.port),
            "HITL_DATA_DIR": str(self.data_dir),
            # Somebody sits in front of it.
            "HITL_LOG_FORMAT": self.given.get("HITL_LOG_FORMAT") or "text",
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "SECRET_KEY": self.given.get("SECRET_KEY") or self._secret("SECRET_KEY"),
            **self._stand_ins(),
        }
        if config := self.given.get("HITL_CONFIG_DIR"):
            made["HITL_CONFIG_DIR"] = str(Path(config).absolute())
        if hosts := self.given.get("ALLOWED_HOSTS"):
            # The sandbox's webhooks and the check for readiness come by this name.
            made["ALLOWED_HOSTS"] = f"{hosts},{HOST}"
        inherited = {k: v for k, v in self.given.items() if k != "DATABASE_OWNER_URL"}
        self._write_environment_file(made)
        return inherited | made

    def _stand_ins(self) -> dict[str, str]:
        sandbox = f"http://{HOST}:{self.sandbox_port}"
        made: dict[str, str] = {}
        if "linear" in self.sandboxed:
            name = "LINEAR_WEBHOOK_SECRET"
            made["LINEAR_API_URL"] = f"{sandbox}/linear/graphql"
            made["LINEAR_API_KEY"] = "sandbox-gateway-key"
            made[name] = self.given.get(name) or self._secret(name)
        if "github" in self.sandboxed:
            repositories = self.given.get("HITL_GITHUB_REPOSITORIES")
            made["GITHUB_API_URL"] = f"{sandbox}/github/api"
            made["GITHUB_TOKEN"] = "sandbox-gateway-token"  # noqa: S105
            made["HITL_GITHUB_REPOSITORIES"] = repositories or "acme/shop"
        if self.sandboxed:
            made["HITL_OPERATIONS_URL"] = (
                self.given.get("HITL_OPERATIONS_URL") or f"{sandbox}/hooks"
            )
            networks = self.given.get("HITL_PRIVATE_NETWORKS", "").strip()
            made["HITL_PRIVATE_NETWORKS"] = ",".join(filter(None, [networks, f"{HOST}/32"]))
        return made

    def _secret(self, name: str) -> str:
        """Return a secret that was made at the first start and is kept from then on."""
        path = self.data_dir / "secrets.json"
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        if name not in kept:
            kept[name] = secrets.token_urlsafe(48)
            write_private(path, json.dumps(kept))
        return kept[name]

    def _write_environment_file(self, made: Mapping[str, str]) -> None:
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(made.items())]
        write_private(self.data_dir / "environment", "".join(lines))


def read_site(given: Mapping[str, str]) -> Site:
    """Read what the environment asks for, and make the data folder.

    Raises StartFailedError with a sentence for a value that does not fit or a port in use.
    """
    port = given.get("PORT") or "8000"
    demo = _flag("HITL_DEMO", given.get("HITL_DEMO") or "1")
    prometheus = _flag("HITL_PROMETHEUS", given.get("HITL_PROMETHEUS") or "0")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise StartFailedError(f"PORT must be a number from 1 to 65535, not {port!r}.")
    if not is_free(int(port)):
        raise StartFailedError(
            f"Port {port} is in use by another program: stop that one, or set PORT to a free one,"
            f" as in `PORT={int(port) % 65000 + 10} make run`."
        )
    data_dir = Path(given.get("HITL_DATA_DIR") or ROOT / "var").absolute()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
    take_lock(data_dir / "up.lock", 0)
    sandbox_port = _kept_port(data_dir / "sandbox-port", {int(port)}, "the sandbox")
    prometheus_port = None
    if prometheus:
        taken = {int(port), sandbox_port}
        prometheus_port = _kept_port(data_dir / "prometheus-port", taken, "Prometheus")
    return Site(data_dir, int(port), sandbox_port, prometheus_port, demo, given)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _flag(name: str, value: str) -> bool:
    if value not in {"0", "1"}:
        raise StartFailedError(f"{name} must be 0 or 1, not {value!r}.")
    return value == "1"


def _kept_port(kept: Path, taken: set[int], whose: str) -> int:
    """Return the same port as before if it is free, because issues and bookmarks keep an address.

    Else the first free one above those taken; StartFailedError where none is near.
    """
    last = max(taken)
    candidates = [int(kept.read_text())] if kept.exists() else []
    candidates += range(last + 1, min(last + 100, 65536))
    for candidate in candidates:
        if candidate not in taken and is_free(candidate):
            kept.write_text(str(candidate))
            return candidate
    raise StartFailedError(f"No port near {last} is free for {whose}: set PORT to another one.")
