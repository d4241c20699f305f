"""The only caller of a graph: start, answer, recover, each under the lock on its thread."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any
from uuid import UUID

import django.db
import psycopg
from django.db import transaction
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.constants import START
from langgraph.types import Command, Interrupt, StateSnapshot
from psycopg.errors import IdleInTransactionSessionTimeout

from agents import checkpoints, executions, fit, payloads
from agents.executions import NeedsAttention, StillRunning
from agents.models import ENDED, Run, RunStatus
from agents.registry import BUILT_IN, GraphSpec, graph_spec, kept_spec
from agents.standing import as_told, cancel_pending, locked, need_attention
from approvals import outbox, services, trail, unexpected
from approvals.clock import clock
from approvals.core.canonical import digest
from approvals.core.events import ChannelBusy, EventName, Snapshot
from approvals.core.lifecycle import Status
from approvals.core.risk import Assessment
from approvals.errors import Refusal
from approvals.models import DatabaseIdentity
from approvals.selectors.request import asked_of_people, timeline, was_let_through

log = logging.getLogger(__name__)

_DATABASE_ERRORS = (psycopg.OperationalError, django.db.OperationalError, django.db.InterfaceError)
# Rounds of answering interrupts that need no human, in one turn: a bound for a graph that loops.
_ROUNDS = 100
_SOURCE = "hitl_source"


class Stopped(Exception):
    """The run cannot go on by itself; the sentence says why, and the run says it already."""


class _Overtaken(Exception):
    """Before its graph was entered, the run or its database ended or came to need a person."""


@dataclass(frozen=True)
class Position:
    """Where a thread stands after a turn, as far as the tables care."""

    values: dict[str, Any]
    checkpoint_id: str
    asks: Sequence[tuple[str, payloads.Ask]]
    finished: bool
    # Whether any node was given the verdict of a request; ask only while the thread is locked.
    was_used: Callable[[UUID], bool]


Capture = Callable[[Run, Position], None]


def take_turn(thread_id: str, capture: Capture) -> None:
    """Start a run, or let it go on after a crash or a person's word, until it waits or ends.

    `capture` is called with where the thread then stands, while nobody else can move it. Raises
    Stopped and Refusal once the run needs a person, ChannelBusy while somebody else moves the
    thread, and the database's errors.
    """
    with suppress(_Overtaken), _thread(thread_id) as thread:
        if thread.has_begun():
            thread.recover()
        else:
            thread.begin()
        capture(thread.run, thread.settle_down())


def resume(request: Snapshot, capture: Capture) -> str:
    """Answer the interrupt of a decided request with its verdict, if it still waits for it.

    Returns why a decision was not used, or nothing. Otherwise like `take_turn`.
    """
    refusal = ""
    with suppress(_Overtaken), _thread(request.thread_id) as thread:
        if not thread.has_begun():
            raise Stopped("The run's checkpoints are gone, so it cannot go on where it waited.")
        thread.recover()
        refusal = thread.answer(request)
        capture(thread.run, thread.settle_down())
    return refusal


@contextmanager
def _thread(thread_id: str) -> Iterator["_Thread"]:
    with checkpoints.locked(thread_id) as saver:
        # Read under the lock: whoever held it before may have ended the run, or died in its graph.
        run = Run.objects.filter(thread_id=thread_id).first()
        if run is not None and run.status in ENDED:
            # A worker that died while it opened requests may have left some behind.
            cancel_pending(run, services.SYSTEM, f"The run was {run.status}.")
        # What needs attention goes on by `settle_run` alone, which owes every verdict again.
        if run is None or run.status in {*ENDED, RunStatus.NEEDS_ATTENTION}:
            raise _Overtaken
        try:
            yield _Thread(run, *_compiled(run, saver), saver)
        except (Stopped, Refusal) as error:
            # Told before the thread is let go: another verdict would run what failed once more.
            need_attention(run.pk, str(error))
            raise


def _compiled(run: Run, saver: PostgresSaver) -> tuple[Any, str]:
    """The run's graph, ready to go on, and its source; Stopped where there is another or none."""
    newest = graph_spec(run.graph)
    if newest is None:
        raise Stopped(f"No graph named {run.graph!r} is registered any more.")
    same = newest.version == run.graph_version
    spec = newest if same else kept_spec(run.graph, run.graph_version)
    if spec is None:
        raise Stopped(
            f"The run was started with version {run.graph_version} of {run.graph!r}, but this"
            f" release has version {newest.version}."
        )
    try:
        blank, source = _blank(spec)
        return blank.copy({"checkpointer": saver}), source
    except Exception as error:
        # A builder that is not ours may raise anything, and would do so at every turn.
        log.exception("The graph %s cannot be built", run.graph)
        raise Stopped(
            f"The graph {run.graph!r} cannot be built: {type(error).__name__}: {error}"
        ) from error


