"""Faults on demand: what a vendor does on a bad day, told to the sandbox by a test."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

TARGETS = ("linear", "github", "hooks", "webhooks")
KINDS = (
    "delay", "hold", "status", "graphql_error", "rate_limited", "reset", "lose_reply",
)  # fmt: skip
KINDS_OF_WEBHOOKS = ("delay", "hold", "reset", "lose_reply")


@dataclass
class Fault:
    """One kind of trouble for one target, the next `times` times or until cleared."""

    target: str
    kind: str
    operation: str | None = None
    times: int | None = None
    seconds: float | None = None
    status: int | None = None
    retry_after: int | None = None
    code: str | None = None
    message: str | None = None
    taken: int = 0
    cleared: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @classmethod
    def from_json(cls, body: dict[str, Any]) -> Self:
        """Check and build a fault. Raises ValueError with a sentence."""
        known = {
            "target", "kind", "operation", "times", "seconds", "status", "retry_after",
            "code", "message",
        }  # fmt: skip
        unknown = sorted(set(body) - known)
        if unknown:
            raise ValueError(f"Unknown key {unknown[0]!r}; a fault has {', '.join(sorted(known))}.")
        fault = cls(**{"target": "", "kind": "", **body})
        if fault.target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}.")
        kinds = KINDS_OF_WEBHOOKS if fault.target == "webhooks" else KINDS
        if fault.kind not in kinds:
            raise ValueError(f"kind must be one of {', '.join(kinds)} for {fault.target}.")
        if fault.kind == "graphql_error" and fault.target != "linear":
            raise ValueError("Only linear answers GraphQL errors.")
        if fault.kind == "delay" and fault.seconds is None:
            raise ValueError("A delay needs seconds.")
        if fault.kind == "status" and fault.status is None:
            raise ValueError("A status fault needs the status.")
        return fault

    async def wait(self) -> None:
        """Wait through a delay or a hold: `seconds`, or until the faults are cleared."""
        if self.kind in {"delay", "hold"}:
            try:
                await asyncio.wait_for(self.cleared.wait(), self.seconds)
            except TimeoutError:
                return

    def to_json(self) -> dict[str, Any]:
        """The fault and how often it has struck."""
        return {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name != "cleared" and getattr(self, name) is not None
        }


class Faults:
    """The faults in force, the oldest first; a restart forgets them."""

    def __init__(self) -> None:
        self._all: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        self._all.append(fault)

    def take(self, target: str, operations: set[str]) -> Fault | None:
        """The first fault that strikes this call; counts it."""
        for fault in self._all:
            spent = fault.times is not None and fault.taken >= fault.times
            concerned = fault.operation is None or fault.operation in operations
            if fault.target == target and concerned and not spent:
                fault.taken += 1
                return fault
        return None

    def clear(self) -> None:
        """End all faults and let go of what they hold."""
        for fault in self._all:
            fault.cleared.set()
        self._all.clear()

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._all))
