"""Every invariant holds for a world in order, and each sees the breach that it is there for."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from prometheus_client.samples import Sample

from approvals.core.canonical import digest
from tests.chaos.facts import Facts
from tests.chaos.invariants import EVERY
from tests.chaos.plans import Plan
from tests.chaos.stage import Stage
from tests.e2e.metrics import Scrape

World = dict[str, Any]
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=2)
ACTION = {"executor": "command", "argv": ["replace", "one"], "idempotent": False}
CALL = {"executor": "http", "body": {"database": "three"}, "idempotent": True}
REQUEST, RUN, GRAPH, PLACE = "r-1", "run-1", "run-2", "r-2"
CALLING, CALLED = "run-3", "r-3"
DIED = "The worker died while the action was at work, so it may or may not have happened."


class StillStage:
    """What the invariants ask of a stage, as a world says it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def manage(self, command: str) -> str:
        """What the command that checks the log says."""
        del command
        return str(self._world["audit_says"])


def asked(run: str, task: World, action: World | None, **more: Any) -> World:
    """A request of a run that is approved."""
    policy = {"quorum": 1, "groups": ["platform"], "execute_within_seconds": 600}
    return {
        "workflow_id": run, "status": "approved", "open": True, "policy": policy, "opened_by_id": 3,
        "action": action, "decided_at": NOW, "expires_at": NOW + timedelta(hours=1),
        "pr_number": None, "github_repo": "", "linear_issue_id": "CHEF-1",
        "agent_name": "a", "risk_level": "high", "environment": "production", "task": task,
        "idempotency_key": "", "digest": digest([task, "a", action]), **more,
    }  # fmt: skip


def life(number: int, label: str, operation: str, run: str, request: str) -> World:
    """A life in which one request was approved."""
    plan = Plan(number, label, operation, "production", 1, "approve", "api", None)
    return {
        "plan": asdict(plan), "workflow_id": run, "requests": [request], "told": [], "problem": ""
    }  # fmt: skip


def ended(label: str, *steps: World, graph: str = "workflow") -> World:
    """A run that is completed."""
    return {
        "idempotency_key": label, "status": "completed", "attention": "", "task": {},
        "graph": graph, "steps": list(steps),
    }  # fmt: skip


def begun(run: str, action: World, request: str | None = None) -> World:
    """An execution that succeeded."""
    return {
        "run_id": run, "position": 0, "action": action, "digest": digest(action), "attempts": 1,
        "status": "succeeded", "started_at": NOW + timedelta(seconds=1), "summary": "",
        "request_id": request,
    }  # fmt: skip


def step(operation: str) -> World:
    """A step that succeeded."""
    named = {"name": operation, "operation": operation, "environment": "production"}
    return {**named, "status": "succeeded"}


