"""What must hold once all is quiet, looked at from outside: tables, sandbox, the program's own log.

Each function returns a sentence for every breach; `EVERY` names them all.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from approvals.core.canonical import digest
from tests.chaos.plans import DECISIONS, GRAPHS
from tests.e2e.metrics import Scrape
from tests.sandbox_process import Sandbox

Json = dict[str, Any]
ENDED_RUN = {"completed", "rejected", "expired", "cancelled", "failed"}
RESOLVING = {
    "request.approved", "request.rejected", "request.expired", "request.cancelled",
    "request.superseded",
}  # fmt: skip
# How an issue may stand, by the status of its request; anything else than these is rejected there.
STATES = {"pending": {"Backlog", "Todo", "In Progress"}, "approved": {"Done", "Approved"}}
ENDED_STATES = {"Canceled", "Rejected"}
_NAMED = re.compile(r"^Request `([0-9a-f-]{36})`", re.MULTILINE)
_MARKED = re.compile(r"<!-- hitl:(.+):(opened|resolved) -->")
_ACCOUNTS = """
SELECT u.id, username, array_remove(array_agg(g.name::text ORDER BY g.name), NULL) AS groups
FROM auth_user u LEFT JOIN auth_user_groups m ON m.user_id = u.id
LEFT JOIN auth_group g ON g.id = m.group_id GROUP BY u.id
"""
_OWED = """
SELECT 'news of the request ' || request_id AS what, channel AS whose, last_error
FROM approvals_delivery WHERE done < wanted
UNION ALL
SELECT 'a turn', 'the run ' || id, last_error FROM agents_run WHERE done < wanted
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
    def comments(self) -> Mapping[str, Sequence[str]]:
        """The comments on pull requests, by the marker on their first line."""
        comments: dict[str, list[str]] = defaultdict(list)
        for comment in self.stage.sandbox.github_comments():
            comments[comment["body"].partition("\n")[0]].append(comment["body"])
        return comments

    @cached_property
    def pages(self) -> Sequence[Scrape]:
        """The metrics of every web server."""
        return self.stage.pages()


def lives_were_led(facts: Facts) -> Iterator[str]:
    """Nothing that was asked for went unanswered, and nothing was asked for twice."""
    rows = [*facts.runs.values(), *facts.requests.values()]
    by_label = Counter(row["idempotency_key"] for row in rows if row["idempotency_key"])
    for life in facts.lives:
        label = life["plan"]["label"]
        if life["problem"]:
            yield f"{label}: {life['problem']}"
        if by_label[label] != 1:
            yield f"{label} was started {by_label[label]} times."


def final_or_truly_pending(facts: Facts) -> Iterator[str]:
    """A request is decided, or it can still be, and its run, if it has one here, waits for it."""
    for key, row in facts.requests.items():
        run = facts.runs.get(row["workflow_id"], {"status": "waiting"})
        if row["status"] == "pending" and not row["open"]:
            yield f"Request {key} is past its deadline and still pending."
        elif row["status"] == "pending" and run["status"] not in {"waiting", "needs_attention"}:
            yield f"Request {key} is pending, but its run is {run['status']}."


def one_decision_each(facts: Facts) -> Iterator[str]:
    """The log holds one decision of each final request, and it is the one that stands."""
    for key, row in facts.requests.items():
        said = [one["name"] for one in facts.audit[key] if one["name"] in RESOLVING]
        wanted = [] if row["status"] == "pending" else [f"request.{row['status']}"]
        if said != wanted:
            yield f"Request {key} is {row['status']}, but its log says {said}."


def answers_hold(facts: Facts) -> Iterator[str]:
    """What a call was told is decided stays decided so."""
    for life in facts.lives:
        for told in life["told"]:
            stands = facts.requests[told["request"]]["status"]
            if told["status"] != "pending" and told["status"] != stands:
                yield f"{told['request']} is {stands}; {told['who']} was told: {told['status']}."


def what_people_said_counts(facts: Facts) -> Iterator[str]:
    """Nothing that people decided, by whichever way, is still waiting."""
    for life in facts.lives:
        if life["plan"]["end"] in DECISIONS:
            for key in life["requests"]:
                if facts.requests[key]["status"] == "pending":
                    yield f"{key} waits, though {life['plan']['way']} decided it."


