"""The Prometheus that `manage.py up` runs beside the gateway, where HITL_PROMETHEUS=1 asks."""

import http.client
import shutil
import signal
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from hitl_project import children
from hitl_project.embedded.folder import write_private
from hitl_project.local_site import HOST, ROOT, Site
from hitl_project.supervisor import Spec, StartFailedError

JOB = "hitl-gateway"
START_SECONDS = 30.0
RETENTION = "15d"


def find_program() -> str:
    """Return the path of the installed Prometheus; StartFailedError where there is none."""
    if found := shutil.which("prometheus"):
        return found
    raise StartFailedError(
        "HITL_PROMETHEUS=1 needs the program prometheus, and it is not on the PATH: install the"
        " package prometheus (on Debian and Ubuntu `apt install prometheus`), or leave"
        " HITL_PROMETHEUS out."
    )


def prometheus(site: Site, port: int, environment: Mapping[str, str]) -> Spec:
    """Return Prometheus on this port as a process to keep running.

    It scrapes the gateway of the site, evaluates the rules that stand in the folder `prometheus`
    of the configuration, and keeps what it knows in the data folder.
    """
    program, log = find_program(), site.log("prometheus")
    folder = site.data_dir / "prometheus"
    folder.mkdir(mode=0o700, exist_ok=True)
    # Two are valid while rotating; one of them is enough.
    token = environment.get("HITL_METRICS_TOKEN", "").partition(",")[0].strip()
    token_file = _token_file(folder, token)
    source = Path(environment.get("HITL_CONFIG_DIR") or ROOT / "config") / "prometheus"
    settings = _configuration(source / "prometheus.yml", f"{HOST}:{site.port}", token_file)
    write_private(folder / "prometheus.yml", yaml.safe_dump(settings, sort_keys=False))
    arguments = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={HOST}:{port}",
    ]
    start = partial(_start, arguments, folder, log, port)
    return Spec("prometheus", start, log, "prometheus", stop_seconds=20)


def _start(arguments: list[str], folder: Path, log: Path, port: int) -> "subprocess.Popen[bytes]":
    process = children.spawn(arguments, log=log, cwd=folder)
    if not children.wait_until(partial(_is_ready, port), process, START_SECONDS):
        children.end(process, signal.SIGTERM, signal.SIGKILL, 5)
        raise StartFailedError(f"Prometheus did not start:\n{children.last_lines(log)}")
    return process


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _token_file(folder: Path, token: str) -> Path | None:
    """Return the file that holds the token for `/metrics`, None where none is asked for."""
    path = folder / "metrics-token"
    if not token:
        path.unlink(missing_ok=True)
        return None
    write_private(path, token)
    return path


def _configuration(source: Path, target: str, token_file: Path | None) -> dict[str, Any]:
    """Return the committed configuration with the one target and no Alertmanager.

    Raises StartFailedError where the file is missing or has no job for the gateway.
    """
    if not source.exists():
        raise StartFailedError(
            f"{source} is missing, and HITL_PROMETHEUS=1 needs it: put it there, or leave"
            " HITL_PROMETHEUS out."
        )
    settings: dict[str, Any] = yaml.safe_load(source.read_text())
    jobs = [job for job in settings.get("scrape_configs", []) if job["job_name"] == JOB]
    if not jobs:
        raise StartFailedError(f"{source} has no scrape_configs entry with job_name {JOB}.")
    job = {key: value for key, value in jobs[0].items() if not key.endswith("_sd_configs")}
    job["static_configs"] = [{"targets": [target]}]
    job.pop("authorization", None)
    if token_file is not None:
        job["authorization"] = {"type": "Bearer", "credentials_file": str(token_file)}
    rules = [str(source.parent / name) for name in settings.get("rule_files", [])]
    # Alerts show on its pages; a mail for what one tries out is nobody's wish.
    settings.pop("alerting", None)
    return settings | {"rule_files": rules, "scrape_configs": [job]}
