"""Every line of a decision's path says what it is about, and none says what people wrote."""

import asyncio
import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from approvals import services, trail
from hitl_project.limits import Receive, Scope, Send
from hitl_project.logs import JsonLines, TextLines
from hitl_project.tracing import follow_web
from tests.approvals.scenes import opened, pass_deadline
from tests.e2e.gateway import new_label
from tests.e2e.stack import soon
from tests.hitl_project.followed import Followed, Line
from tests.hitl_project.test_settings import manage

# The first test waits for a whole gateway to start.
pytestmark = pytest.mark.timeout(300)

log = logging.getLogger(__name__)
OURS = {"approvals", "agents", "integrations"}
IDS = {"request_id", "workflow_id", "channel"}


def told(lines: list[Line], message: str, *facts: str) -> list[tuple[Any, ...]]:
    """The facts of each line with that message."""
    return [tuple(line[f] for f in facts) for line in lines if line["message"] == message]


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = log.makeRecord(log.name, logging.INFO, __file__, 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


@pytest.fixture
def stream() -> Iterator[StringIO]:
    """What this process logs meanwhile, as JSON."""
    handler = logging.StreamHandler(StringIO())
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.addHandler(handler)
    yield handler.stream
    root.removeHandler(handler)


def test_every_line_of_a_path_has_its_ids_and_none_what_people_wrote(followed: Followed) -> None:
    written = {name: f"{name}-{uuid4().hex}" for name in ("key", "words", "comment", "reason")}
    service = new_label()

    # An agent elsewhere asks by API, with a secret in its task; somebody says no, too late.
    task: dict[str, Any] = {
        "operation": "rotate_secret",
        "environment": "production",
        "api_key": written["key"],
    }
    body = {"workflow_id": f"nightly {service}", "thread_id": "nightly", "agent_name": "ops"}
    answer = followed.call("rosa", "POST", "/approvals", {**body, "task": task})
    asked = answer.json()["request_id"]
    comment = {"comment": written["comment"]}
    assert followed.call("ben", "POST", f"/approvals/{asked}/approve", comment).is_success
    assert followed.reject(asked, written["reason"]).status_code == 409
    followed.wait_until_told(asked, "linear")

    # A workflow asks; its issue is moved in Linear, whose webhook is signed; its action prints.
    facts = {"operation": "deploy", "environment": "production", "description": written["words"]}
    task = {**facts, "api_key": written["key"], "arguments": {"service": service}}
    run = followed.start("task", task, service, **followed.open_pull())
    request_id = run.request()
    issue = followed.issue(request_id)
    followed.wait_until_told(request_id, "linear")
    followed.sandbox.move(issue["identifier"], "Done", "ada")
    run.wait("completed")
    output = followed.stack.rows(
        "SELECT output FROM agents_execution WHERE key LIKE %s", f"%{request_id}"
    )
    assert service in output[0]["output"]
    for channel in ("linear", "github", "workflow"):
        followed.wait_until_told(request_id, channel)

    lines = followed.lines_about("request_id", request_id)
    assert told(lines, "Request opened", "channel", "risk_level") == [("workflow", "critical")]
    assert ("linear", "resumed") in told(lines, "Webhook received", "channel", "outcome")
    assert told(lines, "Vote cast", "channel", "choice") == [("linear", "approve")]
    assert told(lines, "Request decided", "channel", "status") == [("linear", "approved")]
    assert told(lines, "Run resumed", "channel", "status") == [("workflow", "approved")]
    assert told(lines, "Execution started", "channel", "attempt") == [("workflow", 1)]
    assert told(lines, "Execution finished", "channel", "status") == [("workflow", "succeeded")]
    assert told(lines, "Run ended", "channel", "status") == [("workflow", "completed")]
    delivered = {channel for (channel,) in told(lines, "Delivery succeeded", "channel")}
    assert delivered == {"linear", "github", "workflow"}
    assert all(line["workflow_id"] == run.id and line["channel"] for line in lines)

    # What the same run says without the request was said before there was one.
    others = [line for line in followed.lines_about("workflow_id", run.id) if line not in lines]
    assert [line["message"] for line in others] == ["Run started"]
    assert others[0]["channel"] == "api"

    lines = followed.lines_about("request_id", asked)
    assert told(lines, "Vote refused", "channel", "reason") == [("api", "already_decided")]
    # Django says so as well, once the verb is over.
    assert [line["logger"] for line in lines if line["level"] != "INFO"] == ["django.request"]
    assert all(line["workflow_id"] == body["workflow_id"] and line["channel"] for line in lines)

    # Whatever else the parts of the gateway have said since it was started is about a request, too.
    lines = [line for line in followed.lines() if line["logger"].partition(".")[0] in OURS]
    assert {line["logger"].partition(".")[0] for line in lines} == OURS
    about = [line for line in lines if line["message"] != "Run started"]
    assert [line for line in about if not line.keys() >= IDS] == []

    everything = json.dumps(followed.lines())
    for text in (*written.values(), service + "\\n", "Replacing", *followed.secrets().values()):
        assert text not in everything, text


def test_a_delivery_that_fails_says_which_one_and_why(followed: Followed) -> None:
    followed.sandbox.fault("linear", "status", "issueCreate", status=500, times=1)
    run = followed.ask("deploy")
    request_id = run.request()
    followed.wait_until_told(request_id, "linear")
    lines = followed.lines_about("request_id", request_id)
    (failed,) = (line for line in lines if line["message"] == "Delivery failed")
    assert (failed["level"], failed["workflow_id"], failed["channel"], failed["attempts"]) == (
        *("WARNING", run.id, "linear", 1),
    )
    assert failed["error"].startswith("Linear answered 500")
    assert ("linear", 2) in told(lines, "Delivery succeeded", "channel", "attempts")


def test_every_line_of_every_process_is_one_json_object(followed: Followed) -> None:
    for name, arguments in (
        ("web", ("web", "--port", str(followed.stack.port))),
        ("worker", ("worker", "--queues", "runs,channels,sweeps", "--concurrency", "5")),
        ("beat", ("beat",)),
    ):
        followed.stop(name)
        followed.stack.run(name, *arguments)
    followed.stack.wait_until_ready()
    lines = followed.lines()
    for line in lines:
        assert list(line)[:4] == ["time", "level", "logger", "message"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    said = {(line["logger"], line["message"]) for line in lines}
    assert ("uvicorn.error", "Application startup complete.") in said
    assert ("celery.worker", "worker: Warm shutdown (MainProcess)") in said
    assert ("celery.beat", "beat: Starting...") in said


def test_nothing_leaks_from_one_task_to_the_next(followed: Followed) -> None:
    with followed.forking():
        followed.stack.run("leaks", "worker", "--queues", "leaks", "--concurrency", "1")
    for number in range(3):
        followed.send_task("fail", "leaks", f"failed-{number}")
        followed.send_task("idle", "leaks", number)
        followed.send_task("work", "leaks", f"worked-{number}")
    followed.send_task("idle", "leaks", 3)
    soon(lambda: "Printed 3" in followed.stack.log("leaks").read_text(), "all tasks were done")
    followed.stop("leaks")
    lines = followed.lines("leaks")

    failed = [line for line in lines if "ValueError" in line.get("exception", "")]
    assert [line["request_id"] for line in failed] == ["failed-0", "failed-1", "failed-2"]
    assert {(line["workflow_id"], line["channel"]) for line in failed} == {("wf", "linear")}
    working = [line["request_id"] for line in lines if line["message"] == "Working"]
    assert working == ["worked-0", "worked-1", "worked-2"]

    idle = [line for line in lines if re.search(r"(Idle|Warning|Printed) \d", line["message"])]
    assert len(idle) == 12
    assert all(set(line) == {"time", "level", "logger", "message"} for line in idle)


def test_each_web_request_knows_its_own_ids_however_they_interleave() -> None:
    seen: dict[str, list[Mapping[str, str]]] = {}
    gate = asyncio.Event()

    def view(name: str) -> None:
        with trail.step("cast_vote", request_id=name, via="api"):
            trail.know(workflow_id=f"wf-{name}")
            seen[name].append(trail.ids())
            if name.startswith("bad"):
                raise ValueError(name)

    async def application(scope: Scope, _: Receive, __: Send) -> None:
        name = str(scope["path"])
        seen[name] = [trail.ids()]
        await gate.wait()
        try:
            await sync_to_async(view)(name)
        except ValueError:
            await asyncio.sleep(0)
        seen[name].append(trail.ids())

    async def serve() -> None:
        # As a request that is begun in the middle of another one, by a client that pipelines.
        with trail.step("deliver", request_id="another", workflow_id="another"):
            followed = follow_web(application)
            names = [f"{kind}{number}" for kind in ("good", "bad") for number in range(10)]
            scopes: list[Scope] = [
                {"type": "http", "method": "GET", "path": name, "headers": []} for name in names
            ]
            calls = [followed(scope, None, None) for scope in scopes]  # type: ignore[arg-type]
            tasks = [asyncio.create_task(call) for call in calls]
            await asyncio.sleep(0)
            gate.set()
            await asyncio.gather(*tasks)

    asyncio.run(serve())
    assert len(seen) == 20
    for name, (before, within, after) in seen.items():
        ids = {"request_id": name, "channel": "api", "workflow_id": f"wf-{name}"}
        assert (before, within) == ({}, ids)
        assert after == (ids if name.startswith("bad") else {})


def test_a_step_about_another_request_keeps_nothing_but_the_channel() -> None:
    with trail.step("deliver", request_id="one", workflow_id="wf-one", channel="workflow"):
        with trail.step("cancel_request", request_id="two", via="system"):
            assert trail.ids() == {"request_id": "two", "channel": "workflow"}
        with trail.step("execute", request_id="one", via="system"):
            assert trail.ids()["workflow_id"] == "wf-one"
    assert trail.ids() == {}


@pytest.mark.django_db(transaction=True)
def test_each_line_of_a_batch_says_which_request_it_is_about(stream: StringIO) -> None:
    requests = {str(opened(workflow_id=f"wf-{number}")): f"wf-{number}" for number in range(3)}
    pass_deadline(*map(UUID, requests))
    assert services.expire_overdue() == 3
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    found = told(lines, "Request decided", "request_id", "workflow_id", "status", "channel")
    assert sorted(found) == sorted((*pair, "expired", "system") for pair in requests.items())


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with trail.step("cast_vote", request_id="one"), transaction.atomic():
        trail.tell(log, "Vote cast", choice="approve")
        with transaction.atomic():
            trail.tell(log, "Request decided", status="approved")
            transaction.set_rollback(True)
        assert caplog.messages == []
    assert caplog.messages == ["Vote cast"]


def test_a_line_shows_no_more_than_what_was_told() -> None:
    with trail.step("deliver", request_id="one", channel="linear"):
        extra = {"facts": {"attempts": 2}, "request": "a request", "data": {"args": "arguments"}}
        shown = record("Delivered %s\nat once", "all", **extra)
        line = json.loads(JsonLines().format(shown))
        text = TextLines().format(shown)
    assert line | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "logger": __name__,
        "message": "Delivered all\nat once",
        "request_id": "one",
        "channel": "linear",
        "attempts": 2,
    }
    assert text.endswith(
        f"INFO {__name__}: Delivered all\nat once request_id=one channel=linear attempts=2"
    )


def test_no_id_passes_for_a_line_of_its_own() -> None:
    with trail.step("deliver", workflow_id="nightly\n2026-11-01 INFO root: Vote cast"):
        assert "\n" not in TextLines().format(record("Delivered"))
        assert "\n" not in JsonLines().format(record("Delivered"))


def test_a_traceback_is_one_field_of_its_line() -> None:
    try:
        raise ValueError("no")
    except ValueError:
        made = record("Failed", exc_info=sys.exc_info())
    whole = JsonLines().format(made)
    assert "\n" not in whole
    assert json.loads(whole)["exception"].splitlines()[-1] == "ValueError: no"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"HITL_LOG_FORMAT": "xml"}, "HITL_LOG_FORMAT must be json or text, not 'xml'."),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"},
            "OTEL_EXPORTER_OTLP_ENDPOINT must be an http(s) address",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "collector:4318"},
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be an http(s) address",
        ),
    ],
)
def test_a_wrong_setting_stops_the_start(changes: dict[str, str], sentence: str) -> None:
    stopped = manage("check", **changes)
    assert stopped.returncode != 0
    assert sentence in stopped.stderr
    assert "Traceback" not in stopped.stderr