def world() -> World:
    """A replacement that was done, a graph that deployed to one place of two, and a call."""
    lives = [
        life(0, "one", "replace", RUN, REQUEST),
        life(1, "two", "one_question", GRAPH, PLACE),
        life(2, "three", "db_migrate", CALLING, CALLED),
    ]
    lives[0]["told"] = [{"request": REQUEST, "who": "ben", "status": "approved"}]
    requests = {
        REQUEST: asked(
            RUN, {"arguments": {"label": "one"}}, ACTION, pr_number=7, github_repo="acme/shop"
        ),
        PLACE: asked(
            GRAPH, {"label": "two", "place": "left"}, None, linear_issue_id="CHEF-2"
        ),
        CALLED: asked(
            CALLING, {"arguments": {"database": "three"}}, CALL, linear_issue_id="CHEF-3"
        ),
    }  # fmt: skip
    kind = {"agent": "a", "risk_level": "high"}
    approved = {**kind, "status": "approved"}
    page = Scrape(
        [
            Sample(
                "hitl_approval_requests_created_total",
                {**kind, "environment": "production"},
                3,
            ),
            Sample("hitl_approval_requests_resolved_total", approved, 3),
            Sample("hitl_approval_latency_seconds_count", approved, 3),
            Sample("hitl_runs_ended_total", {"status": "completed"}, 3),
            Sample("hitl_executions_total", {"outcome": "succeeded"}, 2),
            Sample("hitl_votes_refused_total", {"reason": "already_decided"}, 5),
            Sample("hitl_inbound_webhooks_total", {"source": "linear", "outcome": "resumed"}, 1),
        ]
    )
    opened = {
        key: {"name": "request.opened", "data": {"digest": row["digest"]}}
        for key, row in requests.items()
    }
    decided, started = {"name": "request.approved"}, {"name": "execution.started"}
    place = {"repository": "acme/shop", "number": 7}
    return {
        "lives": lives,
        "requests": requests,
        "spared": [],
        "runs": {
            RUN: ended("one", step("replace")),
            GRAPH: ended("two", graph="one_question"),
            CALLING: ended("three", step("db_migrate")),
        },
        "executions": {
            f"request:{REQUEST}": begun(RUN, ACTION, REQUEST),
            f"request:{CALLED}": begun(CALLING, CALL, CALLED),
        },
        "audit": {
            REQUEST: [opened[REQUEST], decided, started],
            PLACE: [opened[PLACE], decided],
            CALLED: [opened[CALLED], decided, started],
            "account-1": [
                {"name": "approver.saved", "data": {"name": "ada", "groups": ["platform"]}},
                {"name": "token.created", "data": {"token": 7}},
            ],
        },
        "accounts": {1: {"username": "ada", "groups": ["platform"]}},
        "tokens": [{"id": 7, "revoked_at": None}],
        "votes": {
            key: [{"choice": "approve", "user_id": 1, "cast_at": NOW}] for key in requests
        },
        "refusals": [{"reason": "already_decided", "times": 5}],
        "webhooks": [{"outcome": "resumed"}],
        "effects": {
            f"request:{REQUEST}": [
                {"operation": "replace", "options": {"label": "one"}, "at": LATER.isoformat()}
            ],
            f"request:{CALLED}": [
                {
                    "name": "migrations", "body": {"database": "three"}, "calls": 2,
                    "at": LATER.isoformat(),
                }
            ],
            "": [{"options": {"label": "two", "place": "left"}}],
        },
        "issues": {
            REQUEST: [{"state": "Done", "identifier": "CHEF-1"}],
            PLACE: [{"state": "Approved", "identifier": "CHEF-2"}],
            CALLED: [{"state": "Approved", "identifier": "CHEF-3"}],
        },
        "comments": {
            f"<!-- hitl:{REQUEST}:opened -->": [{**place, "body": "asked"}],
            f"<!-- hitl:{REQUEST}:resolved -->": [{**place, "body": "-\n### Approved: replace"}],
        },
        "pages": [page, copy.deepcopy(page)],
        "owed": [],
        "audit_says": "The audit log is whole, and every request agrees with it.",
    }  # fmt: skip


def broken(made: World) -> dict[str, list[str]]:
    """What each invariant that does not hold says of the world."""
    facts = Facts(cast("Stage", StillStage(made)), made["lives"])
    vars(facts).update({name: made[name] for name in made if name != "lives"})
    said = {check.__name__: list(check(facts)) for check in EVERY}
    return {name: sentences for name, sentences in said.items() if sentences}


def test_a_world_in_order_breaks_nothing() -> None:
    assert broken(world()) == {}


def _put(*path: Any, value: Any) -> Callable[[World], None]:
    """Changes one thing of a world."""

    def change(made: World) -> None:
        place: Any = made
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


def _twice(*path: Any) -> Callable[[World], None]:
    """Doubles what a list of a world holds."""

    def change(made: World) -> None:
        place: Any = made
        for step in path:
            place = place[step]
        place.extend(copy.deepcopy(place))

    return change


def _all(*changes: Callable[[World], None]) -> Callable[[World], None]:
    """Changes several things."""

    def change(made: World) -> None:
        for one in changes:
            one(made)

    return change


def _ask_anew(status: str) -> Callable[[World], None]:
    """The first request is asked a second time, and done; the first time ended so."""

    def change(made: World) -> None:
        key, again = f"request:{REQUEST}", "r-9"
        for name in ("requests", "audit", "votes", "issues"):
            made[name][again] = copy.deepcopy(made[name][REQUEST])
        made["requests"][again] |= {"linear_issue_id": "CHEF-9", "pr_number": None}
        made["issues"][again][0]["identifier"] = "CHEF-9"
        made["requests"][REQUEST]["status"] = status
        for name in ("executions", "effects"):
            move = dict.pop if status != "approved" else dict.__getitem__
            made[name][f"request:{again}"] = copy.deepcopy(move(made[name], key))
        if status != "approved":
            made["audit"][REQUEST][1:] = [{"name": f"request.{status}"}]
            made["votes"][REQUEST] = []
            made["issues"][REQUEST][0]["state"] = "Canceled"
            said = made["comments"][f"<!-- hitl:{REQUEST}:resolved -->"][0]
            said["body"] = f"-\n### {status.capitalize()}: replace"

    return change


