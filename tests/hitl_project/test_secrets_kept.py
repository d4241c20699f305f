"""Everything that a whole gateway says in its life is looked through for every secret it holds."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from psycopg import sql
from redis import Redis
from redis.exceptions import ConnectionError as RedisGone

from hitl_project import children
from tests.e2e.gateway import Run, new_label
from tests.e2e.pages import Browser
from tests.e2e.stack import soon
from tests.hitl_project.followed import Followed
from tests.servers import DATA_DIR

# The first test waits for a whole gateway to start.
pytestmark = pytest.mark.timeout(300)

# Where a secret of a task stands by design: shown to nobody, and needed to carry it out.
HOLDS_TASKS = {"approval_requests", "agents_run", "checkpoint_blobs", "checkpoint_writes"}
ROWS_LOOKED_AT = 2


@contextmanager
def overheard(gateway: Followed) -> Iterator[list[str]]:
    """What is written into Redis meanwhile."""
    heard: list[str] = []
    with Redis.from_url(gateway.stack.redis.url) as client, client.monitor() as monitor:

        def listen() -> None:
            try:
                for command in monitor.listen():
                    heard.append(str(command["command"]))
                    if "the test is over" in heard[-1]:
                        return
            except RedisGone:
                return

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield heard
        with Redis.from_url(gateway.stack.redis.url) as other:
            other.echo("the test is over")
        thread.join(10)


def ask(gateway: Followed, operation: str, secret: str, **more: Any) -> tuple[Run, str]:
    """Start an operation whose task holds a secret, and repeats it in words; its request."""
    task = {
        "operation": operation,
        "environment": "production",
        "deploy_token": secret,
        "description": f"Use {secret} for it",
    }
    run = gateway.start("task", task, new_label(), **more)
    return run, run.request()


def fail(gateway: Followed, task_secret: str) -> list[Run]:
    """Let actions, Linear and GitHub fail, each with a secret in hand."""
    key = gateway.secrets()["MIGRATIONS_KEY"]
    gateway.sandbox.fault("linear", "status", "issueCreate", status=401)
    gateway.sandbox.fault("github", "reset", "create_comment", times=1)
    gateway.sandbox.fault("hooks", "status", "leaking", status=403, message=f"{key} is no key")
    runs = []
    for operation in ("print_credential", "send_credential"):
        run, request_id = ask(gateway, operation, task_secret, **gateway.open_pull())
        assert gateway.approve(request_id).is_success
        runs.append(run)
    for run in runs:
        run.wait("failed")
    gateway.stack.wait_for_row(
        "SELECT 1 FROM approvals_delivery d JOIN approval_requests r ON r.id = d.request_id"
        " WHERE r.workflow_id = ANY(%s) AND d.channel = 'linear' AND d.gave_up_at IS NOT NULL",
        [run.id for run in runs],
    )
    gateway.sandbox.clear_faults()
    return runs


def refused(gateway: Followed, wrong: dict[str, str]) -> dict[str, str]:
    """What is said where a password, a token or a key is wrong."""
    stack = gateway.stack
    right = gateway.secrets()
    database = stack.environment["DATABASE_URL"].replace(
        right["password in DATABASE_URL"], wrong["database"]
    )
    redis = stack.redis.url.replace(right["password in REDIS_URL"], wrong["redis"])
    stack.run("no-redis", "worker", "--queues", "nothing", more={"REDIS_URL": redis})
    stack.run("no-database", "web", "--port", str(port := children.free_port()), "--skip-checks",
              more={"DATABASE_URL": database})  # fmt: skip
    here = f"http://127.0.0.1:{port}"
    said = {
        "the check of integrations": stack.manage(
            "check_integrations",
            status=1,
            LINEAR_API_KEY=wrong["linear"],
            GITHUB_TOKEN=wrong["github"],
            GITHUB_API_URL=f"http://127.0.0.1:{children.free_port()}",
        ),
        "a login": Browser(httpx.Client(base_url=stack.url, timeout=30, trust_env=False))
        .post("/accounts/login/", username="ada", password=wrong["person"])
        .text,
        "a call": stack.http.get(
            "/api/approvals", headers={"Authorization": f"Bearer {wrong['token']}"}
        ).text,
        "a webhook": stack.http.post(
            "/resume", content=b"{}", headers={"Linear-Signature": wrong["signature"]}
        ).text,
    }

    def answered() -> bool:
        try:
            said["not ready"] = httpx.get(f"{here}/readyz", trust_env=False, timeout=30).text
            said["a page"] = httpx.get(f"{here}/history/", trust_env=False, timeout=30).text
        except httpx.ConnectError:
            return False
        return True

    soon(answered, "the web server without a database answers")
    soon(lambda: "annot connect" in stack.log("no-redis").read_text(), "Redis is missed")
    for name in ("no-redis", "no-database"):
        gateway.stop(name)
    assert "Linear refuses the API key" in said["the check of integrations"]
    assert "Please enter a correct username and password" in said["a login"]
    return said


def pages(gateway: Followed, runs: list[Run], cookies: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Every page, list and answer that has to do with these runs; notes the session's cookie."""
    browser = gateway.browser()
    cookies["session of ada"] = browser.client.cookies["sessionid"]
    requests = [ask["request_id"] for run in runs for ask in run.view()["approvals"]]
    looked_at = ["/", "/history/", "/history/?text=credential", "/runs/", "/insights/", "/admin/"]
    looked_at += [f"/approvals/{request_id}/" for request_id in requests]
    looked_at += [f"/runs/{run.id}/" for run in runs]
    done = gateway.stack.rows(
        "SELECT id, run_id FROM agents_execution WHERE run_id = ANY(%s::uuid[])",
        [run.id for run in runs],
    )
    looked_at += [f"/runs/{row['run_id']}/output/{row['id']}/" for row in done]
    for path in looked_at:
        yield path, browser.read(path)
    home = httpx.URL(gateway.stack.url)
    links = {part.split('"')[0] for part in browser.read("/admin/").split('href="')[1:]}
    for path in sorted(link for link in links if link.count("/") == 4):
        listed = browser.read(path)
        yield path, listed
        rows = [part.split('"')[0] for part in listed.split('href="')[1:]]
        for row in [row for row in rows if row.startswith(path) and "/change/" in row][
            :ROWS_LOOKED_AT
        ]:
            yield row, browser.read(str(home.join(row).raw_path.decode()))
    for path in ("/approvals", *(f"/approvals/{each}" for each in requests), "/openapi.json"):
        yield f"/api{path}", gateway.call("ben", "GET", path).text
    for run in runs:
        yield f"/api/workflows/{run.id}", json.dumps(run.view())
    token = gateway.secrets()["HITL_METRICS_TOKEN"]
    metrics = gateway.stack.http.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert metrics.status_code == 200
    yield "/metrics", metrics.text
    yield "/readyz", gateway.stack.http.get("/readyz").text


