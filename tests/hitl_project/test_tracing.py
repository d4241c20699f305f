"""Spans of real processes at a real collector: what leads where, and what they do not say."""

import json
import os
import socket
import subprocess
import sys
import time
from uuid import uuid4

import pytest

from hitl_project import children
from tests.e2e.gateway import new_label
from tests.e2e.stack import soon
from tests.hitl_project.followed import Followed
from tests.hitl_project.test_settings import COMPLETE, ROOT
from tests.waiting import answers

# The first test waits for a whole gateway to start.
pytestmark = pytest.mark.timeout(300)

OURS = {name: value for name, value in COMPLETE.items() if not name.startswith("HITL_")}
# Serves a page and does a step, then tells which modules it loaded and what it connected to.
PROGRAM = """
import asyncio, json, sys
connected = []
sys.addaudithook(lambda event, args: event == "socket.connect" and connected.append(str(args[1])))
import django
django.setup()
from asgiref.testing import ApplicationCommunicator
from approvals import trail
from hitl_project import tracing
from hitl_project.asgi import application

async def serve():
    traced = b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"
    headers = [(b"host", b"127.0.0.1"), (b"traceparent", traced)]
    scope = {"type": "http", "method": "GET", "path": "/healthz", "query_string": b"",
             "headers": headers}
    page = ApplicationCommunicator(application, scope)
    await page.send_input({"type": "http.request", "body": b""})
    return (await page.receive_output(10))["status"]

status = asyncio.run(serve())
with trail.step("cast_vote", request_id="one"):
    traceparent = trail.traceparent()
tracing.flush()
print(json.dumps([status, traceparent, connected, sorted(sys.modules)]))
"""
# As where OpenTelemetry is not installed.
WITHOUT_PACKAGES = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


def start_deploy(followed: Followed, words: str, trace: str) -> tuple[str, str]:
    """Start a deploy as an agent that traces itself; the workflow and the request."""
    task = {"operation": "deploy", "environment": "production", "description": words}
    started = followed.stack.http.post(
        "/api/workflows?password=in-the-address",
        json={"workflow": "task", "task": {**task, "arguments": {"service": words}}},
        headers={
            "Authorization": f"Bearer {followed.token('rosa')}",
            "traceparent": f"00-{trace}-00f067aa0ba902b7-01",
        },
    )
    assert started.status_code == 202, started.text
    workflow_id = started.json()["workflow_id"]
    row = followed.stack.wait_for_row(
        "SELECT id FROM approval_requests WHERE workflow_id = %s", workflow_id, seconds=40
    )
    return workflow_id, str(row["id"])


def test_a_decision_and_its_run_lead_to_the_trace_that_opened_the_request(
    followed: Followed,
) -> None:
    collector, agents_trace, words = followed.collector, uuid4().hex, new_label()
    workflow_id, request_id = start_deploy(followed, words, agents_trace)
    followed.wait_until_told(request_id, "linear")
    comment = {"comment": f"comment-{words}"}
    voted = followed.call("ben", "POST", f"/approvals/{request_id}/approve", comment)
    assert voted.status_code == 200
    followed.wait_until_told(request_id)

    # One trace goes from the web server through the worker to Linear. It is linked to the agent's,
    # which it is no part of: anybody could claim to be in any trace.
    opened = collector.wait("open_request", request_id)
    started = collector.wait_for(lambda span: span.links == (agents_trace,), "the agent's call")
    assert (started.name, started.kind) == ("POST /api/workflows", "SPAN_KIND_SERVER")
    assert started.facts["http.response.status_code"] == 202
    trace = started.trace
    assert trace != agents_trace
    assert opened.trace == trace
    assert opened.links == ()
    told = collector.wait("deliver", request_id, channel="linear")
    called = collector.wait("Linear IssueCreate", request_id)
    assert (called.kind, called.facts["hitl.status_code"]) == ("SPAN_KIND_CLIENT", 200)
    assert called.trace == told.trace

    # The vote came in a trace of its own; all of it leads back to the one that opened the request.
    decided = collector.wait("decide", request_id, status="approved")
    assert decided.trace != trace
    root = collector.web_request_of(decided)
    assert root.name == "POST /api/approvals/<reference>/approve"
    assert collector.wait("cast_vote", request_id).trace == root.trace
    after = [collector.wait(name, request_id) for name in ("cast_vote", "resume_run", "execute")]
    after += [decided, collector.wait("deliver", request_id, channel="workflow")]
    for span in after:
        assert span.links == (trace,), span
        assert span.facts["hitl.workflow_id"] == workflow_id
        assert not span.failed
    resumed = after[1]
    assert resumed.facts["hitl.status"] == "completed"
    assert after[2].facts["hitl.status"] == "succeeded"

    # Lines of log say which trace they belong to.
    lines = followed.lines_about("request_id", request_id)
    ids = {line["message"]: (line["trace_id"], line["span_id"]) for line in lines}
    assert ids["Request opened"] == (trace, opened.id)
    assert ids["Request decided"] == (root.trace, decided.id)

    # And no span says what people or agents wrote, or what lets anybody in.
    said = "".join(span.text for span in collector.spans)
    for text in (words, "in-the-address", *followed.secrets().values()):
        assert text not in said, text