def _stop(
    run: str, attention: str, request: str = "", status: str = "unknown", summary: str = DIED
) -> Callable[[World], None]:
    """A run needs a person, with its action left so."""

    def change(made: World) -> None:
        made["runs"][run] |= {"status": "needs_attention", "attention": attention}
        for one in made["runs"][run]["steps"]:
            one["status"] = "running"
        if request:
            made["executions"][f"request:{request}"] |= {"status": status, "summary": summary}

    return change


REPEATED = "Nobody listens. But an earlier attempt has no known end, and may have taken effect."
KEY, CALL_KEY = f"request:{REQUEST}", f"request:{CALLED}"
ACCOUNTS = "accounts_agree_with_their_log"
DOUBT = "people_are_needed_for_a_reason"
COUNTS = "what_people_said_counts"
UNDONE = "nothing_approved_was_left_undone"
STAYED = "what_was_asked_stayed_so"
TWICE = "nothing_ran_twice"
METRICS = "metrics_tell_the_tables"
OPENED, RESOLVED = (f"<!-- hitl:{REQUEST}:{part} -->" for part in ("opened", "resolved"))


BREACHES: Sequence[tuple[Callable[[World], None], str]] = [
    (_put("lives", 0, "problem", value="No answer."), "lives_were_led"),
    (_put("runs", RUN, "idempotency_key", value="two"), "lives_were_led"),
    (_put("spared", value=[{"idempotency_key": "one"}]), "lives_were_led"),
    (_put("requests", REQUEST, "status", value="pending"), "final_or_truly_pending"),
    (_twice("audit", PLACE), "one_decision_each"),
    (_put("audit", PLACE, value=[{"name": "request.rejected"}]), "one_decision_each"),
    (_put("lives", 0, "told", 0, "status", value="rejected"), "answers_hold"),
    (_put("requests", PLACE, "status", value="pending"), COUNTS),
    (_put("requests", REQUEST, "status", value="rejected"), COUNTS),
    (_ask_anew("superseded"), COUNTS),
    (_ask_anew("cancelled"), COUNTS),
    (_ask_anew("approved"), COUNTS),
    (_put("requests", CALLED, "workflow_id", value=RUN), COUNTS),
    (_put("runs", RUN, "status", value="rejected"), COUNTS),
    (_put("runs", RUN, "status", value="failed"), COUNTS),
    (_put("lives", 0, "plan", "end", value="cancel"), COUNTS),
    (_put("requests", PLACE, "policy", "quorum", value=2), "those_who_may_decided"),
    (_put("lives", 0, "plan", "quorum", value=2), "those_who_may_decided"),
    (_put("requests", PLACE, "opened_by_id", value=1), "those_who_may_decided"),
    (_put("accounts", 1, "groups", value=["cooks"]), "those_who_may_decided"),
    (_put("votes", REQUEST, 0, "choice", value="reject"), "those_who_may_decided"),
    (_put("requests", REQUEST, "status", value="rejected"), "those_who_may_decided"),
    (_put("requests", REQUEST, "expires_at", value=NOW - timedelta(1)), "people_were_in_time"),
    (_put("requests", REQUEST, "status", value="expired"), "people_were_in_time"),
    (_put("votes", PLACE, 0, "cast_at", value=NOW + timedelta(1)), "people_were_in_time"),
    (_put("requests", PLACE, "task", "place", value="right"), STAYED),
    (_put("requests", REQUEST, "agent_name", value="b"), STAYED),
    (_put("requests", REQUEST, "action", value=CALL), STAYED),
    (_put("audit", REQUEST, 0, "data", "digest", value="another"), STAYED),
    (_put("audit", PLACE, 0, "name", value="request.seen"), STAYED),
    (_put("lives", 0, "plan", "label", value="nine"), STAYED),
    (_put("effects", "request:nobody", value=[{}]), "nothing_ran_unapproved"),
    (_put("requests", REQUEST, "status", value="rejected"), "nothing_ran_unapproved"),
    (_put("executions", KEY, "digest", value="another"), "nothing_ran_unapproved"),
    (_put("executions", KEY, "started_at", value=NOW - timedelta(1)), "nothing_ran_unapproved"),
    (_put("executions", KEY, "started_at", value=NOW + timedelta(1)), "nothing_ran_unapproved"),
    (_put("executions", f"{RUN}:0", value=begun(RUN, ACTION)), "nothing_ran_unapproved"),
    (_put("effects", KEY, 0, "options", "label", value="two"), "what_happened_was_approved"),
    (_put("effects", KEY, 0, "operation", value="deploy"), "what_happened_was_approved"),
    (_put("effects", KEY, 0, "body", value={"all": True}), "what_happened_was_approved"),
    (_put("effects", KEY, 0, "inputs", value={"method": "rebase"}), "what_happened_was_approved"),
    (_put("effects", KEY, 0, "workflow", value="drop.yml"), "what_happened_was_approved"),
    (_put("effects", KEY, 0, "at", value="2026-02-01T11:59:59Z"), "what_happened_was_approved"),
    (_twice("effects", KEY), TWICE),
    (_twice("effects", CALL_KEY), TWICE),
    (_put("effects", CALL_KEY, 0, "calls", value=5), TWICE),
    (_put("executions", CALL_KEY, "action", value={**CALL, "idempotent": False}), TWICE),
    (_twice("audit", REQUEST), TWICE),
    (_ask_anew("approved"), TWICE),
    (_put("effects", "", 0, value={"operation": "replace", "options": {"label": "one"}}), TWICE),
    (
        _all(
            _put("lives", 0, "plan", "pull", value=10_001),
            _put("effects", "", value=[{"workflow": "ci.yml", "ref": "change-10001"}] * 2),
        ),
        TWICE,
    ),
    (_twice("effects", ""), "places_were_deployed_once"),
    (_put("effects", "", value=[]), "places_were_deployed_once"),
    (
        _all(_put("effects", "", value=[]), _put("runs", GRAPH, "status", value="rejected")),
        "places_were_deployed_once",
    ),
    (_put("requests", PLACE, "status", value="rejected"), "places_were_deployed_once"),
    (_put("executions", value={}), UNDONE),
    (_put("effects", KEY, value=[]), UNDONE),
    (_put("executions", KEY, "status", value="started"), UNDONE),
    (_stop(RUN, "Look.", REQUEST, status="started"), UNDONE),
    (_stop(RUN, "Look.", REQUEST, status="held"), UNDONE),
    (_stop(CALLING, DIED, CALLED), UNDONE),
    (_all(_stop(RUN, "Gave up."), _put("executions", value={})), UNDONE),
    (
        _all(
            _put("executions", KEY, "status", value="started"),
            _put("runs", RUN, "status", value="cancelled"),
        ),
        UNDONE,
    ),
    (_stop(RUN, "Gave up."), DOUBT),
    (_stop(RUN, "Look.", REQUEST, status="held"), DOUBT),
    (_stop(CALLING, "It was not begun.", CALLED, status="held"), DOUBT),
    (_stop(GRAPH, "The decision could not be handed to the run."), DOUBT),
    (_stop(CALLING, DIED, CALLED), DOUBT),
    (_stop(CALLING, REPEATED, CALLED, summary=REPEATED), DOUBT),
    (_put("runs", RUN, "steps", 0, "status", value="running"), "steps_were_taken"),
    (_put("runs", RUN, "steps", 0, "status", value="rejected"), "steps_were_taken"),
    (_put("effects", KEY, value=[]), "steps_were_taken"),
    (_put("executions", KEY, "status", value="failed"), "steps_were_taken"),
    (_put("executions", KEY, "position", value=1), "steps_were_taken"),
    (_twice("runs", RUN, "steps"), "steps_were_taken"),
    (_put("lives", 0, "plan", "operation", value="changeover"), "steps_were_taken"),
    (_put("runs", RUN, "status", value="running"), "runs_are_at_rest"),
    (_put("runs", RUN, "status", value="waiting"), "runs_are_at_rest"),
    (_put("runs", RUN, "status", value="needs_attention"), "runs_are_at_rest"),
    (
        _put(
            "owed",
            value=[{"whose": "linear", "what": "news of it", "last_error": "", "given_up": False}],
        ),
        "nothing_is_owed",
    ),
    (_twice("issues", REQUEST), "one_issue_each"),
    (_put("issues", REQUEST, value=[]), "one_issue_each"),
    (_put("issues", REQUEST, 0, "state", value="Canceled"), "one_issue_each"),
    (_put("issues", REQUEST, 0, "state", value="Todo"), "one_issue_each"),
    (_put("issues", "nobody", value=[]), "one_issue_each"),
    (_put("issues", REQUEST, 0, "identifier", value="CHEF-9"), "one_issue_each"),
    (_twice("comments", RESOLVED), "comments_are_right"),
    (_twice("comments", OPENED), "comments_are_right"),
    (_put("comments", RESOLVED, 0, "body", value="-\n### Rejected: x"), "comments_are_right"),
    (_put("comments", RESOLVED, value=[]), "comments_are_right"),
    (_put("comments", OPENED, 0, "number", value=8), "comments_are_right"),
    (_put("comments", RESOLVED, 0, "repository", value="acme/web"), "comments_are_right"),
    (_put("comments", "<!-- hitl:nobody:opened -->", value=[{}]), "comments_are_right"),
    (_put("accounts", 2, value={"username": "mallory", "groups": []}), ACCOUNTS),
    (_put("accounts", 1, "groups", value=["platform", "operators"]), ACCOUNTS),
    (_put("tokens", 0, "id", value=8), ACCOUNTS),
    (_put("tokens", 0, "revoked_at", value=NOW), ACCOUNTS),
    (_put("audit_says", value="Entry 3 is missing."), "audit_is_whole"),
    (_put("pages", 1, value=Scrape([])), METRICS),
]

