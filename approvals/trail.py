"""The trail of a decision: ids on every line of its log and, if traces are sent, a span a step."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from django.db import connection, transaction

if TYPE_CHECKING:
    from approvals.spans import Fact, Spans


@dataclass
class _Step:
    """What the work under way is about; `opened_in` is the trace that opened its request."""

    ids: dict[str, str]
    opened_in: str | None = None


_step: ContextVar[_Step | None] = ContextVar("hitl_step", default=None)
# What the last step was about, if it failed: whoever logs its exception does so outside of it.
_failed: ContextVar[dict[str, str] | None] = ContextVar("hitl_failed", default=None)
_spans: "Spans | None" = None


def trace_with(spans: "Spans") -> None:
    """Make every step from now on a span, too."""
    global _spans  # noqa: PLW0603 - a process sends traces or does not
    _spans = spans


@contextmanager
def entry() -> Iterator[None]:
    """Begin a web request or a task, to which no ids cling of what was done before it."""
    step, failed = _step.set(None), _failed.set({})
    try:
        yield
    finally:
        _step.reset(step)
        _failed.reset(failed)


@contextmanager
def step(name: str, *, via: str = "", kind: str = "internal", **about: object) -> Iterator[None]:
    """Do a part of the work under way, as a span of that name and kind.

    `about` names what it is about, on top of what the work around it is about: `request_id`,
    `workflow_id`, `channel`. A step about another request than the work around it keeps nothing of
    that work but its channel. `via` is the channel where the work around it has none. Ids
    alone, never what people or agents wrote.
    """
    mine = _narrowed(_step.get(), _texts(about), via)
    token = _step.set(mine)
    try:
        with nullcontext() if _spans is None else _spans.span(name, kind):
            if _spans is not None:
                _spans.describe(mine.ids)
                if mine.opened_in is not None:
                    _spans.link(mine.opened_in)
            yield
    except BaseException:
        failed = _failed.get()
        if failed is not None and not failed:
            failed.update(mine.ids)
        raise
    else:
        if failed := _failed.get():
            failed.clear()
    finally:
        _step.reset(token)


def know(*, opened_in: str | None = None, **about: object) -> None:
    """Add what the step under way turns out to be about, and the trace that opened its request."""
    mine = _step.get()
    if mine is None:
        return
    mine.ids.update(_texts(about))
    if _spans is not None:
        _spans.describe(mine.ids)
        if opened_in and opened_in != mine.opened_in:
            mine.opened_in = opened_in
            _spans.link(opened_in)


def tell(log: logging.Logger, message: str, *, error: str = "", **facts: "Fact | None") -> None:
    """Log what happened, once it is committed: a constant message, with facts as fields.

    Facts are ids, counts and words of ours, never what people or agents wrote; they are attributes
    of the span too. With an `error`, which only the log is told, it is a warning.
    """
    told = {key: value for key, value in facts.items() if value is not None}
    if _spans is not None:
        _spans.describe(told)
        if error:
            _spans.fail(message)
    level = logging.WARNING if error else logging.INFO
    extra = {"facts": told | ({"error": error} if error else {})}
    line = partial(log.log, level, message, extra=extra)
    if connection.in_atomic_block:
        transaction.on_commit(partial(copy_context().run, line), robust=True)
    else:
        line()


def note(**facts: "Fact") -> None:
    """Add facts to the span under way, if there is one; the log is told nothing."""
    if _spans is not None:
        _spans.describe(facts)


def ids() -> Mapping[str, str]:
    """What a line that is logged now is about, with the ids of its trace and span if it has any."""
    mine = _step.get()
    about = mine.ids if mine is not None else _failed.get() or {}
    return about if _spans is None else {**about, **_spans.ids()}


def traceparent() -> str | None:
    """The span under way, in the words of W3C Trace Context; None where no traces are sent."""
    return None if _spans is None else _spans.traceparent()


def _narrowed(outer: _Step | None, about: dict[str, str], via: str) -> _Step:
    around = _Step({}) if outer is None else outer
    mine = _Step({**around.ids, **about}, around.opened_in)
    if mine.ids.get("request_id") != around.ids.get("request_id"):
        # Nothing but the channel is known to be that of this request.
        channel = {key: around.ids[key] for key in ("channel",) if key in around.ids}
        mine = _Step({**channel, **about})
    if via:
        mine.ids.setdefault("channel", via)
    return mine


def _texts(about: Mapping[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in about.items() if value}