def test_what_fails_is_marked_with_the_type_of_its_fault_alone(followed: Followed) -> None:
    request_id = str(uuid4())
    with followed.forking():
        followed.stack.run("faults", "worker", "--queues", "faults", "--concurrency", "1")
    followed.send_task("fail", "faults", request_id)
    span = followed.collector.wait("deliver", request_id)
    followed.stop("faults")
    assert span.failed
    assert "ValueError" in span.text
    assert "This is the failure." not in span.text


def test_a_refusal_is_an_answer_and_no_fault(followed: Followed) -> None:
    _, request_id = start_deploy(followed, new_label(), uuid4().hex)
    refused = followed.call("rosa", "POST", f"/approvals/{request_id}/cancel", {"reason": "x"})
    assert refused.status_code == 200
    late = followed.call("ben", "POST", f"/approvals/{request_id}/approve", {})
    assert late.status_code == 409
    span = followed.collector.wait("cast_vote", request_id, answer="AlreadyDecided")
    root = followed.collector.web_request_of(span)
    assert (span.failed, root.failed) == (False, False)
    assert root.facts["http.response.status_code"] == 409


def test_looking_for_work_and_being_looked_at_makes_no_spans(followed: Followed) -> None:
    followed.wait_for_sweep()
    token = {"Authorization": f"Bearer {followed.secrets()['HITL_METRICS_TOKEN']}"}
    for path in ("/healthz", "/readyz", "/metrics", "/static/hitl.css"):
        assert followed.stack.http.get(path, headers=token).status_code == 200
    _, request_id = start_deploy(followed, new_label(), uuid4().hex)
    followed.collector.wait("open_request", request_id)
    names = {span.name for span in followed.collector.spans}
    assert "POST /api/workflows" in names
    assert names.isdisjoint({"GET", "GET /healthz", "GET /readyz", "GET /metrics"})
    assert "approvals.tasks.sweep" not in names


def test_a_process_that_is_asked_to_stop_sends_its_last_spans(followed: Followed) -> None:
    followed.stack.environment["OTEL_BSP_SCHEDULE_DELAY"] = "600000"
    for name in ("web", "worker"):
        followed.stop(name)
    with followed.forking():
        followed.stack.start_part("web")
        followed.stack.start_part("worker")
    followed.stack.wait_until_ready()
    _, request_id = start_deploy(followed, new_label(), uuid4().hex)
    assert followed.approve(request_id).status_code == 200
    followed.wait_until_told(request_id)
    assert followed.collector.about(request_id) == []
    for name in ("web", "worker"):
        followed.stop(name)
    names = {span.name for span in followed.collector.about(request_id)}
    assert {"open_request", "cast_vote", "decide", "deliver", "resume_run", "execute"} <= names
    followed.stack.environment["OTEL_BSP_SCHEDULE_DELAY"] = "200"
    followed.stack.run("web", "web", "--port", str(followed.stack.port))
    followed.stack.start_part("worker")
    followed.stack.wait_until_ready()


def test_a_collector_that_is_gone_holds_nothing_up(followed: Followed) -> None:
    stack, port = followed.stack, children.free_port()
    collector, stack.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = (
        stack.environment["OTEL_EXPORTER_OTLP_ENDPOINT"],
        f"http://127.0.0.1:{children.free_port()}",
    )
    with followed.forking():
        stack.run("alone", "web", "--port", str(port))
    stack.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector
    address = f"http://127.0.0.1:{port}/accounts/login/"
    soon(lambda: answers(address), "the web server answers")
    started_at = time.monotonic()
    followed.stop("alone")
    assert time.monotonic() - started_at < 15
    refused = [line for line in followed.lines("alone") if "opentelemetry" in line["logger"]]
    assert refused
    assert {line["level"] for line in refused} <= {"WARNING", "ERROR"}


@pytest.mark.parametrize("installed", [True, False])
def test_without_an_endpoint_nothing_is_loaded_and_nobody_is_connected_to(installed: bool) -> None:
    done = run(PROGRAM if installed else WITHOUT_PACKAGES + PROGRAM)
    assert done.returncode == 0, done.stderr
    status, traceparent, connected, modules = json.loads(done.stdout)
    assert (status, traceparent, connected) == (200, None, [])
    assert {"approvals.spans", "hitl_project.otlp", "opentelemetry.sdk.trace"}.isdisjoint(modules)
    assert not [name for name in modules if name.startswith("opentelemetry.exporter")]


@pytest.mark.parametrize(
    ("name", "path"),
    [("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/v1/traces")],
)
def test_either_endpoint_is_enough_to_send_traces(name: str, path: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as collector:
        port = collector.getsockname()[1]
        # It never answers, and nobody has to wait for that.
        silent = {"OTEL_EXPORTER_OTLP_TIMEOUT": "1", "HITL_PRIVATE_NETWORKS": "127.0.0.1/32"}
        done = run(PROGRAM, **{name: f"http://127.0.0.1:{port}{path}"}, **silent)
    assert done.returncode == 0, done.stderr
    _, traceparent, connected, _ = json.loads(done.stdout)
    assert traceparent
    assert str(port) in " ".join(connected)


def test_an_endpoint_without_the_packages_stops_the_start_with_a_sentence() -> None:
    start = "from django.core.management import execute_from_command_line as run; run()"
    stopped = run(
        f"{WITHOUT_PACKAGES}sys.argv = ['manage.py', 'check']\n{start}",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
    )
    assert stopped.returncode != 0
    assert "install opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http" in stopped.stderr


def run(program: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a program with the project's settings, without PostgreSQL and Redis."""
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "hitl_project.settings",
            **OURS,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
