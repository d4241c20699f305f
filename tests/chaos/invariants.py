"""What must hold once all is quiet, looked at from outside: tables, sandbox, the program's own log.

Each function returns a sentence for every breach; `EVERY` names them all.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from tests.chaos import actions
from tests.chaos.facts import ENDED_RUN, Facts, Json, digest, settlements, words
from tests.chaos.plans import GRAPHS, Plan
from tests.e2e.metrics import Scrape

RESOLVING = {
    "request.approved", "request.rejected", "request.expired", "request.cancelled",
    "request.superseded",
}  # fmt: skip
# How an issue may stand, by the status of its request; anything else than these is rejected there.
STATES = {"pending": {"Backlog", "Todo", "In Progress"}, "approved": {"Done", "Approved"}}
ENDED_STATES = {"Canceled", "Rejected"}
_MARKED = re.compile(r"<!-- hitl:(.+):(opened|resolved) -->")
# How a run may end whose last request ended so.
ENDS = {
    "approved": {"completed"},
    "rejected": {"rejected"},
    "expired": {"expired"},
    "cancelled": {"cancelled"},
}


def lives_were_led(facts: Facts) -> Iterator[str]:
    """Nothing that was asked for went unanswered, and nothing was asked for twice."""
    rows = [*facts.runs.values(), *facts.requests.values(), *facts.spared]
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
    """A life ended as it was planned: nothing waits, and nothing was asked anew."""
    for life in facts.lives:
        plan, run = Plan(**life["plan"]), facts.runs.get(life["workflow_id"])
        # What broke off has been told already.
        if not plan.end or life["problem"]:
            continue
        asked = [key for key in life["requests"] if run is None or _belongs(facts, life, key)]
        asked += [key for key in facts.requests if key not in asked and _belongs(facts, life, key)]
        ends = [facts.requests[key]["status"] for key in asked]
        wanted = [" or ".join(sorted(statuses)) for statuses in plan.outcomes]
        in_doubt = run is not None and run["status"] == "needs_attention"
        # An action that may or may not have happened is followed by nothing.
        if run is not None and len(ends) != len(wanted) and not (ends and in_doubt):
            yield f"{plan.label} asked {len(ends)} times, not {len(wanted)} times."
        for key, end, statuses in zip(asked, ends, plan.outcomes, strict=False):
            if end not in statuses:
                yield f"{key} is {end}, though {plan.way} made it {' or '.join(sorted(statuses))}."
        if run is not None and not in_doubt and run["status"] not in _ends(facts, life, ends):
            yield f"{plan.label} is {run['status']}, but its requests are {ends}."


def _belongs(facts: Facts, life: Json, key: str) -> bool:
    return bool(facts.requests[key]["workflow_id"] == life["workflow_id"])


def _ends(facts: Facts, life: Json, requests: Sequence[str]) -> set[str]:
    """How a run may end whose requests ended so."""
    key = life["workflow_id"]
    rows = [row for row in facts.executions.values() if str(row["run_id"]) == key]
    failed = any(row["status"] in {"failed", "abandoned"} for row in rows)
    if failed or settlements(facts, key)["abandon"]:
        return {"failed"}
    if not requests:
        return {"completed"}
    # A graph of somebody else's may ask several things at once.
    last = requests if life["plan"]["operation"] in GRAPHS else requests[-1:]
    return {end for status in last for end in ENDS.get(status, ())}


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
    for life in facts.lives:
        for key in life["requests"]:
            quorum = facts.requests[key]["policy"]["quorum"]
            if quorum != life["plan"]["quorum"]:
                yield f"Request {key} needs {quorum} people, not {life['plan']['quorum']}."


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


def what_was_asked_stayed_so(facts: Facts) -> Iterator[str]:
    """What a request is about is what its digest says, and its opening in the log, and its life."""
    for key, row in facts.requests.items():
        told = digest([row["task"], row["agent_name"], row["action"]])
        opened = [
            one["data"]["digest"] for one in facts.audit[key] if one["name"] == "request.opened"
        ]
        if row["digest"] != told or opened != [told]:
            yield f"Request {key} has the digest {row['digest']}, opened as {opened}, is {told}."
    for life in facts.lives:
        named = {life["plan"]["label"], life["plan"]["pull"]} - {None}
        for key in life["requests"]:
            task = facts.requests[key]["task"]
            if life["workflow_id"] and not named & words(task):
                yield f"Request {key} of {life['plan']['label']} is about {task}."


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
    for row in facts.owed:
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
        elif resolved and f"### {row['status'].capitalize()}" not in resolved[0]["body"]:
            yield f"Of {key}, which is {row['status']}, the PR says: {resolved[0]['body'][:90]!r}"
        for comment in (*opened, *resolved):
            place = comment["repository"], comment["number"]
            if place != (row["github_repo"], row["pr_number"]):
                yield f"Of {key}, which is about {row['pr_number']}, it is told at {place}."
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
    ended, going = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for run in facts.runs.values():
        (ended if run["status"] in ENDED_RUN else going)[(run["status"],)] += 1
    late = Counter({end[:2]: number for end, number in resolved.items() if end[2] == "expired"})
    owed, given_up = (
        Counter((one["whose"],) for one in facts.owed if one["given_up"] is up)
        for up in (False, True)
    )
    refused = Counter[tuple[str, ...]]()
    for row in facts.refusals:
        refused[(row["reason"],)] += row["times"]
    kinds, ends = ("agent", "risk_level", "environment"), ("agent", "risk_level", "status")
    for page in facts.pages:
        for name, labels, wanted in (
            ("hitl_approval_requests_created_total", kinds, created),
            ("hitl_approvals_pending", kinds, pending),
            ("hitl_approval_requests_resolved_total", ends, resolved),
            ("hitl_approval_latency_seconds_count", ends, resolved),
            ("hitl_approval_timeouts_total", ends[:2], late),
            ("hitl_runs", ("status",), going),
            ("hitl_runs_ended_total", ("status",), ended),
            ("hitl_deliveries_owed", ("channel",), owed),
            ("hitl_deliveries_given_up", ("channel",), given_up),
            ("hitl_votes_refused_total", ("reason",), refused),
        ):
            told = page.counted(name, labels)
            if told != wanted:
                yield f"{name} tells {dict(told)}, the tables hold {dict(wanted)}."
        yield from _outcomes_told(page, facts)


def _outcomes_told(page: Scrape, facts: Facts) -> Iterator[str]:
    """What is counted each time that it comes to something, while a row keeps the last of it."""
    executions = [row["status"] for row in facts.executions.values() if row["status"] != "started"]
    webhooks = [row["outcome"] for row in facts.webhooks]
    for name, rows, passing in (
        ("hitl_executions_total", executions, {"unknown", "held"}),
        ("hitl_inbound_webhooks_total", webhooks, {"duplicate"}),
    ):
        told, wanted = page.counted(name, ("outcome",)), Counter((outcome,) for outcome in rows)
        for outcome in {*told, *wanted}:
            more = told[outcome] - wanted[outcome]
            if more < 0 or (more and outcome[0] not in passing):
                yield f"{name} tells {told[outcome]} {outcome[0]}, there are {wanted[outcome]}."


EVERY: Sequence[Callable[[Facts], Iterable[str]]] = (
    lives_were_led,
    final_or_truly_pending,
    one_decision_each,
    answers_hold,
    what_people_said_counts,
    those_who_may_decided,
    people_were_in_time,
    what_was_asked_stayed_so,
    actions.nothing_ran_unapproved,
    actions.what_happened_was_approved,
    actions.nothing_ran_twice,
    actions.places_were_deployed_once,
    actions.nothing_approved_was_left_undone,
    actions.people_are_needed_for_a_reason,
    actions.steps_were_taken,
    runs_are_at_rest,
    nothing_is_owed,
    one_issue_each,
    comments_are_right,
    accounts_agree_with_their_log,
    audit_is_whole,
    metrics_tell_the_tables,
)
