"""Send the gateway twenty thousand inputs that nobody would, then look what became of it.

    python -m tests.fuzz [--inputs N] [--seed S]

PostgreSQL, Redis and a web server are started for this run. A third of the inputs are calls of the
API, made from its OpenAPI document and against it; a third are webhooks, the rest are YAML files.
Nothing may answer with 5xx or end but by a sentence, and at the end the database may hold no vote
that nobody had a right to. The exit status is 1 where something failed, or where fewer inputs were
made than were asked for. The same seed gives the same inputs, as far as these do not depend on what
was answered before.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import django
import schemathesis
from django.core.management import call_command

# Before Django is asked for anything: this starts its PostgreSQL and Redis.
from tests import servers

os.environ["HITL_LOG_LEVEL"] = "ERROR"
django.setup()

from tests.fuzz.calls import Calls  # noqa: E402 - needs the loaded applications
from tests.fuzz.files import KINDS, contents  # noqa: E402
from tests.fuzz.findings import Findings, new_seed  # noqa: E402
from tests.fuzz.hooks import SECRET, Hooks, hooks, samples  # noqa: E402
from tests.fuzz.rights import Rights  # noqa: E402
from tests.sandbox_process import LINEAR_API_KEY, Sandbox  # noqa: E402
from tests.web_server import WebServer  # noqa: E402


def fuzz(findings: Findings, folder: Path, inputs: int) -> None:
    """Send that many inputs, and check what stands in the database."""
    call_command("migrate", verbosity=0)
    rights = Rights.made()
    third = inputs // 3
    with _gateway(folder) as server:
        with findings.at_least("calls", third):
            _calls(findings, server, rights, third)
        with findings.at_least("webhooks", third):
            _hooks(findings, server, rights, third)
        with findings.at_least("files", inputs - 2 * third):
            _files(findings, folder, inputs - 2 * third)
    for breach in rights.breaches():
        findings.failures[breach] = "found in the database afterwards"
        findings.repeats[breach] += 1
    if "Traceback" in (log := (folder / "web.log").read_text()):
        findings.failures["the log of the web server has a traceback"] = log[-4000:]
        findings.repeats["the log of the web server has a traceback"] += log.count("Traceback")


@contextmanager
def _gateway(folder: Path) -> Iterator[WebServer]:
    """A web server that hears Linear, and knows from the stand-in which user it is there itself."""
    sandbox = Sandbox.start(folder / "sandbox", empty=True)
    environment = {
        "LINEAR_WEBHOOK_SECRET": SECRET,
        "LINEAR_API_KEY": LINEAR_API_KEY,
        "LINEAR_API_URL": sandbox.linear_url,
    }
    try:
        server = WebServer.start(servers.postgres.owner_url, folder / "web.log", 2, **environment)
        try:
            yield server
        finally:
            server.stop()
    finally:
        sandbox.stop()


def _calls(findings: Findings, server: WebServer, rights: Rights, inputs: int) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/api/openapi.json")
    calls = Calls(schema, rights, findings.seed, waits=True)
    each = list(calls.each())
    share = max(1, inputs * 3 // 4 // len(each))
    for label, cases in each:
        findings.run(label, cases, calls.judge, share)
    calls.in_a_row(findings, inputs - findings.total)


def _hooks(findings: Findings, server: WebServer, rights: Rights, inputs: int) -> None:
    def send(body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        response = server.client.post("/resume", content=body, headers=dict(headers))
        return response.status_code, response.content

    findings.run("webhooks", hooks(samples()), Hooks(send, rights).judge, inputs)


def _files(findings: Findings, folder: Path, inputs: int) -> None:
    for kind in KINDS:
        place = folder / kind.name
        place.mkdir()
        judge = partial(kind.judge, folder=place)
        findings.run(f"{kind.name}.yaml", contents(kind), judge, -(-inputs // len(KINDS)))


def main(arguments: Sequence[str]) -> int:
    """Run, print the report, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Prove the gateway against any input."
    )
    parser.add_argument("--inputs", type=int, default=20_000, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="by default, a new one")
    chosen = parser.parse_args(arguments)
    if chosen.inputs < 3:
        parser.error("--inputs must be 3 at least: calls, webhooks and files get a third each")
    findings = Findings(new_seed() if chosen.seed is None else chosen.seed)
    folder = Path(tempfile.mkdtemp(prefix="hitl-fuzz-"))
    try:
        fuzz(findings, folder, chosen.inputs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(findings.report() + "\n")
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
