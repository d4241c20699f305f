"""The repositories, pull requests and comments that the stand-in GitHub keeps."""

import hashlib
from dataclasses import dataclass

from sandbox.github.answers import Problem, not_found
from sandbox.recorder import Call
from sandbox.store import Row, Store, utc_now

OWN_REPOSITORY = "acme/shop"


@dataclass(frozen=True)
class Sample:
    """A pull request that is there from the start."""

    number: int
    title: str
    body: str
    author: str
    branch: str


SAMPLES = (
    Sample(
        7,
        "Release v2.5.0",
        "Everything merged since v2.4.3: saved baskets, faster search, and a new receipt mail.\n\n"
        "- Release notes are written.\n- The smoke test on staging passed.\n- Production is next.",
        "rosa",
        "release/v2.5.0",
    ),
    Sample(
        12,
        "Add an index for order search",
        "Searching orders by e-mail takes 4 s for large shops. The index brings it to 30 ms.\n\n"
        "`CREATE INDEX CONCURRENTLY`, so no table is locked.",
        "mika",
        "orders/search-index",
    ),
    Sample(
        21,
        "Move checkout to larger instances",
        "Checkout runs at 85 % CPU in the evening. This changes the instance type and the number "
        "of replicas; the plan is attached to the run.",
        "rosa",
        "infra/checkout-capacity",
    ),
    Sample(
        24,
        "Explain refund webhooks",
        "Shop owners keep asking why a refund sends two events. This page answers it.",
        "lena",
        "docs/refund-webhooks",
    ),
    Sample(
        27,
        "Stop charging twice when a payment is retried",
        "The retry lost the idempotency key. Found this morning, affects about ten orders a day.",
        "mika",
        "hotfix/double-charge",
    ),
)


class Repositories:
    """Reads that several calls share, and the ways pull requests and comments come to be."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def add_samples(self) -> None:
        """Open the sample pull requests, unless there are any."""
        if self.store.number("SELECT count(*) FROM pulls") == 0:
            with self.store.transaction():
                for sample in SAMPLES:
                    self.open_pull(
                        OWN_REPOSITORY, sample.number, sample.title, body=sample.body,
                        author=sample.author, branch=sample.branch,
                    )  # fmt: skip

    def open_pull(
        self, repository: str, number: int, title: str, *,
        body: str = "", author: str = "rosa", branch: str | None = None,
    ) -> Row:  # fmt: skip
        """Open a pull request. Raises sqlite3.IntegrityError where the number is taken."""
        head = f"{repository}#{number}".encode()
        self.store.insert(
            "pulls", repository=repository, number=number, title=title, body=body, author=author,
            head_ref=branch or f"change-{number}", base_ref="main", state="open",
            head_sha=hashlib.sha1(head, usedforsecurity=False).hexdigest(), created_at=utc_now(),
        )  # fmt: skip
        return self.store.rows(
            "SELECT * FROM pulls WHERE repository = ? AND number = ?", repository, number
        )[0]

    def repository(self, call: Call) -> str:
        """The repository a call names. Raises Problem 404."""
        name = f"{call.path['owner']}/{call.path['repo']}".lower()
        known = self.store.row("SELECT 1 FROM pulls WHERE repository = ?", name)
        if known is None and name != OWN_REPOSITORY:
            raise not_found()
        return name

    def pull(self, call: Call) -> Row:
        """The pull request a call names. Raises Problem 404."""
        row = self.store.row(
            "SELECT * FROM pulls WHERE repository = ? AND number = ?",
            self.repository(call), call.path["number"],
        )  # fmt: skip
        if row is None:
            raise not_found()
        return row

    def comments(self, repository: str, number: int) -> list[Row]:
        """The comments of a pull request, the oldest first."""
        return self.store.rows(
            "SELECT * FROM pull_comments WHERE repository = ? AND number = ? ORDER BY id",
            repository, number,
        )  # fmt: skip

    def comment(self, call: Call) -> Row:
        """The comment a call names. Raises Problem 404."""
        row = self.store.row(
            "SELECT * FROM pull_comments WHERE id = ? AND repository = ?",
            call.path["comment"], self.repository(call),
        )  # fmt: skip
        if row is None:
            raise not_found()
        return row

    def add_comment(self, repository: str, number: int, author: str, body: str) -> Row:
        """Write a comment on a pull request."""
        now = utc_now()
        number_of_comment = self.store.insert(
            "pull_comments", repository=repository, number=number, author=author, body=body,
            created_at=now, updated_at=now,
        )  # fmt: skip
        return self.store.rows("SELECT * FROM pull_comments WHERE id = ?", number_of_comment)[0]

    def commit(self, repository: str, sha: str) -> None:
        """Check that a commit is there. Raises Problem 422."""
        if not self.store.row(
            "SELECT 1 FROM pulls WHERE repository = ? AND head_sha = ?", repository, sha
        ):
            raise Problem(422, f"No commit found for SHA: {sha}")
