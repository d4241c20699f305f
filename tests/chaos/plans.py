"""What the workflows are and how each of them is decided: the same for the same seed."""

import random
from collections.abc import Collection, Iterator, Sequence
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
    (2, ("changeover", "production", 1)),
    (1, ("merge_pull_request", "production", 1)),
    (1, ("run_ci", "test", 0)),
)
ENDS = (*["approve"] * 14, *["reject"] * 4, "both", "both", "cancel")
# The operations that are graphs of somebody else's.
GRAPHS = frozenset({"two_regions", "one_question", "same_question_twice"})
# A workflow of two steps, the second of which has one that takes its place where it is not done.
CHANGEOVER = "changeover"
# What is about a pull request.
PULLS = frozenset({"merge_pull_request", "run_ci"})
DECISIONS = frozenset({"approve", "reject", "both"})
# What people may make of a request.
STATUSES = {
    "approve": {"approved"},
    "reject": {"rejected"},
    "both": {"approved", "rejected"},
    "cancel": {"cancelled"},
}
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

    @property
    def outcomes(self) -> Sequence[Collection[str]]:
        """How each of its requests may end, in the order in which they are opened."""
        if not self.quorum:
            return ()
        last = STATUSES[self.end]
        if self.operation == CHANGEOVER:
            return ({"approved"}, last)
        if self.operation == "brief":
            # Every other one waits in vain; for the rest it may be too late.
            return ({"expired"} | (set() if self.waits_in_vain else last),)
        return (last, last) if self.operation == "two_regions" else (last,)

    @property
    def waits_in_vain(self) -> bool:
        """Whether nobody does anything about it."""
        return self.operation == "brief" and bool(self.number % 2)


def plans(seed: int, number: int) -> Iterator[Plan]:
    """So many plans, mixed by the seed."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable mixture
    weights, kinds = zip(*KINDS, strict=True)
    for index in range(number):
        operation, environment, quorum = chance.choices(kinds, weights)[0]
        has_pull = chance.random() < 0.3 or operation in PULLS
        yield Plan(
            number=index,
            label=f"life-{seed}-{index}",
            operation=operation,
            environment=environment,
            quorum=quorum,
            end=chance.choice(ENDS),
            way=chance.choice(WAYS),
            pull=10_000 + index if has_pull else None,
        )