@lru_cache(maxsize=32)
def _blank(spec: GraphSpec) -> tuple[Any, str]:
    """The compiled graph without a checkpointer, and what its source comes to.

    Kept, because compiling is a fifth of a short turn.
    """
    graph = spec.build().compile()
    return graph, "" if spec.name == BUILT_IN else fit.source(spec.path, graph)


class _Thread:
    """A locked thread with its compiled graph; lives as long as the lock is held."""

    def __init__(self, run: Run, graph: Any, source: str, saver: PostgresSaver) -> None:
        self.run = run
        self._graph = graph
        self._source = source
        self._saver = saver
        # Whether the nodes that wait have asked since the lock was taken, and so in this release.
        self._has_asked = False
        # Only what belongs to the thread: a checkpoint_id here would replay the past.
        self._config: RunnableConfig = {
            "configurable": {"thread_id": run.thread_id},
            "recursion_limit": 10_000,
            # Kept with each checkpoint: by which source it was made.
            "metadata": {_SOURCE: source},
        }

    def has_begun(self) -> bool:
        """Whether there is anything to go on with; Stopped where this graph cannot hold it all."""
        stored = self._saver.get_tuple(self._config)
        if stored is None:
            return False
        if missing := fit.missing(stored, self._graph, self._config):
            raise Stopped(
                f"The graph {self.run.graph!r} has changed, yet not its version: it has no longer"
                f" {', '.join(missing)}, which the run needs to go on."
            )
        return True

    def recover(self) -> None:
        """Carry on where a crash, or a person's word, left the thread between its nodes."""
        state = self._state
        if not state.tasks or not (self.run.in_invocation or self.run.may_continue):
            return
        # The built-in graph records an action before it begins; what another graph's node had done
        # when its worker died, or whether it only paused there, nobody here can tell. A node whose
        # writes are stored has ended: LangGraph leaves it out of `next`, and does not repeat it.
        at_work = [name for name in state.next if name != START]
        if at_work and self.run.graph != BUILT_IN and not self.run.may_continue:
            raise Stopped(
                f"A worker died while {', '.join(at_work)} was at work, so what it does may or"
                " may not have happened. Look, then settle the run."
            )
        self._invoke(None)

    def begin(self) -> None:
        self._invoke(self.run.input)

    def settle_down(self) -> Position:
        """Go on until the thread waits for people or has ended."""
        self._ask_anew()
        for _ in range(_ROUNDS):
            unattended = self._unattended(self._state.interrupts)
            if not unattended:
                return self._position(self._state)
            self._invoke(Command(resume=unattended))
        raise Stopped(f"The graph asked {_ROUNDS} times in one turn for what needs no human.")

    def answer(self, request: Snapshot) -> str:
        """Give the verdict to the interrupt it belongs to; why not, or nothing."""
        # LangGraph may list an interrupt that a crash left behind after it had been answered.
        if self._was_used(request.id):
            return ""
        self._ask_anew()
        pending = {item.id: item for item in self._state.interrupts}
        item = pending.get(request.interrupt_id)
        if item is None:
            return "The workflow does not wait for this any more."
        if self._ask(item).digest != request.digest:
            return "The workflow now asks for something else than what was decided."
        self._refuse_if_stale(request)
        self._invoke(Command(resume={item.id: payloads.verdict(request)}), answered=request)
        return ""

    def _ask_anew(self) -> None:
        """Let the nodes that wait say once more what they ask for, where another release asked.

        An answer, of people or of the rules, is taken without a look at what it is the answer to.
        """
        asked_by = (self._state.metadata or {}).get(_SOURCE, "")
        if self._state.interrupts and asked_by != self._source and not self._has_asked:
            self._invoke(None)

    def _refuse_if_stale(self, request: Snapshot) -> None:
        """An old approval lets no foreign node act; the built-in one asks before each action."""
        if self.run.graph == BUILT_IN or request.status is not Status.APPROVED:
            return
        now = clock()
        late = executions.too_late(request, now)
        since = now - timedelta(seconds=request.policy.execute_within_seconds)
        if late and not self._settled_after(late, since):
            raise Stopped(late)

    def _settled_after(self, sentence: str, since: datetime) -> bool:
        """Whether a person who was told this sentence has said since then that it may go on."""
        told = as_told(self.run, sentence)
        return any(
            entry.name == EventName.RUN_SETTLED
            and (entry.data["outcome"], entry.data["attention"]) == ("retry", told)
            and entry.at >= since
            for entry in timeline(self.run.pk)
        )

    def _invoke(self, value: Any, *, answered: Snapshot | None = None) -> None:
        free = Run.objects.filter(DatabaseIdentity.is_accepted()).exclude(
            status__in=[*ENDED, RunStatus.NEEDS_ATTENTION]
        )
        with transaction.atomic():
            entered = free.filter(pk=self.run.pk).update(
                status=RunStatus.RUNNING, in_invocation=True, may_continue=False
            )
            if not entered:
                raise _Overtaken
            if answered is not None:
                outbox.note_resumed(answered)
                trail.tell(log, "Run resumed", status=answered.status)
        self._forget_source_of_another()
        vars(self).pop("_state", None)
        try:
            self._graph.invoke(value, self._config, durability="sync")
        except _DATABASE_ERRORS:
            # in_invocation stays: whoever comes next carries on from the last checkpoint.
            raise
        except StillRunning as error:
            raise ChannelBusy(str(error)) from error
        except NeedsAttention as error:
            self._left()
            raise Stopped(str(error)) from error
        except Exception as error:
            if isinstance(error.__cause__, IdleInTransactionSessionTimeout):
                # Not the graph's: this process stood still, and the database ended its transaction.
                raise
            # A node of a graph that is not ours may raise anything, after any effect: that is
            # for a person to judge, never for a retry.
            self._left()
            text = "Run %s stopped inside its graph"
            unexpected.log_traceback(log, self.run, error, text, self.run.pk)
            raise Stopped(f"The graph failed with {type(error).__name__}: {error}") from error
        self._has_asked = True
        self._left()

    def _forget_source_of_another(self) -> None:
        """Let a checkpoint of another release be nobody's, before this one's nodes ask at it.

        Otherwise that release, once it is back, would take what is asked now for its own question.
        """
        made_by = self._source and (self._state.metadata or {}).get(_SOURCE)
        if made_by and made_by != self._source:
            checkpoints.note(self._saver, self._state.config, {_SOURCE: ""})

    def _left(self) -> None:
        Run.objects.filter(pk=self.run.pk).update(in_invocation=False)

    @cached_property
    def _state(self) -> StateSnapshot:
        """Where the thread stands, which nobody else can change; `_invoke` forgets it."""
        state: StateSnapshot = self._graph.get_state(self._config)
        return state

    def _ask(self, item: Interrupt) -> payloads.Ask:
        return payloads.read(item.value, built_in=self.run.graph == BUILT_IN)

    def _unattended(self, items: Sequence[Interrupt]) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        asked = asked_of_people(self.run.thread_id) if items else set()
        for item in items:
            ask = self._ask(item)
            # What people were asked stays theirs, also when the rules have changed since.
            if (item.id, ask.digest) in asked:
                continue
            assessment = services.assess_task(ask.task, ask.agent)
            if not assessment.requires_approval:
                self._leave_record(item, ask, assessment)
                answers[item.id] = payloads.unattended_verdict(ask, item.id)
        return answers

    def _leave_record(self, item: Interrupt, ask: payloads.Ask, assessment: Assessment) -> None:
        """Tell the log of what the rules let through; of the built-in graph's the action tells."""
        if self.run.graph == BUILT_IN:
            return
        with transaction.atomic():
            run = locked(self.run.pk)
            if run.status in {*ENDED, RunStatus.NEEDS_ATTENTION}:
                raise _Overtaken
            # After a crash the same is let through once more.
            if not was_let_through(run.pk, item.id, digest(ask.task)):
                services.record_not_required(
                    run.pk, ask.task, ask.agent, assessment, asker=run, interrupt_id=item.id
                )

    def _was_used(self, request_id: UUID) -> bool:
        """Whether any node of the thread, in any subgraph, was given this request's verdict."""
        given = checkpoints.answers_given(self._saver, self.run.thread_id)
        return any(payloads.answers(value, str(request_id)) for value in given)

    def _position(self, state: StateSnapshot) -> Position:
        asks = [(item.id, self._ask(item)) for item in state.interrupts]
        if state.tasks and not asks:
            names = ", ".join(task.name for task in state.tasks)
            raise Stopped(f"The graph pauses before {names} without asking for anything.")
        values = state.values if isinstance(state.values, dict) else {"value": state.values}
        configurable = state.config.get("configurable", {})
        return Position(
            values=values,
            checkpoint_id=str(configurable.get("checkpoint_id", "")),
            asks=asks,
            # Not `next`, which is also empty where a crash came between the writes of the last
            # nodes and the checkpoint that follows from them.
            finished=not state.tasks,
            was_used=self._was_used,
        )
