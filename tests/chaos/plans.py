"""What the workflows are and how each of them is decided: the same for the same seed."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

# An operation, its environment, and how many people have to approve it.
Kind: TypeAlias = tuple[str, str, int]
KINDS: Sequence[tuple[int, Kind]] = (
    (4, ("repair", "production", 1)),
    (4, ("replace", "staging", 1)),
    (2, ("db_migrate", "staging", 1)),
    (2, ("db_migrate", "production", 1)),
    (3, ("deploy", "production", 1)),
    (1, ("deploy", "staging", 0)),
    (2, ("pair", "production", 2)),
    (2, ("brief", "production", 1)),
    (2, ("two_regions", "", 1)),
)
ENDS = (*["approve"] * 14, *["reject"] * 4, "both", "both", "cancel")
# The operations that are graphs of somebody else's.
GRAPHS = frozenset({"two_regions", "one_question", "same_question_twice"})
DECISIONS = frozenset({"approve", "reject", "both"})
WAYS = (*["api"] * 4, *["linear"] * 4, *["lost"] * 2, *["comment"] * 2, *["web"] * 3, "command")


@dataclass(frozen=True)
class Plan:
    """One workflow: what it does, how it is decided and by which way, and whether it has a PR.

    The end `both` means that two people decide at once, each by a way of their own, one to approve
    and one to reject. The way `lost` is a move in Linear of which no webhook comes, `comment` a
    command in a comment there.
    """

    number: int
    label: str
    operation: str
    environment: str
    quorum: int
    end: str
    way: str
    pull: int | None

    @property
    def is_graph(self) -> bool:
        """Whether it is a graph of somebody else's."""
        return self.operation in GRAPHS


def plans(seed: int, number: int) -> Iterator[Plan]:
    """So many plans, mixed by the seed."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable mixture
    weights, kinds = zip(*KINDS, strict=True)
    for index in range(number):
        operation, environment, quorum = chance.choices(kinds, weights)[0]
        yield Plan(
            number=index,
            label=f"life-{seed}-{index}",
            operation=operation,
            environment=environment,
            quorum=quorum,
            end=chance.choice(ENDS),
            way=chance.choice(WAYS),
            pull=10_000 + index if chance.random() < 0.3 else None,
        )