# What a person is rightly needed for, and what else is no breach.
RIGHT: Sequence[Callable[[World], None]] = [
    _stop(RUN, DIED, REQUEST),
    _put("effects", KEY, 0, "calls", value=1),
    _stop(CALLING, "It was answered 502.", CALLED, summary="It was answered 502."),
    _all(
        _stop(CALLING, REPEATED, CALLED, summary=REPEATED),
        _put("executions", CALL_KEY, "attempts", value=2),
    ),
    _all(
        _stop(GRAPH, "A worker died while here was at work, so it may or may not have happened."),
        _put("effects", "", value=[]),
    ),
    _all(
        _stop(RUN, "It was approved long ago.", REQUEST, status="held"),
        _put("executions", KEY, "started_at", value=NOW + timedelta(seconds=601)),
        _put("effects", KEY, value=[]),
    ),
    _all(
        _stop(CALLING, "It was not begun.", CALLED, status="held"),
        _put("effects", CALL_KEY, value=[]),
    ),
    _put("effects", CALL_KEY, 0, "calls", value=4),
    # The process of another's program has the number of a pull request by chance.
    _all(
        _put("lives", 0, "plan", "pull", value=10_001),
        _put("effects", "", 0, "operation", value="replace"),
        _put("effects", "", 0, "pid", value=10_001),
    ),
]


