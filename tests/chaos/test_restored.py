"""A dump from the middle of the load is restored: what is decided stays so, and nothing acts twice.

From outside: the rows of both databases, and what the operations themselves wrote down.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from hitl_project.embedded import APP, OWNER, Postgres
from tests.e2e.gateway import Gateway
from tests.e2e.stack import Stack, soon

pytestmark = pytest.mark.timeout(240)

LIVED_IN, RESTORED = "lived_in", "restored"
_FINAL = """
SELECT id, status, decided_at, decided_by, digest FROM approval_requests
WHERE status <> 'pending' AND decided_at < %s ORDER BY id
"""
_GOING = "SELECT id FROM agents_run WHERE status IN ('running', 'waiting', 'needs_attention')"
_SWEPT = "SELECT seen_at FROM approvals_heartbeat WHERE name = 'sweeps' AND seen_at > %s"


def pg(stack: Stack, name: str, *arguments: str) -> None:
    """Run one of PostgreSQL's own programs."""
    command = [str(stack.postgres.program(name)), *arguments]
    inherited = {"PATH": os.environ["PATH"]}
    subprocess.run(command, check=True, timeout=60, env=inherited)  # noqa: S603 - PostgreSQL's


def owner(stack: Stack) -> str:
    """The address for the owner of the tables."""
    return stack.postgres.url(OWNER, stack.database)


@contextmanager
def load(gateway: Gateway) -> Iterator[list[str]]:
    """Operations that are asked for, approved and carried out meanwhile; their labels."""
    enough, labels = Event(), list[str]()

    def keep_asking() -> None:
        while not enough.is_set():
            run = gateway.ask("replace")
            labels.append(run.label)
            gateway.approve(run.request())
            run.wait("completed")

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(keep_asking) for _ in range(2)]
        try:
            yield labels
        finally:
            enough.set()
    for one in asking:
        one.result()


def switch(stack: Stack, database: str, *parts: str) -> None:
    """End everything that decides and acts; let these parts begin anew over that database."""
    ended = [stack.processes.pop(name) for name in list(stack.processes)]
    for process in ended:
        process.terminate()
    for process in ended:
        process.wait(30)
    stack.database = database
    stack.environment["DATABASE_URL"] = stack.postgres.url(APP, database)
    stack.environment["DATABASE_OWNER_URL"] = owner(stack)
    for name in parts:
        stack.start_part(name)


def restore(stack: Stack, dump: str) -> None:
    """Restore the dump into an empty database as docs/runbooks.md says, and start nothing yet."""
    stack.postgres.create_database(RESTORED)
    switch(stack, RESTORED)
    options = ("--exit-on-error", "--no-owner", "--no-acl")
    pg(stack, "pg_restore", *options, f"--dbname={owner(stack)}", dump)
    stack.manage("migrate", "--no-input")
    stack.manage("verify_audit")


class Beatless(Stack):
    """A gateway without beat, whose sweeps the test sends when it wants them."""

    def __init__(self, folder: Path, postgres: Postgres, database: str) -> None:
        super().__init__(folder, postgres, database)
        self.parts = {name: words for name, words in self.parts.items() if name != "beat"}


@pytest.fixture
def gateway(postgres_server: Postgres, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of its own, which others would find with another database."""
    stack = Beatless.start(tmp_path, postgres_server, LIVED_IN)
    try:
        gateway = Gateway(stack)
        gateway.create_people()
        sweep(stack)
        stack.wait_until_ready()
        yield gateway
    finally:
        # Removes the database it works with; the other one goes with the server.
        stack.stop()


def effects(stack: Stack) -> list[dict[str, Any]]:
    """Everything that any operation did, in order."""
    return [
        json.loads(line) for line in (stack.data_dir / "effects.jsonl").read_text().splitlines()
    ]


def sweep(stack: Stack) -> None:
    """Have everything that is due looked at, as beat does, and Linear read back."""
    now = stack.rows("SELECT clock_timestamp() AS now")[0]["now"]
    stack.send_task("integrations.tasks.reconcile_linear", "channels")
    stack.send_task("approvals.tasks.sweep", "sweeps")
    stack.wait_for_row(_SWEPT, now)


def test_a_dump_from_the_middle_of_the_load_runs_nothing_again(
    gateway: Gateway, tmp_path: Path
) -> None:
    stack, dump = gateway.stack, str(tmp_path / "gateway.dump")
    waits, moved, at_work = (gateway.ask("repair") for _ in range(3))
    issue = gateway.issue(moved.request())
    gate = stack.close_gate(at_work.label)
    gateway.approve(at_work.request())
    at_work.wait_for_effects(1)
    with load(gateway) as labels:
        soon(lambda: len(labels) > 3, "some have run")
        began_at = stack.rows("SELECT clock_timestamp() AS now")[0]["now"]
        # As docs/runbooks.md says.
        pg(stack, "pg_dump", "--format=custom", f"--file={dump}", owner(stack))
        dumped = len(effects(stack))
        gateway.sandbox.move(issue["identifier"], "Approved", "ada")
        gate.open()
        for run in (moved, at_work):
            run.wait("completed")
        soon(lambda: len(effects(stack)) > dumped + 3, "some have run that it does not know")
    decided, done = stack.rows(_FINAL, began_at), effects(stack)
    assert len(decided) > 2

    restore(stack, dump)
    assert stack.rows(_FINAL, began_at) == decided
    going = {str(row["id"]) for row in stack.rows(_GOING)}
    assert going >= {waits.id, moved.id, at_work.id}

    switch(stack, RESTORED, "web", "worker")
    sweep(stack)
    reasons = answer(gateway).json()["reasons"]
    assert any("accept_database" in reason for reason in reasons), reasons
    # Linear still says that it was approved: that was the word for what has been done since.
    query = "SELECT 1 FROM approval_requests WHERE id = %s AND status = 'approved'"
    stack.wait_for_row(query, issue["id"])
    sweep(stack)
    assert effects(stack) == done

    why = ("--reason", "The disk is gone.", "--as", "ada")
    assert f"need attention: {len(going)};" in stack.manage("accept_database", *why)
    assert not any("accept_database" in reason for reason in answer(gateway).json()["reasons"])
    sweep(stack)
    sweep(stack)
    assert effects(stack) == done
    held = "SELECT 1 FROM agents_run WHERE status = 'needs_attention' AND attention LIKE %s"
    assert len(stack.rows(held, "%The disk is gone.%")) == len(going)

    # Each goes on by an operator's word about it.
    words = ((moved, "done"), (at_work, "done"), (waits, "retry"))
    commands = [["settle_run", run.id, word, *why] for run, word in words]
    stack.manage_each([*commands, ["verify_audit"]])
    for run in (moved, at_work):
        run.wait("completed")
    gateway.approve(waits.request())
    waits.wait("completed")
    new = effects(stack)[len(done) :]
    assert [effect["options"]["label"] for effect in new] == [waits.label]
    for label in (*labels, waits.label, moved.label, at_work.label):
        assert len(stack.effects(label)) == 1


def answer(gateway: Gateway) -> httpx.Response:
    """What the gateway says of its readiness, once its web server answers."""
    seen: list[httpx.Response] = []

    def answered() -> bool:
        try:
            seen.append(gateway.stack.http.get("/readyz"))
        except httpx.TransportError:
            return False
        return True

    soon(answered, "the web server answers")
    return seen[-1]
