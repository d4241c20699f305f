"""A worker in a process of its own, each of whose actions waits for a line on its standard input.

It does all the work that is owed to runs, then it ends. An action says on its standard output that
it has begun, and ends as its line says.
"""

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from typing import Any, Self, TextIO

from django.conf import settings
from django.db import connections

from agents import checkpoints, turns
from agents.actions import ActionResult, OutcomeUnknown
from approvals import outbox

# A start would cost seconds of imports, for each of the many that are killed.
_fork = multiprocessing.get_context("fork")


@dataclass
class Other:
    """Such a worker as its starter sees it; to be killed in the end."""

    process: ForkProcess
    gate: TextIO
    said: TextIO

    @classmethod
    def start(cls) -> Self:
        """Start it over the database that the starter uses."""
        # A connection belongs to one process.
        connections.close_all()
        checkpoints.disconnect()
        (read, write), (heard, told) = os.pipe(), os.pipe()
        mine, its = (write, heard), (read, told)
        process = _fork.Process(target=_be_worker, args=(*its, mine), daemon=True)
        process.start()
        for file in its:
            os.close(file)
        return cls(process, os.fdopen(write, "w"), os.fdopen(heard))

    @property
    def pid(self) -> int:
        """Its process, by number."""
        assert self.process.pid is not None
        return self.process.pid

    def stop(self) -> None:
        """Silence it, wherever it is."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def wake(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def reach_gate(self) -> None:
        """Wait until its next action has begun."""
        assert self.said.readline(), "the other worker ended before it began an action"

    def pass_gate(self, word: str) -> None:
        """Let its action end, with this outcome."""
        self.gate.write(f"{word}\n")
        self.gate.flush()

    def end(self) -> int | None:
        """Wait until it has done all that it can; the exit status."""
        self.process.join(30)
        return self.process.exitcode

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self.process.join(30)
        self.gate.close()
        self.said.close()


def gated(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Wait at the gate, then end as it says: succeed or unknown."""
    del action, idempotency_key
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    word = sys.stdin.readline().strip()
    if word == "unknown":
        raise OutcomeUnknown("The reply was lost.")
    if word != "succeed":
        raise ValueError(f"The gate says {word!r}.")
    return ActionResult(succeeded=True, summary="done by the woken worker")


def _be_worker(read: int, told: int, others: Sequence[int]) -> None:
    """Do what is owed until nothing is."""
    for file in others:
        os.close(file)
    sys.stdin, sys.stdout = os.fdopen(read), os.fdopen(told, "w")
    # A collection would touch, and so copy, all memory that is shared with the starter.
    gc.disable()
    outbox.channels.cache_clear()
    settings.HITL_CHANNELS = ["integrations.workflow.WorkflowChannel"]
    settings.HITL_EXECUTORS = {"command": f"{__name__}.gated"}
    while turns.advance_next() or outbox.deliver_next("workflow"):
        pass