def those_who_may_decided(facts: Facts) -> Iterator[str]:
    """Enough people of the policy's groups approved what is approved, and one rejected the rest.

    Nobody decides what they asked for themselves.
    """
    for key, row in facts.requests.items():
        policy = row["policy"]
        counting = Counter(
            vote["choice"]
            for vote in facts.votes[key]
            if vote["user_id"] != row["opened_by_id"]
            and {*facts.accounts[vote["user_id"]]["groups"]} & {*policy["groups"]}
        )
        approvals, rejections = counting["approve"], counting["reject"]
        if row["status"] == "approved" and (approvals < policy["quorum"] or rejections):
            yield f"Request {key} is approved by {approvals} people and rejected by {rejections}."
        if row["status"] == "rejected" and not rejections:
            yield f"Request {key} is rejected by nobody."


def people_were_in_time(facts: Facts) -> Iterator[str]:
    """Nobody decided once the deadline had passed, and nobody voted on what was decided."""
    for key, row in facts.requests.items():
        ended_at = row["decided_at"]
        if row["status"] in {"approved", "rejected"} and ended_at > row["expires_at"]:
            yield f"Request {key} was {row['status']} at {ended_at}, after {row['expires_at']}."
        if row["status"] == "expired" and ended_at < row["expires_at"]:
            yield f"Request {key} expired at {ended_at}, before {row['expires_at']}."
        for vote in facts.votes[key]:
            if ended_at is not None and vote["cast_at"] > ended_at:
                yield f"A vote on {key} is of {vote['cast_at']}, after its end at {ended_at}."


def nothing_ran_unapproved(facts: Facts) -> Iterator[str]:
    """Whatever happened was approved, just so, and in time; or needed no approval."""
    for key in facts.effects:
        if key and key not in facts.executions:
            yield f"Something ran under the key {key}, which no execution has."
    for key, row in facts.executions.items():
        kind, _, request_id = key.partition(":")
        if kind != "request":
            # The one operation of the plans that the shipped rules let through.
            task = facts.runs[str(row["run_id"])]["task"]
            if (task["operation"], task["environment"]) != ("deploy", "staging"):
                yield f"{key} ran without a request: {task}"
            continue
        request = facts.requests[request_id]
        if request["status"] != "approved":
            yield f"{key} was begun, but the request is {request['status']}."
            continue
        if row["digest"] != digest(request["action"]) or row["action"] != request["action"]:
            yield f"{key} is another action than the one that was approved."
        limit = request["policy"]["execute_within_seconds"]
        if not 0 <= _seconds(request["decided_at"], row["started_at"]) <= limit:
            yield f"{key} was begun at {row['started_at']}, decided {request['decided_at']}."


def what_happened_was_approved(facts: Facts) -> Iterator[str]:
    """Whatever happened outside is, word by word, what was approved, and no earlier than that."""
    for key, happened in facts.effects.items():
        row = facts.executions.get(key)
        if row is None:
            continue
        request = facts.requests.get(key.removeprefix("request:"))
        for effect in happened:
            words = {effect.get("operation"), *effect.get("options", {}).values()} - {None}
            if effect.get("body", row["action"].get("body")) != row["action"].get("body") or (
                words - {*row["action"].get("argv", ())}
            ):
                yield f"{key} did {effect}, but it is about {row['action']}."
            if request and "at" in effect:
                at, decided_at = datetime.fromisoformat(effect["at"]), request["decided_at"]
                if decided_at is None or at < decided_at:
                    yield f"{key} happened at {at}, decided {decided_at}."


def nothing_ran_twice(facts: Facts) -> Iterator[str]:
    """An action happened once; one that may be repeated, once for each time it was begun."""
    for key, happened in facts.effects.items():
        row = facts.executions.get(key)
        if row is None:
            continue
        most = row["attempts"] if row["action"].get("idempotent") else 1
        if len(happened) > most:
            yield f"{key} happened {len(happened)} times, begun {row['attempts']} times."
    for request_id, row in facts.requests.items():
        begun = [one for one in facts.audit[request_id] if one["name"] == "execution.started"]
        action = row["action"] or {}
        allowed = 1 + _settlements(facts, row["workflow_id"])["retry"]
        if len(begun) > allowed and not action.get("idempotent"):
            yield f"The action of {request_id} was begun {len(begun)} times."


