"""What is known from outside of a gateway at work: its tables, the sandbox, the program's log."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from tests.e2e.metrics import Scrape
from tests.sandbox_process import Sandbox

Json = dict[str, Any]
ENDED_RUN = {"completed", "rejected", "expired", "cancelled", "failed"}
_NAMED = re.compile(r"^Request `([0-9a-f-]{36})`", re.MULTILINE)
_ACCOUNTS = """
SELECT u.id, username, array_remove(array_agg(g.name::text ORDER BY g.name), NULL) AS groups
FROM auth_user u LEFT JOIN auth_user_groups m ON m.user_id = u.id
LEFT JOIN auth_group g ON g.id = m.group_id GROUP BY u.id
"""
_OWED = """
SELECT 'news of the request ' || request_id AS what, channel AS whose, last_error,
       gave_up_at IS NOT NULL AS given_up
FROM approvals_delivery WHERE done < wanted
UNION ALL
SELECT 'a turn', 'the run ' || id, last_error, gave_up_at IS NOT NULL
FROM agents_run WHERE done < wanted
"""


class Watched(Protocol):
    """Where the gateway was at work, whether in many processes or in this one."""

    data_dir: Path
    sandbox: Sandbox

    def rows(self, query: str, *values: object) -> list[Json]:
        """What a query finds."""
        ...

    def manage(self, *arguments: str) -> str:
        """What a management command prints."""
        ...

    def pages(self) -> Sequence[Scrape]:
        """The metrics of each web server."""
        ...


@dataclass
class Facts:
    """Everything that is known of a stage whose traffic is over; read once, when first asked."""

    stage: Watched
    lives: Sequence[Json]

    @cached_property
    def requests(self) -> Mapping[str, Json]:
        """The requests, by id."""
        rows = self.stage.rows(
            "SELECT *, expires_at > clock_timestamp() AS open FROM approval_requests"
        )
        return {str(row["id"]): row for row in rows}

    @cached_property
    def spared(self) -> Sequence[Json]:
        """What was asked for by API and needed no approval."""
        return self.stage.rows("SELECT * FROM approvals_sparedrequest")

    @cached_property
    def runs(self) -> Mapping[str, Json]:
        """The runs, by id."""
        return {str(row["id"]): row for row in self.stage.rows("SELECT * FROM agents_run")}

    @cached_property
    def executions(self) -> Mapping[str, Json]:
        """The executions, by key."""
        return {row["key"]: row for row in self.stage.rows("SELECT * FROM agents_execution")}

    @cached_property
    def audit(self) -> Mapping[str, Sequence[Json]]:
        """The audit entries of each stream, in order."""
        streams: dict[str, list[Json]] = defaultdict(list)
        query = "SELECT stream, name, data, at FROM approvals_auditentry ORDER BY stream, number"
        for row in self.stage.rows(query):
            streams[str(row["stream"])].append(row)
        return streams

    @cached_property
    def votes(self) -> Mapping[str, Sequence[Json]]:
        """The votes on each request."""
        votes: dict[str, list[Json]] = defaultdict(list)
        for row in self.stage.rows("SELECT * FROM approvals_vote"):
            votes[str(row["request_id"])].append(row)
        return votes

    @cached_property
    def accounts(self) -> Mapping[int, Json]:
        """The accounts, by id, with their groups."""
        return {row["id"]: row for row in self.stage.rows(_ACCOUNTS)}

    @cached_property
    def tokens(self) -> Sequence[Json]:
        """The tokens of the API."""
        return self.stage.rows("SELECT * FROM approvals_apitoken")

    @cached_property
    def effects(self) -> Mapping[str, Sequence[Json]]:
        """What really happened outside, by the idempotency key it happened under."""
        effects: dict[str, list[Json]] = defaultdict(list)
        file = self.stage.data_dir / "effects.jsonl"
        for line in file.read_text().splitlines() if file.exists() else []:
            effect = json.loads(line)
            effects[effect["idempotency_key"]].append(effect)
        for call in self.stage.sandbox.hook_calls():
            effects[str(call["idempotency_key"])].append(call)
        # What has no input for its key is told by what it is about.
        by_ref = {row["action"].get("ref"): key for key, row in self.executions.items()}
        for run in self.stage.sandbox.dispatches():
            key = run["inputs"].pop("request_key", "") or by_ref.get(run["ref"], "")
            effects[key].append(run)
        return effects

    @cached_property
    def issues(self) -> Mapping[str, Sequence[Json]]:
        """The Linear issues that name a request in their description, by request."""
        issues: dict[str, list[Json]] = defaultdict(list)
        for issue in self.stage.sandbox.issues():
            for key in _NAMED.findall(issue["description"] or "")[-1:]:
                issues[key].append(issue)
        return issues

    @cached_property
    def comments(self) -> Mapping[str, Sequence[Json]]:
        """The comments on pull requests, by the marker on their first line."""
        comments: dict[str, list[Json]] = defaultdict(list)
        for comment in self.stage.sandbox.github_comments():
            comments[comment["body"].partition("\n")[0]].append(comment)
        return comments

    @cached_property
    def owed(self) -> Sequence[Json]:
        """What is owed to whom."""
        return self.stage.rows(_OWED)

    @cached_property
    def refusals(self) -> Sequence[Json]:
        """The votes that were refused, identical ones in one row."""
        return self.stage.rows("SELECT * FROM approvals_voterefusal")

    @cached_property
    def webhooks(self) -> Sequence[Json]:
        """What Linear told, each message once."""
        return self.stage.rows("SELECT * FROM approvals_inboundwebhook WHERE source = 'linear'")

    @cached_property
    def pages(self) -> Sequence[Scrape]:
        """The metrics of every web server."""
        return self.stage.pages()


def digest(value: Any) -> str:
    """The digest of a JSON value without fractions, as docs have it and not as the product does."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def words(value: Any) -> set[Any]:
    """Every single value within a JSON value."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return {word for item in value for word in words(item)}
    return {value}


def settlements(facts: Facts, run_id: str) -> Counter[str]:
    """How often people have settled a run, by the outcome that they gave it."""
    said = [one for one in facts.audit.get(run_id, ()) if one["name"] == "run.settled"]
    return Counter(one["data"]["outcome"] for one in said)


def seconds(earlier: datetime, later: datetime) -> float:
    """How long it was from one moment to the other; less than 0 where it was before."""
    return (later - earlier).total_seconds()