def tables(gateway: Followed) -> Iterator[tuple[str, str]]:
    """Every table, as text, but the one whose keys are the sessions themselves."""
    with gateway.stack.connection("postgres") as connection:
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename <> 'django_session'"
        ).fetchall()
        for name in sorted(row["tablename"] for row in found):
            rows = connection.execute(
                sql.SQL("SELECT row::text AS text FROM {} AS row").format(sql.Identifier(name))
            )
            yield name, "\n".join(row["text"] for row in rows)


def holds(text: str, secret: str) -> bool:
    """Whether a table has it, which as text shows bytes as hexadecimal digits."""
    return secret in text or secret.encode().hex() in text


def heard_outside(gateway: Followed) -> Iterator[tuple[str, str]]:
    """What Linear, GitHub and the collector were told, and what other users of the machine see."""
    sandbox = gateway.sandbox
    for call in sandbox.requests():
        # An operation's credential is for the other side to read.
        told = {**call, "headers": {}} if call["target"] == "hooks" else call
        yield f"a call to {call['target']}", json.dumps(told, ensure_ascii=False)
    yield "the issues", json.dumps(sandbox.issues(), ensure_ascii=False)
    yield "the comments at GitHub", json.dumps(sandbox.github_comments(), ensure_ascii=False)
    yield "the webhooks", json.dumps(sandbox.webhooks(), ensure_ascii=False)
    for span in list(gateway.collector.spans):
        yield f"the span {span.name}", span.text
    for process in gateway.stack.processes.values():
        yield "a list of processes", Path(f"/proc/{process.pid}/cmdline").read_text()


def test_no_secret_stands_in_anything_that_the_gateway_says(followed: Followed) -> None:
    in_task = secrets.token_hex(24)
    kinds = ("database", "redis", "linear", "github", "person", "token", "signature")
    wrong = {kind: secrets.token_hex(24) for kind in kinds}
    of_logins: dict[str, str] = {}
    said: list[tuple[str, str]] = []
    with overheard(followed) as commands:
        runs = fail(followed, in_task)
        said += refused(followed, wrong).items()
        of_logins |= followed.sign_on()
        said += pages(followed, runs, of_logins)
    assert len(commands) > 10
    said += [("Redis", command) for command in commands]
    said += heard_outside(followed)
    logs = [*followed.stack.folder.rglob("*.log"), DATA_DIR / "postgres" / "server.log"]
    said += [(path.name, path.read_text(errors="replace")) for path in logs]
    assert {"web.log", "worker.log", "beat.log", "no-redis.log"} <= {place for place, _ in said}
    kept = list(tables(followed))

    mistaken = {f"wrong {kind}": value for kind, value in wrong.items()}
    ours = {**followed.secrets(), **mistaken, **of_logins}
    everything = {**ours, "of the task": in_task}
    leaks = {
        (place, name) for place, text in said for name in everything if everything[name] in text
    }
    leaks |= {(place, name) for place, text in kept for name in ours if holds(text, ours[name])}
    assert leaks == set()
    # There and nowhere else; and what is looked for was there to be told.
    assert {place for place, text in kept if holds(text, in_task)} == HOLDS_TASKS
    assert followed.collector.keys == {ours["OTEL_EXPORTER_OTLP_TRACES_HEADERS"]}
    assert any("Access denied for the key ••••••" in text for _, text in said)
    assert any("•••••• is no key" in text for _, text in said)