@pytest.mark.parametrize("change", RIGHT)
def test_what_is_right_breaks_nothing(change: Callable[[World], None]) -> None:
    made = world()
    change(made)
    # What was counted changes with it, which is not what this is about.
    assert [name for name in broken(made) if name != METRICS] == []


@pytest.mark.parametrize(("change", "name"), BREACHES)
def test_each_breach_is_seen(change: Callable[[World], None], name: str) -> None:
    made = world()
    change(made)
    assert name in broken(made)


def test_every_invariant_has_a_breach_that_it_sees() -> None:
    assert {name for _, name in BREACHES} == {check.__name__ for check in EVERY}


@pytest.mark.parametrize("number", range(len(world()["pages"][0].samples)))
def test_each_metric_is_compared_with_the_tables(number: int) -> None:
    made = world()
    del made["pages"][1].samples[number]
    assert list(broken(made)) == [METRICS]


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("hitl_approvals_pending", {"agent": "a", "risk_level": "high", "environment": "p"}),
        ("hitl_approval_timeouts_total", {"agent": "a", "risk_level": "high"}),
        ("hitl_runs", {"status": "waiting"}),
        ("hitl_executions_total", {"outcome": "failed"}),
        ("hitl_deliveries_owed", {"channel": "linear"}),
        ("hitl_deliveries_given_up", {"channel": "linear"}),
        ("hitl_votes_refused_total", {"reason": "not_allowed"}),
        ("hitl_inbound_webhooks_total", {"source": "linear", "outcome": "refused"}),
    ],
)
def test_a_metric_of_what_is_not_there_is_compared_with_the_tables(
    name: str, labels: dict[str, str]
) -> None:
    made = world()
    made["pages"][0].samples.append(Sample(name, labels, 1))
    assert list(broken(made)) == [METRICS]
