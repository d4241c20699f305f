"""What happened to a request in words, with repeats counted and a long middle folded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from approvals.wording import Told, told

if TYPE_CHECKING:
    from approvals.models import AuditEntry, VoteRefusal

# A timeline folds once its middle is worth folding.
FIRST = 3
LAST = 8
LEAST_FOLDED = 4


@dataclass(frozen=True)
class Moment:
    """An entry with its words; `repeats` counts the same refusal, which the log has once."""

    entry: "AuditEntry"
    told: Told
    repeats: "VoteRefusal | None" = None


@dataclass(frozen=True)
class Timeline:
    """The moments, oldest first, in three parts of which `middle` is shown folded."""

    first: Sequence[Moment]
    middle: Sequence[Moment]
    last: Sequence[Moment]

    @classmethod
    def of(cls, entries: "Sequence[AuditEntry]", refusals: "Sequence[VoteRefusal]") -> Self:
        """The timeline of a request's entries."""
        repeated = {
            (row.actor, row.choice, row.reason, row.via): row for row in refusals if row.times > 1
        }
        moments = [
            Moment(
                entry,
                told(entry.name, entry.data, entry.actor),
                repeated.get(
                    (
                        entry.actor_key,
                        str(entry.data.get("choice", "")),
                        str(entry.data.get("code", "")),
                        entry.via,
                    )
                ),
            )
            for entry in entries
        ]
        if len(moments) < FIRST + LEAST_FOLDED + LAST:
            return cls(moments, [], [])
        return cls(moments[:FIRST], moments[FIRST:-LAST], moments[-LAST:])
