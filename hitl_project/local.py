"""Everything on one machine: which processes `manage.py up` runs, and in which order."""

import argparse
import http.client
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial

from approvals.core.queues import Queue
from hitl_project import children
from hitl_project.embedded import EmbeddedServerError, Postgres, RedisServer
from hitl_project.local_prometheus import find_program, prometheus
from hitl_project.local_site import HOST, ROOT, Site, is_free, read_site
from hitl_project.supervisor import Spec, StartFailedError, Supervisor, run_until_stopped

READY_SECONDS = 90.0
ASK_SECONDS = 0.5
# Queue -> processes, for a machine of two cores: what runs do is mostly waiting for others.
WORKERS = {Queue.RUNS: 4, Queue.CHANNELS: 2, Queue.SWEEPS: 1}


def run(site: Site, supervisor: Supervisor, say: Callable[[str], None]) -> None:
    """Start everything in order, say when it is ready, and keep it running."""
    if site.prometheus_port is not None:
        # Missing, it is missed before anything has started.
        find_program()
    say(f"Starting PostgreSQL and Redis in {site.data_dir}")
    database_url, owner_url = _start_postgres(site, supervisor)
    environment = site.environment(database_url, _start_redis(site, supervisor))
    if site.sandboxed:
        supervisor.start(_sandbox(site, environment))
    say("Migrating the database")
    owner = environment | {"DATABASE_OWNER_URL": owner_url}
    _Once(site, owner, "migrate", "--no-input").printed(supervisor)
    say("Starting the workers, beat and the web server")
    for queue, processes in WORKERS.items():
        arguments = ("worker", "--queues", queue, "--concurrency", str(processes))
        supervisor.start(_command(site, environment, f"worker-{queue}", *arguments))
    supervisor.start(_command(site, environment, "beat", "beat"))
    web = ("web", "--host", HOST, "--port", str(site.port))
    supervisor.start(_command(site, environment, "web", *web))
    if site.prometheus_port is not None:
        supervisor.start(prometheus(site, site.prometheus_port, environment))
    # Beside them, because it needs none of them, and each takes seconds to import its libraries.
    demo = _Once(site, environment, "load_demo") if site.demo else None
    supervisor.run(until=_ReadyCheck(site).passed)
    shown = demo.printed(supervisor) if demo is not None else ""
    say(f"Ready: http://{HOST}:{site.port}\n{shown}".rstrip())
    if site.prometheus_port is not None:
        say(f"Prometheus: http://{HOST}:{site.prometheus_port}/alerts")
    say(
        f"Logs are in {site.data_dir}/logs. For commands in another terminal:"
        f" . {shlex.quote(str(site.data_dir / 'environment'))}\nCtrl-C stops everything."
    )
    supervisor.run(until=lambda: False)


def _start_postgres(site: Site, supervisor: Supervisor) -> tuple[str, str]:
    """Return where the application and the owner of its tables connect."""
    if database_url := site.given.get("DATABASE_URL"):
        return database_url, site.given.get("DATABASE_OWNER_URL") or database_url
    log = site.log("postgres")
    server = Postgres(site.data_dir, log=log)
    start = partial(_start_server, server.start)
    supervisor.start(
        Spec(
            *("postgres", start, log, "postgres", signal.SIGINT),
            stop_seconds=20,
            stopped=server.stop,
        )
    )
    return server.app_url, server.owner_url


def _start_redis(site: Site, supervisor: Supervisor) -> str:
    if redis_url := site.given.get("REDIS_URL"):
        return redis_url
    log = site.log("redis")
    server = RedisServer(site.data_dir, log=log)
    supervisor.start(Spec("redis", partial(_start_server, server.start), log, "redis"))
    return server.url


def _start_server(start: Callable[[], "subprocess.Popen[bytes]"]) -> "subprocess.Popen[bytes]":
    try:
        return start()
    except EmbeddedServerError as error:
        raise StartFailedError(str(error)) from error


