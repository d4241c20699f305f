"""The sandbox's memory: one SQLite file in the data folder, used from one thread."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

SCHEMA = Path(__file__).parent / "schema.sql"
# GitHub's ids have outgrown 32 bits; what stores them must know.
FIRST_IDS = {"pull_comments": 3_200_000_000, "workflow_runs": 17_000_000_000}
TABLES = (
    "attempts", "webhooks", "reactions", "comments", "attachments", "history", "issues",
    "pull_comments", "pulls", "statuses", "protection_reviews", "workflow_runs",
    "hook_calls", "requests",
)  # fmt: skip

Row = sqlite3.Row


class DataFolderInUse(RuntimeError):
    """Another process holds the data folder's database."""


class Store:
    """Rows that survive a restart, even one by SIGKILL.

    Every method runs on the event loop's thread; statements take microseconds, so nothing waits.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "sandbox.sqlite3"
        self._db = sqlite3.connect(path, isolation_level=None, timeout=1.0)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA foreign_keys = ON")
        # A second process on the same folder would send every webhook twice.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            # Survives the death of the process, which is what tests bring about; not a power cut.
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.executescript(SCHEMA.read_text(encoding="utf-8"))
            self._number_from_first_ids()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            raise DataFolderInUse(
                f"{path} is in use by another sandbox: stop that one first."
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all of the block's writes or none of them."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def run(self, sql: str, *values: object) -> int:
        """Execute one statement; returns the number of rows it changed."""
        return self._db.execute(sql, values).rowcount

    def insert(self, table: str, **values: object) -> int:
        """Insert one row; returns its rowid. Raises sqlite3.IntegrityError on a conflict."""
        columns = ", ".join(values)
        marks = ", ".join("?" * len(values))
        cursor = self._db.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})",  # noqa: S608  # names are ours
            tuple(values.values()),
        )
        return int(cursor.lastrowid or 0)

    def rows(self, sql: str, *values: object) -> list[Row]:
        """All rows of a query."""
        return self._db.execute(sql, values).fetchall()

    def row(self, sql: str, *values: object) -> Row | None:
        """The first row of a query, or None."""
        found: Row | None = self._db.execute(sql, values).fetchone()
        return found

    def number(self, sql: str, *values: object) -> int:
        """The single integer a query answers."""
        return int(self._db.execute(sql, values).fetchone()[0])

    @property
    def changes(self) -> int:
        """A number that grows with every write since the start; pages poll it."""
        return self._db.total_changes

    def clear(self) -> None:
        """Forget everything, numbering included."""
        with self.transaction():
            for table in TABLES:
                self.run(f"DELETE FROM {table}")  # noqa: S608  # names are ours
            self.run("DELETE FROM sqlite_sequence")
            self._number_from_first_ids()

    def _number_from_first_ids(self) -> None:
        for table, first in FIRST_IDS.items():
            self.run(
                """INSERT INTO sqlite_sequence (name, seq) SELECT ?, ?
                   WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)""",
                table, first, table,
            )  # fmt: skip

    def close(self) -> None:
        """Release the data folder."""
        self._db.close()


def utc_now() -> str:
    """The time as Linear writes it: ISO 8601, milliseconds, `Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clean_text(text: str) -> str:
    """Text that UTF-8 and PostgreSQL can hold: no NUL, lone surrogates replaced by `?`."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def parse_json(raw: bytes) -> Any:  # JSON is what it is
    """Parse a body and clean every text in it. Raises ValueError when it is not JSON."""
    return cleaned(json.loads(raw))


def cleaned(value: Any) -> Any:
    """JSON with every text in it cleaned."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean_text(key): cleaned(item) for key, item in value.items()}
    return value


def dump_json(value: object) -> str:
    """Compact JSON, every character as itself."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
