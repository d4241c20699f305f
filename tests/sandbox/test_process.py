"""The sandbox as a process: it starts, keeps its state, and stops with those who started it."""

import ast
import hashlib
import hmac
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx

from tests.sandbox.conftest import SECRET
from tests.sandbox.linear_calls import create_issue
from tests.sandbox_process import LINEAR_API_KEY, PLAIN_HTTP, ROOT, Sandbox
from tests.waiting import eventually


def run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start a sandbox that is expected to end by itself."""
    return subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-m", "sandbox", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def linear_of(sandbox: Sandbox) -> httpx.Client:
    headers = {"Authorization": LINEAR_API_KEY}
    return httpx.Client(base_url=sandbox.url, headers=headers, verify=PLAIN_HTTP)


def test_state_outlives_a_stop_and_a_crash(data_dir: Path) -> None:
    sandbox = Sandbox.start(data_dir)
    with linear_of(sandbox) as linear:
        issue = create_issue(linear, "Kept")
    sandbox.move(issue["id"], "Done")
    assert sandbox.stop() == 0
    sandbox = Sandbox.start(data_dir)
    comment = sandbox.comment(issue["id"], "still here")
    sandbox.kill()
    sandbox = Sandbox.start(data_dir)
    found = sandbox.issue(issue["id"])
    with linear_of(sandbox) as linear:
        second = create_issue(linear, "Next")
    assert sandbox.stop() == 0
    assert (found["title"], found["state"], found["comments"]) == ("Kept", "Done", [comment])
    assert second["identifier"] == "CHEF-2"


def test_samples_are_there_unless_it_starts_empty(tmp_path: Path) -> None:
    for folder, empty, status in (("with", False, 200), ("without", True, 404)):
        sandbox = Sandbox.start(tmp_path / folder, empty=empty)
        answer = httpx.get(f"{sandbox.url}/github/acme/shop/pull/7")
        sandbox.stop()
        assert answer.status_code == status


def test_it_listens_on_this_machine_only(data_dir: Path) -> None:
    sandbox = Sandbox.start(data_dir)
    port = int(sandbox.url.rsplit(":", 1)[1])
    listening = [
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    sandbox.stop()
    assert listening == [f"0100007F:{port:04X}"]


def test_links_lead_to_the_public_address(data_dir: Path) -> None:
    sandbox = Sandbox.start(data_dir, public_url="http://sandbox.example:9000/")
    with linear_of(sandbox) as linear:
        url = create_issue(linear)["url"]
    sandbox.stop()
    assert url == "http://sandbox.example:9000/linear/issue/CHEF-1/deploy-v2-5-0"


def test_it_stops_when_its_parent_is_killed(data_dir: Path) -> None:
    script = (
        "import os, subprocess, sys, time\n"
        "own = ['--port', '0', '--parent-pid', str(os.getpid())]\n"
        "command = [sys.executable, '-m', 'sandbox', *own, '--data', sys.argv[1]]\n"
        "sandbox = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)\n"
        "assert sandbox.stdout.readline().startswith('Sandbox ready: ')\n"
        "print(sandbox.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen(  # noqa: S603  # our own script
        [sys.executable, "-c", script, str(data_dir)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not _runs(child), "the sandbox has ended")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_missing_secret_stops_the_start(data_dir: Path) -> None:
    ended = run(
        "--data", str(data_dir), "--port", "0", "--webhook-url", "http://127.0.0.1:9/",
        "--webhook-secret-env", "MISSING_SECRET",
    )  # fmt: skip
    assert ended.returncode != 0
    assert "MISSING_SECRET" in ended.stderr


def test_of_two_secrets_the_first_signs(data_dir: Path) -> None:
    sandbox = Sandbox.start(data_dir, "http://127.0.0.1:9/", f"{SECRET},older")
    with linear_of(sandbox) as linear:
        create_issue(linear)
    [webhook] = sandbox.webhooks()
    sandbox.stop()
    expected = hmac.new(SECRET.encode(), webhook["body"].encode(), hashlib.sha256).hexdigest()
    assert webhook["signature"] == expected


def test_a_taken_port_and_a_taken_folder_stop_the_start(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("--data", str(data_dir), "--port", str(port))
    assert ended.returncode != 0
    assert str(port) in ended.stderr
    sandbox = Sandbox.start(data_dir)
    ended = run("--data", str(data_dir), "--port", "0")
    sandbox.stop()
    assert ended.returncode != 0
    assert "in use by another sandbox" in ended.stderr


def test_it_imports_nothing_of_the_project() -> None:
    ours = {"approvals", "agents", "integrations", "hitl_project", "bench", "tests", "django"}
    for path in (ROOT / "sandbox").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert ours.isdisjoint(name.split(".")[0] for name in names), path


def test_no_production_code_imports_it() -> None:
    for package in ("approvals", "agents", "integrations"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    assert (node.module or "").split(".")[0] != "sandbox", path
                elif isinstance(node, ast.Import):
                    assert all(a.name.split(".")[0] != "sandbox" for a in node.names), path
