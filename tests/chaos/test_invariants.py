"""Every invariant holds for a world in order, and each sees the breach that it is there for."""

import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from prometheus_client.samples import Sample

from approvals.core.canonical import digest
from tests.chaos.invariants import EVERY, Facts
from tests.chaos.stage import Stage
from tests.e2e.metrics import Scrape

World = dict[str, Any]
NOW = datetime(2026, 2, 1, 12, tzinfo=UTC)
ACTION = {"executor": "command", "argv": ["replace", "one"], "idempotent": False}
REQUEST, RUN, GRAPH, PLACE = "r-1", "run-1", "run-2", "r-2"


class StillStage:
    """What the invariants ask of a stage, as a world says it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def rows(self, query: str) -> list[World]:
        """What is owed; nothing else is asked for."""
        del query
        return list(self._world["owed"])

    def manage(self, command: str) -> str:
        """What the command that checks the log says."""
        del command
        return str(self._world["audit_says"])


def world() -> World:
    """An approved replacement that was done, and a graph that deployed to one place of two."""
    policy = {"quorum": 1, "groups": ["platform"], "execute_within_seconds": 600}
    asked = {
        "workflow_id": RUN, "status": "approved", "open": True, "policy": policy, "opened_by_id": 3,
        "action": ACTION, "decided_at": NOW, "expires_at": NOW + timedelta(hours=1),
        "pr_number": 7, "linear_issue_id": "CHEF-1",
        "agent_name": "a", "risk_level": "high", "environment": "production", "task": {},
        "idempotency_key": "",
    }  # fmt: skip
    placed = {
        **asked, "workflow_id": GRAPH, "action": None, "pr_number": None,
        "linear_issue_id": "CHEF-2", "task": {"place": "left"},
    }  # fmt: skip
    labels = {"agent": "a", "risk_level": "high"}
    page = Scrape(
        [
            Sample(
                "hitl_approval_requests_created_total",
                {**labels, "environment": "production"},
                2,
            ),
            Sample("hitl_approval_requests_resolved_total", {**labels, "status": "approved"}, 2),
            Sample("hitl_approval_latency_seconds_count", {**labels, "status": "approved"}, 2),
            Sample("hitl_runs_ended_total", {"status": "completed"}, 2),
        ]
    )
    plan = {"label": "one", "operation": "replace", "end": "approve", "way": "api"}
    return {
        "lives": [
            {
                "plan": plan,
                "workflow_id": RUN,
                "requests": [REQUEST],
                "told": [{"request": REQUEST, "who": "ben", "status": "approved"}],
                "problem": "",
            },
            {
                "plan": {**plan, "label": "two", "operation": "two_regions"},
                "workflow_id": GRAPH,
                "requests": [PLACE],
                "told": [],
                "problem": "",
            },
        ],
        "requests": {REQUEST: asked, PLACE: placed},
        "runs": {
            RUN: {
                "idempotency_key": "one",
                "status": "completed",
                "attention": "",
                "task": {},
                "steps": [{"name": "replace", "status": "succeeded"}],
            },
            GRAPH: {
                "idempotency_key": "two",
                "status": "completed",
                "attention": "",
                "task": {},
                "steps": [],
            },
        },
        "executions": {
            f"request:{REQUEST}": {
                "run_id": RUN, "action": ACTION, "digest": digest(ACTION), "attempts": 1,
                "status": "succeeded", "started_at": NOW + timedelta(seconds=1),
            }
        },
        "audit": {
            REQUEST: [{"name": "request.approved"}, {"name": "execution.started"}],
            PLACE: [{"name": "request.approved"}],
            "account-1": [
                {"name": "approver.saved", "data": {"name": "ada", "groups": ["platform"]}},
                {"name": "token.created", "data": {"token": 7}},
            ],
        },
        "accounts": {1: {"username": "ada", "groups": ["platform"]}},
        "tokens": [{"id": 7, "revoked_at": None}],
        "votes": {
            key: [{"choice": "approve", "user_id": 1, "cast_at": NOW}] for key in (REQUEST, PLACE)
        },
        "effects": {
            f"request:{REQUEST}": [
                {
                    "operation": "replace", "options": {"label": "one"},
                    "at": (NOW + timedelta(seconds=2)).isoformat(),
                }
            ],
            "": [{"options": {"label": "two", "place": "left"}}],
        },
        "issues": {
            REQUEST: [{"state": "Done", "identifier": "CHEF-1"}],
            PLACE: [{"state": "Approved", "identifier": "CHEF-2"}],
        },
        "comments": {
            f"<!-- hitl:{REQUEST}:opened -->": ["asked"],
            f"<!-- hitl:{REQUEST}:resolved -->": ["-\n### Approved: replace"],
        },
        "pages": [page, copy.deepcopy(page)],
        "owed": [],
        "audit_says": "The audit log is whole, and every request agrees with it.",
    }  # fmt: skip


def broken(made: World) -> dict[str, list[str]]:
    """What each invariant that does not hold says of the world."""
    facts = Facts(cast("Stage", StillStage(made)), made["lives"])
    vars(facts).update({name: made[name] for name in made if name not in {"lives", "owed"}})
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


KEY = f"request:{REQUEST}"
ACCOUNTS = "accounts_agree_with_their_log"


BREACHES: Sequence[tuple[Callable[[World], None], str]] = [
    (_put("lives", 0, "problem", value="No answer."), "lives_were_led"),
    (_put("runs", RUN, "idempotency_key", value="two"), "lives_were_led"),
    (_put("requests", REQUEST, "status", value="pending"), "final_or_truly_pending"),
    (_twice("audit", PLACE), "one_decision_each"),
    (_put("audit", PLACE, value=[{"name": "request.rejected"}]), "one_decision_each"),
    (_put("lives", 0, "told", 0, "status", value="rejected"), "answers_hold"),
    (_put("requests", PLACE, "status", value="pending"), "what_people_said_counts"),
    (_put("requests", PLACE, "policy", "quorum", value=2), "those_who_may_decided"),
    (_put("requests", PLACE, "opened_by_id", value=1), "those_who_may_decided"),
    (_put("accounts", 1, "groups", value=["cooks"]), "those_who_may_decided"),
    (_put("votes", REQUEST, 0, "choice", value="reject"), "those_who_may_decided"),
    (_put("requests", REQUEST, "status", value="rejected"), "those_who_may_decided"),
    (_put("requests", REQUEST, "expires_at", value=NOW - timedelta(1)), "people_were_in_time"),
    (_put("requests", REQUEST, "status", value="expired"), "people_were_in_time"),
    (_put("votes", PLACE, 0, "cast_at", value=NOW + timedelta(1)), "people_were_in_time"),
    (_put("effects", "request:nobody", value=[{}]), "nothing_ran_unapproved"),
    (_put("requests", REQUEST, "status", value="rejected"), "nothing_ran_unapproved"),
    (_put("executions", KEY, "digest", value="another"), "nothing_ran_unapproved"),
    (_put("executions", KEY, "started_at", value=NOW - timedelta(1)), "nothing_ran_unapproved"),
    (_put("executions", KEY, "started_at", value=NOW + timedelta(1)), "nothing_ran_unapproved"),
    (_put("effects", KEY, 0, "options", "label", value="two"), "what_happened_was_approved"),
    (_put("effects", KEY, 0, "operation", value="deploy"), "what_happened_was_approved"),
    (_put("effects", KEY, 0, "body", value={"all": True}), "what_happened_was_approved"),
    (_put("effects", KEY, 0, "at", value="2026-02-01T11:59:59Z"), "what_happened_was_approved"),
    (_twice("effects", KEY), "nothing_ran_twice"),
    (_twice("audit", REQUEST), "nothing_ran_twice"),
    (_twice("effects", ""), "places_were_deployed_once"),
    (_put("effects", "", value=[]), "places_were_deployed_once"),
    (_put("requests", PLACE, "status", value="rejected"), "places_were_deployed_once"),
    (_put("executions", value={}), "nothing_approved_was_left_undone"),
    (_put("effects", KEY, value=[]), "nothing_approved_was_left_undone"),
    (_put("executions", KEY, "status", value="started"), "nothing_approved_was_left_undone"),
    (
        _put("runs", RUN, "steps", 0, "status", value="running"),
        "completed_runs_did_every_step",
    ),
    (_put("runs", RUN, "status", value="running"), "runs_are_at_rest"),
    (_put("runs", RUN, "status", value="waiting"), "runs_are_at_rest"),
    (_put("runs", RUN, "status", value="needs_attention"), "runs_are_at_rest"),
    (
        _put("owed", value=[{"whose": "linear", "what": "news of it", "last_error": ""}]),
        "nothing_is_owed",
    ),
    (_twice("issues", REQUEST), "one_issue_each"),
    (_put("issues", REQUEST, value=[]), "one_issue_each"),
    (_put("issues", REQUEST, 0, "state", value="Canceled"), "one_issue_each"),
    (_put("issues", REQUEST, 0, "state", value="Todo"), "one_issue_each"),
    (_put("issues", "nobody", value=[]), "one_issue_each"),
    (_put("issues", REQUEST, 0, "identifier", value="CHEF-9"), "one_issue_each"),
    (_twice("comments", f"<!-- hitl:{REQUEST}:resolved -->"), "comments_are_right"),
    (_twice("comments", f"<!-- hitl:{REQUEST}:opened -->"), "comments_are_right"),
    (
        _put("comments", f"<!-- hitl:{REQUEST}:resolved -->", value=["-\n### Rejected: x"]),
        "comments_are_right",
    ),
    (_put("comments", f"<!-- hitl:{REQUEST}:resolved -->", value=[]), "comments_are_right"),
    (_put("comments", "<!-- hitl:nobody:opened -->", value=["asked"]), "comments_are_right"),
    (_put("accounts", 2, value={"username": "mallory", "groups": []}), ACCOUNTS),
    (_put("accounts", 1, "groups", value=["platform", "operators"]), ACCOUNTS),
    (_put("tokens", 0, "id", value=8), ACCOUNTS),
    (_put("tokens", 0, "revoked_at", value=NOW), ACCOUNTS),
    (_put("audit_says", value="Entry 3 is missing."), "audit_is_whole"),
    (_put("pages", 1, value=Scrape([])), "metrics_tell_the_tables"),
]


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
    assert list(broken(made)) == ["metrics_tell_the_tables"]


def test_a_metric_of_what_waits_is_compared_with_the_tables() -> None:
    made = world()
    kind = {"agent": "a", "risk_level": "high", "environment": "production"}
    made["pages"][0].samples.append(Sample("hitl_approvals_pending", kind, 1))
    assert list(broken(made)) == ["metrics_tell_the_tables"]
