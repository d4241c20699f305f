"""The log of what happened: appended in the transaction of what it tells, chained by digest."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.functions import Concat

from approvals.core.canonical import digest
from approvals.core.events import EventName
from approvals.core.intake import harmless
from approvals.core.lifecycle import Actor, Status, Via
from approvals.models import ApprovalRequest, AuditEntry

SYSTEM = Actor(name="gateway", via=Via.SYSTEM, key="system")


@dataclass(frozen=True)
class Fact:
    """Something that happened in a stream, before it has a number."""

    stream: UUID
    name: EventName
    actor: Actor
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)


def begin(fact: Fact) -> None:
    """Write the first entry of a stream; the unique number refuses a second first one."""
    _write([fact], {})


def append(facts: Iterable[Fact]) -> None:
    """Append facts in order, numbered within their streams.

    The caller holds a lock on whatever owns each stream; the unique number backs that up.
    """
    facts = list(facts)
    last = AuditEntry.objects.filter(stream__in={fact.stream for fact in facts})
    last = last.order_by("stream", "-number").distinct("stream")
    _write(
        facts,
        {
            stream: (number, end)
            for stream, number, end in last.values_list("stream", "number", "digest")
        },
    )


def _write(facts: Iterable[Fact], heads: dict[UUID, tuple[int, str]]) -> None:
    """Chain facts to the number and digest of the last entry of each stream."""
    entries = []
    for fact in facts:
        number, previous = heads.get(fact.stream, (0, ""))
        entry = AuditEntry(
            stream=fact.stream,
            number=number + 1,
            name=fact.name,
            # Outsiders' names come from elsewhere: they must not keep a fact out of the log.
            actor=harmless(fact.actor.name)[:200],
            actor_key=harmless(fact.actor.identity)[:200],
            via=fact.actor.via,
            data=dict(fact.data),
            at=fact.at,
        )
        entry.digest = chained(entry, previous)
        heads[fact.stream] = (entry.number, entry.digest)
        entries.append(entry)
    AuditEntry.objects.bulk_create(entries)


def chained(entry: AuditEntry, previous: str) -> str:
    """The digest of an entry over every column and the digest before it."""
    return digest(
        [
            previous,
            str(entry.stream),
            entry.number,
            entry.name,
            entry.actor,
            entry.actor_key,
            entry.via,
            entry.data,
            entry.at.astimezone(UTC).isoformat(),
        ]
    )


def broken_links() -> Iterator[str]:
    """A sentence for every place where the chain does not hold; reads every entry."""
    stream, number, previous = None, 0, ""
    for entry in AuditEntry.objects.order_by("stream", "number").iterator(chunk_size=2000):
        if entry.stream != stream:
            stream, number, previous = entry.stream, 0, ""
        if entry.number != number + 1:
            yield f"{entry.stream}: entry {number + 1} is missing"
        elif entry.digest != chained(entry, previous):
            yield f"{entry.stream}: entry {entry.number} ({entry.name}) was changed"
        number, previous = entry.number, entry.digest
    # A chain cannot miss its own end, but a request knows what must be in it.
    entries = AuditEntry.objects.filter(stream=OuterRef("pk"))
    ended = Q(status=Status.PENDING) | Exists(
        entries.filter(name=Concat(Value("request."), OuterRef("status")))
    )
    opened = Exists(entries.filter(name=EventName.OPENED))
    for pk, status in ApprovalRequest.objects.exclude(opened, ended).values_list("pk", "status"):
        yield f"{pk}: no entry says how it was opened or became {status}"
