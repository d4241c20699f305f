"""Fills a gateway with requests by COPY, and with everything that hangs on each of them.

A request of each kind is opened by the product itself; the others are copies with ids, times and
words of their own. Each has its words, votes and audit entries, with the chain of digests right;
of the last ninety days, as retention would have left it, also what its channels were told and the
body of the webhook that decided it. Every third was asked for by a run, which has its row and its
execution; checkpoints are left out, because no page reads them.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from approvals import metrics
from approvals.clock import clock
from approvals.core.canonical import canonical_json
from bench.kinds import Kind, kinds
from bench.people import ASKS, DECIDES, asking, deciding

TWO_YEARS = timedelta(days=730)
KEPT = timedelta(days=90)
# Of a hundred requests that are final.
STATUSES = (
    *("approved",) * 76,
    *("rejected",) * 10,
    *("expired",) * 8,
    *("cancelled",) * 4,
    *("superseded",) * 2,
)
# Large enough that a transaction is none of what is measured, small enough to sit in memory.
BATCH = 20_000

_COLUMNS = {
    "approval_requests": "id workflow_id thread_id checkpoint_id interrupt_id task action digest"
    " operation environment agent_name requested_by asker opened_by_id risk_level matches policy"
    " eligible status created_at expires_at decided_at decided_by decision_reason linear_issue_id"
    " linear_issue_url pr_url github_repo idempotency_key idempotency_digest",
    "approvals_requestwords": "request_id lexemes",
    "approvals_vote": "request_id user_id choice comment via cast_at",
    "approvals_auditentry": "stream number name actor actor_key via data at digest",
    "approvals_delivery": "request_id channel wanted done told priority attempts not_before"
    " last_error reference url memory delivered_at",
    "approvals_inboundwebhook": "source delivery_id body_digest body received_at outcome reason"
    " request_id",
    "agents_run": "id workflow graph graph_version thread_id task input status attention"
    " in_invocation may_continue steps result requested_by opened_by_id pr_url github_repo"
    " idempotency_key idempotency_digest created_at ended_at wanted done priority attempts"
    " last_error",
    "agents_execution": "id run_id key position request_id action digest status attempts"
    " started_at finished_at summary output data",
}
_INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid::regclass::text = ANY(%s) AND NOT indisunique
"""


class _Rows:
    """Rows of every table, until they are written."""

    def __init__(self) -> None:
        self.of: dict[str, list[Sequence[Any]]] = {table: [] for table in _COLUMNS}

    def write(self, connection: "psycopg.Connection[Any]") -> None:
        """Copy them into their tables."""
        for table, rows in self.of.items():
            statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, _columns(table)))
            )
            with connection.cursor().copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
            rows.clear()


def fill(url: str, number: int, *, pending: int, span: timedelta = TWO_YEARS) -> None:
    """Put so many requests, opened over that span, there; the last `pending` of them wait.

    `url` is where a superuser connects to the database that Django works in. Afterwards the tables
    are vacuumed and analysed, and the metrics rolled up, as a gateway that grew slowly would have
    it.
    """
    now = clock()
    found = kinds()
    chance = random.Random(number)  # noqa: S311 - the same requests every time
    with _unguarded(url) as connection, _without_indexes(connection):
        rows = _Rows()
        final = number - pending
        for place in range(number):
            kind = chance.choice(found)
            if place < final:
                at = now - span + (span - timedelta(days=1)) * (place / final)
                status = chance.choice(STATUSES)
                _Life(rows, kind, place, at, now).end(status, chance.uniform(30, 14_000))
            else:
                at = now - timedelta(hours=6) * ((number - place) / pending)
                _Life(rows, kind, place, at, now).wait(now + timedelta(days=1))
            if place % BATCH == BATCH - 1:
                rows.write(connection)
        rows.write(connection)
    _settle(url)
    while metrics.roll_up(seconds=60):
        pass


def add_waiting(url: str, number: int, expires_at: datetime) -> None:
    """Put so many more requests there that wait until that time, which may be over.

    `url` is where a superuser connects to the database that Django works in.
    """
    found = kinds()
    now = clock()
    at = min(now, expires_at) - timedelta(hours=4)
    with _unguarded(url) as connection:
        rows = _Rows()
        for place in range(number):
            _Life(rows, found[place % len(found)], place, at, now).wait(expires_at)
        rows.write(connection)


