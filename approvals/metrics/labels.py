"""Which agents and environments keep their names as values of labels; all others are `other`.

Whoever asks for approvals chooses these names, so how many there are must have a bound. A name is
kept for good, in the order in which scrapes and roll-ups see them first: a request that moved to
another series would make a counter go back.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from approvals import policy
from approvals.metrics import mark
from approvals.models import MetricLabel

AGENT = "agent"
ENVIRONMENT = "environment"
MOST = {AGENT: 20, ENVIRONMENT: 10}
OTHER = "other"
# To Prometheus an empty value is a label that is not there.
NONE = "none"
_OWN_WORDS = {"", OTHER, NONE}
_known_agents: list[str] = []

# An agent, an environment, and when the first request of such was opened.
Sighting = tuple[str, str, datetime]


def know_agents(names: Collection[str]) -> None:
    """Let these agents come first, and their metrics start at 0 before they ask for anything."""
    _known_agents.extend(name for name in names if name not in _known_agents)


@dataclass(frozen=True)
class Names:
    """The values of each bounded label that are shown as they are."""

    kept: Mapping[str, frozenset[str]]

    @classmethod
    def read(cls) -> "Names":
        """As they stand in the table."""
        kept: dict[str, set[str]] = {label: set() for label in MOST}
        for label, value in MetricLabel.objects.values_list("label", "value"):
            kept[label].add(value)
        return cls({label: frozenset(values) for label, values in kept.items()})

    def shown(self, label: str, value: str) -> str:
        """What stands for the value on the page."""
        if value in self.kept[label]:
            return value
        return NONE if label == ENVIRONMENT and value in {"", NONE} else OTHER

    def values(self, label: str) -> Sequence[str]:
        """Everything that `shown` can give by now, sorted."""
        own = {NONE} if label == ENVIRONMENT else set()
        return sorted(self.kept[label] | own | (set() if self.room(label) else {OTHER}))

    def room(self, label: str) -> int:
        """How many more values would be kept."""
        return max(0, MOST[label] - len(self.kept[label]))

    def folding(self, *, closed: bool = False) -> dict[str, Any]:
        """The parameters of `folded`; unless closed, all values stay where there is room left."""
        parameters: dict[str, Any] = {}
        for label, kept in self.kept.items():
            parameters[f"{label}_kept"] = ["", NONE, *kept]
            parameters[f"{label}_open"] = not closed and self.room(label) > 0
        return parameters

    def admitting(self, sightings: Iterable[Sighting]) -> "Names":
        """The names that hold once these have got what room there is; keeps those for good.

        One with a line break or anything else invisible in it stays `other`.
        """
        first: dict[str, dict[str, datetime]] = {label: {} for label in MOST}
        for agent, environment, at in sightings:
            for label, value in ((AGENT, agent), (ENVIRONMENT, environment)):
                first[label][value] = min(first[label].get(value, at), at)
        in_order = {
            label: [*_known(label), *sorted(moments, key=lambda value: (moments[value], value))]
            for label, moments in first.items()
        }
        return _keep(in_order) if any(self.newcomers(in_order).values()) else self

    def newcomers(self, in_order: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        """Those of each label's values that would be kept from now on."""
        fresh = {}
        for label, values in in_order.items():
            known = self.kept[label] | _OWN_WORDS
            fresh[label] = [
                # A dashboard's pattern for everything, `.*`, ends at a line's end.
                value
                for value in dict.fromkeys(values)
                if value not in known and value.isprintable()
            ]
        return {label: values[: self.room(label)] for label, values in fresh.items()}


def _known(label: str) -> Sequence[str]:
    return _known_agents if label == AGENT else policy.literal_environments()


def _keep(in_order: Mapping[str, Sequence[str]]) -> Names:
    """Keep what is new as far as there is room, one process at a time."""
    with transaction.atomic():
        mark.locked()
        fresh = Names.read().newcomers(in_order)
        rows = [MetricLabel(label=label, value=v) for label in fresh for v in fresh[label]]
        MetricLabel.objects.bulk_create(rows)
        return Names.read()


def folded(label: str, column: str) -> str:
    """SQL for the column's value or, beyond the bound, `other`: as few groups as series."""
    return (
        f"CASE WHEN %({label}_open)s OR {column} = ANY(%({label}_kept)s::text[])"
        f" THEN {column} ELSE '{OTHER}' END"
    )
