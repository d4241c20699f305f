"""What must hold of the actions: what was approved was done, once, and nothing else was."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.chaos.facts import ENDED_RUN, Facts, Json, digest, seconds, settlements, words
from tests.chaos.plans import CHANGEOVER, GRAPHS

# What the shipped rules let through, of all that is asked for here.
UNATTENDED = {("deploy", "staging"), ("rollback", "staging"), ("run_ci", "test")}
# What an idempotent call may be sent each time that it is begun; any other is sent once.
CALLS_AN_ATTEMPT = 4
# The far side of these may leave a question open even where a repetition does no harm.
FAR = {"http", "github_workflow"}
RESTORED = "This database was restored from a backup"


def nothing_ran_unapproved(facts: Facts) -> Iterator[str]:
    """Whatever happened was approved, just so, and in time; or needed no approval."""
    for key in facts.effects:
        if key and key not in facts.executions:
            yield f"Something ran under the key {key}, which no execution has."
    for key, row in facts.executions.items():
        kind, _, request_id = key.partition(":")
        if kind != "request":
            step = facts.runs[str(row["run_id"])]["steps"][row["position"]]
            if (step["operation"], step["environment"]) not in UNATTENDED:
                yield f"{key} ran without a request: {step}"
            continue
        request = facts.requests[request_id]
        if request["status"] != "approved":
            yield f"{key} was begun, but the request is {request['status']}."
            continue
        if row["digest"] != digest(request["action"]) or row["action"] != request["action"]:
            yield f"{key} is another action than the one that was approved."
        if row["status"] == "held":
            continue
        limit = request["policy"]["execute_within_seconds"]
        if not 0 <= seconds(request["decided_at"], row["started_at"]) <= limit:
            yield f"{key} was begun at {row['started_at']}, decided {request['decided_at']}."


def what_happened_was_approved(facts: Facts) -> Iterator[str]:
    """Whatever happened outside is, word by word, what was approved, and no earlier than that."""
    for key, happened in facts.effects.items():
        row = facts.executions.get(key)
        if row is None:
            continue
        request = facts.requests.get(key.removeprefix("request:"))
        for effect in happened:
            told = {effect.get("operation"), *effect.get("options", {}).values()} - {None}
            parts = ("body", "inputs", "workflow", "ref", "repository")
            # What GitHub calls a repository, an action calls a repo.
            action = {"repository": row["action"].get("repo"), **row["action"]}
            if told - {*action.get("argv", ())} or any(
                effect.get(part, action.get(part)) != action.get(part) for part in parts
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
        if len(happened) > _most(row):
            yield f"{key} happened {len(happened)} times, begun {row['attempts']} times."
        # The far side does the same once, however often it is told.
        calls = max((one.get("calls", 1) for one in happened), default=0)
        if calls > _most(row) * (CALLS_AN_ATTEMPT if row["action"]["idempotent"] else 1):
            yield f"{key} was called {calls} times, begun {row['attempts']} times."
    for request_id, row in facts.requests.items():
        begun = [one for one in facts.audit[request_id] if one["name"] == "execution.started"]
        action = row["action"] or {}
        allowed = 1 + settlements(facts, row["workflow_id"])["retry"]
        if len(begun) > allowed and not action.get("idempotent"):
            yield f"The action of {request_id} was begun {len(begun)} times."
    steps = Counter((row["run_id"], row["position"]) for row in facts.executions.values())
    for (run, position), keys in steps.items():
        if keys > 1:
            yield f"Step {position} of the run {run} was begun under {keys} keys."
    yield from _repeated_by_name(facts)


def _repeated_by_name(facts: Facts) -> Iterator[str]:
    """What happened more often than it may to what a life alone is about, by whichever key."""
    happened: dict[Any, list[tuple[str, str]]] = defaultdict(list)
    for key, effects in facts.effects.items():
        for effect in effects:
            what = effect.get("operation") or effect.get("workflow") or effect.get("name")
            about = [effect.get(part) for part in ("options", "body", "inputs", "ref")]
            for word in {str(word) for word in words(about)}:
                happened[word].append((str(what), key))
    for life in facts.lives:
        if life["plan"]["operation"] in GRAPHS:
            continue
        pull = life["plan"]["pull"]
        names = [life["plan"]["label"], *([] if pull is None else [str(pull), f"change-{pull}"])]
        named = [one for name in names for one in happened[name]]
        rows = [facts.executions[key] for _, key in named if key in facts.executions]
        most = max(map(_most, rows), default=1)
        for what, number in Counter(what for what, _ in named).items():
            if number > most:
                yield f"{what} happened {number} times to {life['plan']['label']}."


def _most(execution: Json) -> int:
    return int(execution["attempts"]) if execution["action"].get("idempotent") else 1


def places_were_deployed_once(facts: Facts) -> Iterator[str]:
    """A graph of somebody else's did what was approved once, and nothing else."""
    done: dict[str, list[str]] = defaultdict(list)
    for effect in facts.effects.get("", ()):
        options = effect.get("options", {})
        done[options.get("label", "")].append(options.get("place", ""))
    for life in facts.lives:
        if life["plan"]["operation"] not in GRAPHS:
            continue
        places = done[life["plan"]["label"]]
        rows = [facts.requests[key] for key in life["requests"]]
        approved = {row["task"]["place"] for row in rows if row["status"] == "approved"}
        if len(places) != len(set(places)) or set(places) - approved:
            yield f"{life['plan']['label']} deployed {places}, approved were {approved}."
        run = facts.runs[life["workflow_id"]]
        if run["status"] in {"completed", "rejected"} and set(places) != approved:
            yield f"{life['plan']['label']} is {run['status']} without {approved - set(places)}."


