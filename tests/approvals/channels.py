"""Channels that write down what they are told, and fail when a test says so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from approvals.core.events import ChannelBusy, ChannelError, Event, Receipt, Snapshot

Answer = Callable[[Snapshot, Sequence[Event]], Receipt]


def _nothing(request: Snapshot, since: Sequence[Event]) -> Receipt:
    return Receipt()


@dataclass
class Notebook:
    """A channel whose `answer` a test may replace; `calls` holds every converge."""

    name: str = "notebook"
    answer: Answer = _nothing
    calls: list[tuple[Snapshot, Sequence[Event]]] = field(default_factory=list)

    def wants(self, request: Snapshot) -> bool:
        """Every request that exists."""
        return bool(request.id)

    def converge(self, request: Snapshot, since: Sequence[Event]) -> Receipt:
        """Write it down, and answer as the test says."""
        self.calls.append((request, since))
        return self.answer(request, since)

    @property
    def told(self) -> list[list[str]]:
        """The names of the events of each call."""
        return [[event.name for event in since] for _, since in self.calls]


class Linear(Notebook):
    """Gives every request an issue."""

    def __init__(self) -> None:
        super().__init__("linear", lambda request, _: Receipt(issue(request), "https://l/1"))


class GitHub(Notebook):
    """Wants only what has a pull request."""

    def __init__(self) -> None:
        super().__init__("github")

    def wants(self, request: Snapshot) -> bool:
        """Whether there is a pull request."""
        return request.pr_number is not None


class Workflow(Notebook):
    """Wants only what waits in a graph."""

    def __init__(self) -> None:
        super().__init__("workflow")

    def wants(self, request: Snapshot) -> bool:
        """Whether there is an interrupt to answer."""
        return bool(request.interrupt_id)


class Chat(Notebook):
    """A channel that the gateway knows nothing of."""

    def __init__(self) -> None:
        super().__init__("chat")


def issue(request: Snapshot) -> str:
    """An identifier of the request's own."""
    return f"CHEF-{request.id.int % 10**9}"


def fails(sentence: str = "The door is shut.", **facts: Any) -> Answer:
    """An answer that fails like this."""

    def answer(request: Snapshot, since: Sequence[Event]) -> Receipt:
        raise ChannelError(sentence, **facts)

    return answer


def busy(request: Snapshot, since: Sequence[Event]) -> Receipt:
    """An answer that asks to come back soon."""
    raise ChannelBusy


def meanwhile(work: Any, then: Answer | None = None) -> Answer:
    """Something happens while the channel is at work."""

    def answer(request: Snapshot, since: Sequence[Event]) -> Receipt:
        work(request.id)
        return then(request, since) if then else Receipt(issue(request), "https://l/1")

    return answer
