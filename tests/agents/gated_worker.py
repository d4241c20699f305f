"""A worker in a process of its own, each of whose actions waits for a line on its standard input.

It does all the work that is owed to runs, then it ends. An action ends as its line says.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from django.conf import settings

from agents import turns
from agents.actions import ActionResult, OutcomeUnknown
from approvals import outbox

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import django; django.setup(); from tests.agents import gated_worker as w; w.work()"


@dataclass
class Other:
    """Such a worker as its starter sees it; to be killed in the end."""

    process: "subprocess.Popen[str]"

    @classmethod
    def start(cls, database_url: str) -> Self:
        """Start it over a database."""
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": database_url},
            stdin=subprocess.PIPE,
            text=True,
        )
        return cls(process)

    def stop(self) -> None:
        """Silence it, wherever it is."""
        os.kill(self.process.pid, signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)

    def wake(self) -> None:
        """Let it go on."""
        os.kill(self.process.pid, signal.SIGCONT)

    def pass_gate(self, word: str) -> None:
        """Let its action end, with this outcome."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Wait until it has done all that it can; the exit status."""
        return self.process.wait(30)

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.wait(30)
        if self.process.stdin is not None:
            self.process.stdin.close()


def gated(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Wait at the gate, then end as it says: succeed or unknown."""
    del action, idempotency_key
    word = sys.stdin.readline().strip()
    if word == "unknown":
        raise OutcomeUnknown("The reply was lost.")
    if word != "succeed":
        raise ValueError(f"The gate says {word!r}.")
    return ActionResult(succeeded=True, summary="done by the woken worker")


def work() -> None:
    """Do what is owed until nothing is."""
    settings.HITL_CHANNELS = ["integrations.workflow.WorkflowChannel"]
    settings.HITL_EXECUTORS = {"command": f"{__name__}.gated"}
    while turns.advance_next() or outbox.deliver_next("workflow"):
        pass