def nothing_approved_was_left_undone(facts: Facts) -> Iterator[str]:
    """What was approved was done, or a person was told why not, or somebody did not want it."""
    for key, row in facts.requests.items():
        if row["status"] != "approved" or row["action"] is None:
            continue
        run = facts.runs[row["workflow_id"]]
        execution = facts.executions.get(f"request:{key}")
        stands = "not begun" if execution is None else execution["status"]
        if stands in {"succeeded", "failed"} and facts.effects.get(f"request:{key}"):
            continue
        if run["status"] == "needs_attention" and (
            run["attention"].startswith(RESTORED)
            or (execution is not None and _may_have_happened(facts, execution))
        ):
            continue
        # Nobody wants it any more; but where it was begun, people see what is known of it.
        if run["status"] == "cancelled" and stands in {"not begun", "unknown"}:
            continue
        if run["status"] == "failed" and settlements(facts, row["workflow_id"])["abandon"]:
            continue
        yield f"Request {key} is approved, but its action is {stands}; the run: {run['status']}."


def people_are_needed_for_a_reason(facts: Facts) -> Iterator[str]:
    """A run needs a person where nobody else can know: an action may or may not have happened."""
    for key, run in facts.runs.items():
        if run["status"] != "needs_attention" or run["attention"].startswith(RESTORED):
            continue
        rows = [row for row in facts.executions.values() if str(row["run_id"]) == key]
        if run["graph"] in GRAPHS:
            # What a graph of somebody else's does is written down nowhere before it does it.
            in_doubt = run["attention"].startswith("A worker died while")
        else:
            in_doubt = any(_may_have_happened(facts, row) for row in rows)
        if not in_doubt:
            yield f"Run {key} of {run['task']} needs a person: {run['attention']}"


def _may_have_happened(facts: Facts, row: Json) -> bool:
    """Whether only a person can say how an action stands, or whether it may still be begun."""
    far = row["action"]["executor"] in FAR
    if row["status"] == "held":
        key = str(row["request_id"])
        if far and not facts.effects.get(f"request:{key}"):
            # The other side could not be reached, so the approval is still good.
            return True
        limit = facts.requests[key]["policy"]["execute_within_seconds"]
        return bool(seconds(facts.requests[key]["decided_at"], row["started_at"]) > limit)
    if row["status"] != "unknown":
        return False
    if not row["action"]["idempotent"]:
        return True
    if "an earlier attempt has no known end" in row["summary"]:
        # It was begun again, which came to nothing or failed.
        return bool(row["attempts"] > 1)
    # After a death it is begun again; only the other side may leave it open how it ended.
    return far and not str(row["summary"]).startswith("The worker died")


def steps_were_taken(facts: Facts) -> Iterator[str]:
    """What a run that has ended says of its steps is so, and it has left out none."""
    done = {
        (str(row["run_id"]), row["position"])
        for key, row in facts.executions.items()
        if row["status"] == "succeeded" and facts.effects.get(key)
    }
    for key, run in facts.runs.items():
        if run["status"] not in ENDED_RUN:
            continue
        undone = [step["name"] for step in run["steps"] if step["status"] != "succeeded"]
        if run["status"] == "completed" and undone:
            yield f"Run {key} is completed, but {', '.join(undone)} did not succeed."
        if run["status"] == "rejected" and run["graph"] not in GRAPHS and len(undone) != 1:
            yield f"Run {key} is rejected, but of its steps are {', '.join(undone) or 'none'}."
        for position, step in enumerate(run["steps"]):
            if step["status"] == "succeeded" and (key, position) not in done:
                yield f"Run {key} says that {step['name']} succeeded, of which nobody knows."
    for life in facts.lives:
        end = facts.runs.get(life["workflow_id"], {"status": ""})
        if life["plan"]["operation"] == CHANGEOVER and end["status"] in {"completed", "rejected"}:
            names = [step["name"] for step in end["steps"]]
            if names != ["migrate", "deploy", *["undo"] * (end["status"] == "rejected")]:
                yield f"{life['plan']['label']} is {end['status']} after {names}."