def places_were_deployed_once(facts: Facts) -> Iterator[str]:
    """A graph of somebody else's did what was approved once, and nothing else."""
    done: dict[str, list[str]] = defaultdict(list)
    for effect in facts.effects[""]:
        done[effect["options"].get("label", "")].append(effect["options"].get("place", ""))
    for life in facts.lives:
        if life["plan"]["operation"] not in GRAPHS:
            continue
        places = done[life["plan"]["label"]]
        rows = [facts.requests[key] for key in life["requests"]]
        approved = {r["task"]["place"] for r in rows if r["status"] == "approved"}
        if len(places) != len(set(places)) or set(places) - approved:
            yield f"{life['plan']['label']} deployed {places}, approved were {approved}."
        run = facts.runs[life["workflow_id"]]
        if run["status"] == "completed" and set(places) != approved:
            yield f"{life['plan']['label']} is completed without {approved - set(places)}."


def nothing_approved_was_left_undone(facts: Facts) -> Iterator[str]:
    """What was approved was done, or a person was told why not, or somebody did not want it."""
    for key, row in facts.requests.items():
        if row["status"] != "approved" or row["action"] is None:
            continue
        run = facts.runs[row["workflow_id"]]
        execution = facts.executions.get(f"request:{key}")
        ended = execution is not None and execution["status"] in {"succeeded", "failed"}
        if ended and facts.effects.get(f"request:{key}"):
            continue
        if run["status"] == "needs_attention" and run["attention"]:
            continue
        if run["status"] == "cancelled" and execution is None:
            continue
        if run["status"] == "failed" and _settlements(facts, row["workflow_id"])["abandon"]:
            continue
        stands = "not begun" if execution is None else execution["status"]
        yield f"Request {key} is approved, but its action is {stands}; the run: {run['status']}."


def completed_runs_did_every_step(facts: Facts) -> Iterator[str]:
    """A run that says that it is completed has left out nothing."""
    for key, run in facts.runs.items():
        undone = [step["name"] for step in run["steps"] if step["status"] != "succeeded"]
        if run["status"] == "completed" and undone:
            yield f"Run {key} is completed, but {', '.join(undone)} did not succeed."


def runs_are_at_rest(facts: Facts) -> Iterator[str]:
    """A run has ended, waits for a person's decision, or says what it needs one for."""
    waiting = {row["workflow_id"] for row in facts.requests.values() if row["status"] == "pending"}
    for key, run in facts.runs.items():
        if run["status"] in ENDED_RUN:
            continue
        if run["status"] == "waiting" and key in waiting:
            continue
        if run["status"] == "needs_attention" and run["attention"]:
            continue
        yield f"Run {key} is {run['status']}."


def nothing_is_owed(facts: Facts) -> Iterator[str]:
    """Nobody is owed news, and nothing was given up."""
    for row in facts.stage.rows(_OWED):
        yield f"{row['whose']} is owed {row['what']}: {row['last_error']}"


def one_issue_each(facts: Facts) -> Iterator[str]:
    """Linear has one issue of each request, in a state that agrees with it."""
    for key, row in facts.requests.items():
        issues = facts.issues[key]
        if len(issues) != 1:
            # Of what ended before it could be told of, Linear is told nothing.
            if issues or row["status"] in {"pending", "approved", "rejected"}:
                yield f"Linear has {len(issues)} issues of request {key}, which is {row['status']}."
            continue
        state = issues[0]["state"]
        if state not in STATES.get(row["status"], ENDED_STATES):
            yield f"Request {key} is {row['status']}, but its issue is {state}."
        if row["linear_issue_id"] != issues[0]["identifier"]:
            yield f"Request {key} names the issue {row['linear_issue_id']}."
    for key in set(facts.issues) - set(facts.requests):
        yield f"Linear has an issue of {key}, which is no request."