class _Life:
    """The rows of one request."""

    def __init__(
        self, rows: _Rows, kind: Kind, place: int, opened_at: datetime, now: datetime
    ) -> None:
        self._rows = rows
        self._kind = kind
        self._at = opened_at
        self._now = now
        self._id = uuid4()
        self._issue = f"CHEF-{str(self._id.int)[:15]}"
        self._by_run = place % 3 == 0
        self._workflow = uuid4()
        self._digest = ""
        self._entries = 0

    def wait(self, expires_at: datetime) -> None:
        """It waits for a decision."""
        self._open("pending", expires_at, None)
        self._told(1, self._at)

    def end(self, status: str, after_seconds: float) -> None:
        """It was ended so long after it had been opened."""
        ended_at = self._at + timedelta(seconds=after_seconds)
        expired = status == "expired"
        expires_at = ended_at if expired else self._at + timedelta(days=1)
        self._open(status, expires_at, ended_at)
        voted = status in {"approved", "rejected"}
        if voted:
            self._vote("approve" if status == "approved" else "reject", ended_at)
        person = f"user:{deciding().user_id}"
        actor = (DECIDES, person, "linear_move") if voted else ("gateway", "system", "system")
        self._entry(f"request.{status}", *actor, {"reason": ""}, ended_at)
        if status == "approved" and self._by_run:
            self._execute(ended_at)
        self._told(2, ended_at)
        if self._by_run:
            self._run("completed" if status == "approved" else "rejected", ended_at)

    def _open(self, status: str, expires_at: datetime, ended_at: datetime | None) -> None:
        row, kind = self._kind.row, self._kind
        decided_by = "" if ended_at is None else DECIDES
        if status in {"expired", "cancelled", "superseded"}:
            decided_by = "gateway"
        workflow = str(self._workflow)
        self._add(
            "approval_requests",
            *(self._id, workflow, workflow, "", uuid4().hex if self._by_run else ""),
            *(kind.task, None, row.digest, row.operation, row.environment, row.agent_name),
            *(ASKS, row.asker, row.opened_by_id, row.risk_level, kind.matches, kind.policy),
            *(row.eligible, status, self._at, expires_at, ended_at, decided_by, ""),
            *(self._issue, f"https://linear.app/acme/issue/{self._issue}", "", "", "", ""),
        )
        lexemes = {*self._kind.words, *str(self._id).split("-"), *workflow.split("-")}
        lexemes |= {"chef", self._issue.removeprefix("CHEF-")}
        self._add("approvals_requestwords", self._id, " ".join(f"'{lexeme}'" for lexeme in lexemes))
        opened = {
            "operation": row.operation,
            "environment": row.environment,
            "agent": row.agent_name,
            "risk_level": row.risk_level,
            "digest": row.digest,
            "policy": row.policy,
            "eligible": row.eligible,
            "requested_by": ASKS,
        }
        asked_by = asking()
        self._entry("request.opened", ASKS, asked_by.identity, asked_by.via, opened, self._at)

    def _vote(self, choice: str, at: datetime) -> None:
        user_id = deciding().user_id
        self._add("approvals_vote", self._id, user_id, choice, "", "linear_move", at)
        data = {"choice": choice, "comment": "", "approvals": 1, "quorum": 1}
        self._entry("vote.cast", DECIDES, f"user:{user_id}", "linear_move", data, at)
        body = json.dumps({"id": str(self._id), "state": "Done", "filler": "x" * 1500})
        self._add(
            "approvals_inboundwebhook",
            *("linear", str(uuid4()), hashlib.sha256(body.encode()).hexdigest()),
            *(body if self._recent(at) else "", at, "resumed", "", self._id),
        )

    def _execute(self, at: datetime) -> None:
        self._entry("execution.started", "gateway", "system", "system", {"attempt": 1}, at)
        told = {"status": "succeeded", "summary": "Nothing was done."}
        self._entry("execution.finished", "gateway", "system", "system", told, at)
        row = self._kind.row
        action = Jsonb({"executor": "command", "argv": ["deploy", row.environment]})
        output = "line\n" * 20 if self._recent(at) else ""
        self._add(
            "agents_execution",
            *(uuid4(), self._workflow, f"request:{self._id}", 0, self._id, action, row.digest),
            *("succeeded", 1, at, at, "Nothing was done.", output, "{}"),
        )

    def _run(self, status: str, at: datetime) -> None:
        task = self._kind.task
        steps = Jsonb([{"operation": self._kind.row.operation, "status": status}])
        self._add(
            "agents_run",
            *(self._workflow, "task", "workflow", "1", str(self._workflow), task, "{}", status),
            *("", False, False, steps, None, ASKS, asking().user_id, "", "", "", ""),
            *(self._at, at, 1, 1, 0, 0, ""),
        )

    def _told(self, times: int, at: datetime) -> None:
        """Each channel was told everything; what is old, retention has taken."""
        channels = ("linear", "workflow") if self._by_run else ("linear",)
        for channel in channels:
            owed = times if channel == "linear" else times - 1
            if owed and channel == "linear":
                told = {"channel": channel, "reference": self._issue}
                self._entry("delivery.succeeded", "gateway", "system", "system", told, at)
            if self._recent(at):
                self._add(
                    "approvals_delivery",
                    *(self._id, channel, owed, owed, self._entries, 0, 0, at, ""),
                    *(self._issue, "", "{}", at if owed else None),
                )

    def _entry(self, name: str, actor: str, key: str, via: str, data: Any, at: datetime) -> None:
        self._entries += 1
        content = canonical_json(data)
        # What approvals.audit.chained gives, put together from pieces that need no escaping.
        chained = (
            f'["{self._digest}","{self._id}",{self._entries},"{name}","{actor}","{key}","{via}",'
            f'{content},"{at.astimezone(UTC).isoformat()}"]'
        )
        self._digest = hashlib.sha256(chained.encode()).hexdigest()
        self._add(
            "approvals_auditentry",
            *(self._id, self._entries, name, actor, key, via, content, at, self._digest),
        )

    def _recent(self, at: datetime) -> bool:
        return self._now - at < KEPT

    def _add(self, table: str, *values: Any) -> None:
        self._rows.of[table].append(values)


@contextmanager
def _unguarded(url: str) -> Iterator["psycopg.Connection[Any]"]:
    """A connection that may put rows there as if they had come long ago, and commits at the end.

    No trigger looks at them: a request that is final could not be opened.
    """
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET maintenance_work_mem = '512MB'")
        yield connection


@contextmanager
def _without_indexes(connection: "psycopg.Connection[Any]") -> Iterator[None]:
    """Build the indexes that guard nothing once everything is there, which is much quicker."""
    found = connection.execute(_INDEXES, [list(_COLUMNS)]).fetchall()
    for name, _ in found:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.SQL(name)))
    yield
    for _, definition in found:
        connection.execute(definition)


def _settle(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _columns(table: str) -> list[str]:
    return _COLUMNS[table].split()