def _sandbox(site: Site, environment: Mapping[str, str]) -> Spec:
    url = f"http://{HOST}:{site.sandbox_port}"
    arguments = [*(sys.executable, "-m", "sandbox", "--port", str(site.sandbox_port))]
    arguments += ["--data", str(site.data_dir / "sandbox"), "--public-url", url]
    if "linear" in site.sandboxed:
        arguments += ["--webhook-url", f"http://{HOST}:{site.port}/resume"]
        arguments += ["--webhook-secret-env", "LINEAR_WEBHOOK_SECRET"]
    if not site.demo:
        arguments.append("--empty")
    log = site.log("sandbox")

    def start() -> "subprocess.Popen[bytes]":
        process = children.spawn(arguments, log=log, cwd=ROOT, env=environment)
        if not children.wait_until(lambda: not is_free(site.sandbox_port), process, 30):
            children.end(process, signal.SIGTERM, signal.SIGKILL, 5)
            raise StartFailedError(f"The sandbox did not start:\n{children.last_lines(log)}")
        return process

    return Spec("sandbox", start, log, "sandbox")


def _command(site: Site, environment: Mapping[str, str], name: str, *arguments: str) -> Spec:
    """Return a management command as a process to keep running."""
    log = site.log(name)
    # Django's checks have passed in `migrate`; five more times would double the start.
    program = [sys.executable, str(ROOT / "manage.py"), *arguments, "--skip-checks"]
    start = partial(children.spawn, program, log=log, cwd=ROOT, env=environment)
    return Spec(name, start, log, arguments[0])


class _Once:
    """A management command that runs to its end beside everything else."""

    def __init__(self, site: Site, environment: Mapping[str, str], *arguments: str) -> None:
        self._command = arguments[0]
        self._log = site.log(self._command)
        self._output = site.data_dir / "logs" / f"{self._command}.out"
        self._output.unlink(missing_ok=True)
        self._process = children.spawn(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            log=self._log,
            output=self._output,
            cwd=ROOT,
            env=environment,
        )

    def printed(self, supervisor: Supervisor) -> str:
        """Wait for its end and return what it printed; StartFailedError when it failed."""
        supervisor.run(until=lambda: self._process.poll() is not None)
        if self._process.returncode != 0:
            raise StartFailedError(
                f"`manage.py {self._command}` failed:\n{children.last_lines(self._log, 20)}"
            )
        return self._output.read_text()


class _ReadyCheck:
    """Asks the web server whether everything works, until it says so or the time is over."""

    def __init__(self, site: Site) -> None:
        self._port = site.port
        self._deadline = time.monotonic() + READY_SECONDS
        self._ask_at = 0.0
        self._answer = "nothing answered"

    def passed(self) -> bool:
        """Ask if it is time to; StartFailedError with the last answer after the bound."""
        if time.monotonic() < self._ask_at:
            return False
        self._ask_at = time.monotonic() + ASK_SECONDS
        connection = http.client.HTTPConnection(HOST, self._port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            response = connection.getresponse()
            if response.status == 200:
                return True
            self._answer = f"{response.status} {response.read(1000).decode(errors='replace')}"
        except (OSError, http.client.HTTPException) as error:
            self._answer = str(error)
        finally:
            connection.close()
        if time.monotonic() > self._deadline:
            raise StartFailedError(
                f"Not ready after {READY_SECONDS:.0f} s; /readyz last said: {self._answer}"
            )
        return False


def _say(sentence: str) -> None:
    sys.stdout.write(f"{sentence}\n")
    sys.stdout.flush()


def _run(supervisor: Supervisor) -> None:
    try:
        run(read_site(os.environ), supervisor, _say)
    except EmbeddedServerError as error:
        raise StartFailedError(str(error)) from error
    except PermissionError as error:
        raise StartFailedError(
            f"Cannot use {error.filename}: {error.strerror}. Start as the user it belongs to, or"
            " set HITL_DATA_DIR to another folder."
        ) from error


def main(arguments: list[str]) -> int:
    """Run everything until a signal (returns 0) or a failure (says why, returns 1)."""
    parser = argparse.ArgumentParser(prog="manage.py up", description=__doc__)
    parser.parse_args(arguments)
    return run_until_stopped(_run, _say)