def comments_are_right(facts: Facts) -> Iterator[str]:
    """A pull request says once what was asked and once how it ended."""
    for key, row in facts.requests.items():
        if row["pr_number"] is None:
            continue
        opened, resolved = (
            facts.comments.get(f"<!-- hitl:{key}:{part} -->", ()) for part in ("opened", "resolved")
        )
        pending = row["status"] == "pending"
        # Of what ended before it was announced, the outcome alone is told.
        if len(opened) > 1 or len(resolved) != (not pending) or (pending and not opened):
            yield f"Of {key} the PR has {len(opened)} openings and {len(resolved)} outcomes."
        elif resolved and f"### {row['status'].capitalize()}" not in resolved[0]:
            yield f"Of {key}, which is {row['status']}, the PR says: {resolved[0][:90]!r}"
    for line in facts.comments:
        if (marked := _MARKED.match(line)) and marked[1] not in facts.requests:
            yield f"A PR has a comment on {marked[1]}, which is no request."


def accounts_agree_with_their_log(facts: Facts) -> Iterator[str]:
    """What an account may do is what its own entries say, and so is every token."""
    said: dict[str, list[Json]] = defaultdict(list)
    for stream in facts.audit.values():
        for one in stream:
            if one["name"].startswith(("approver.", "token.")):
                said[one["name"]].append(one["data"])
    known = {data["name"]: data["groups"] for data in said["approver.saved"]}
    for account in facts.accounts.values():
        name, groups = account["username"], sorted(account["groups"])
        if groups != known.get(name):
            yield f"The account {name} is in {groups}, its log says {known.get(name)}."
    for token in facts.tokens:
        made, ended = (
            sum(data["token"] == token["id"] for data in said[name])
            for name in ("token.created", "token.revoked")
        )
        if (made, ended) != (1, token["revoked_at"] is not None):
            yield f"The token {token['id']} was made {made} times and revoked {ended} times."


def audit_is_whole(facts: Facts) -> Iterator[str]:
    """The chain of the log is unbroken, and every request says what its entries say."""
    said = facts.stage.manage("verify_audit")
    if said != "The audit log is whole, and every request agrees with it.":
        yield said


def metrics_tell_the_tables(facts: Facts) -> Iterator[str]:
    """Both web servers count what the tables hold."""
    created: Counter[tuple[str, ...]] = Counter()
    pending: Counter[tuple[str, ...]] = Counter()
    resolved: Counter[tuple[str, ...]] = Counter()
    for row in facts.requests.values():
        kind = (row["agent_name"], row["risk_level"], row["environment"])
        created[kind] += 1
        if row["status"] == "pending":
            pending[kind] += 1
        else:
            resolved[(row["agent_name"], row["risk_level"], row["status"])] += 1
    ended = Counter((run["status"],) for run in facts.runs.values() if run["status"] in ENDED_RUN)
    kinds, ends = ("agent", "risk_level", "environment"), ("agent", "risk_level", "status")
    for page in facts.pages:
        for name, labels, wanted in (
            ("hitl_approval_requests_created_total", kinds, created),
            ("hitl_approvals_pending", kinds, pending),
            ("hitl_approval_requests_resolved_total", ends, resolved),
            ("hitl_approval_latency_seconds_count", ends, resolved),
            ("hitl_runs_ended_total", ("status",), ended),
        ):
            told = page.counted(name, labels)
            if told != wanted:
                yield f"{name} tells {dict(told)}, the tables hold {dict(wanted)}."


def _settlements(facts: Facts, run_id: str) -> Counter[str]:
    """How often people have settled a run, by the outcome that they gave it."""
    said = [one for one in facts.audit.get(run_id, ()) if one["name"] == "run.settled"]
    return Counter(one["data"]["outcome"] for one in said)


def _seconds(earlier: datetime, later: datetime) -> float:
    return (later - earlier).total_seconds()


EVERY: Sequence[Callable[[Facts], Iterable[str]]] = (
    lives_were_led,
    final_or_truly_pending,
    one_decision_each,
    answers_hold,
    what_people_said_counts,
    those_who_may_decided,
    people_were_in_time,
    nothing_ran_unapproved,
    what_happened_was_approved,
    nothing_ran_twice,
    places_were_deployed_once,
    nothing_approved_was_left_undone,
    completed_runs_did_every_step,
    runs_are_at_rest,
    nothing_is_owed,
    one_issue_each,
    comments_are_right,
    accounts_agree_with_their_log,
    audit_is_whole,
    metrics_tell_the_tables,
)
