"""A few hundred inputs of each kind; `make fuzz` sends twenty thousand."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client
from hypothesis import strategies as st
from pytest_django import Settings

from approvals import outbox
from tests.fuzz.calls import STATEFUL, Calls
from tests.fuzz.files import KINDS, Kind, contents
from tests.fuzz.findings import Findings
from tests.fuzz.hooks import OWN_DOING, SECRET, Hooks, hooks, samples
from tests.fuzz.rights import Rights
from tests.sandbox_process import LINEAR_API_KEY, Sandbox

# The same inputs each time: what is red stays red until it is mended.
SEED = 5


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The stand-in Linear, which says whose key the gateway holds."""
    sandbox = Sandbox.start(tmp_path_factory.mktemp("sandbox"), empty=True)
    yield sandbox
    sandbox.stop()


@pytest.fixture
def rights(db: None, settings: Settings, sandbox: Sandbox) -> Iterator[Rights]:
    """The people, at a gateway that tells nobody and hears Linear."""
    settings.HITL_CHANNELS = []
    settings.LINEAR_WEBHOOK_SECRETS = [SECRET]
    settings.LINEAR_API_KEY, settings.LINEAR_API_URL = LINEAR_API_KEY, sandbox.linear_url
    outbox.channels.cache_clear()
    yield Rights.made()
    outbox.channels.cache_clear()


@pytest.fixture
def _one_connection() -> Iterator[None]:
    """Keep the connection, which holds the test's transaction, beyond each call."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("_one_connection")
def test_no_call_fails_and_none_decides_without_a_right_to(rights: Rights) -> None:
    findings = Findings(SEED)
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", WSGIHandler())
    calls = Calls(schema, rights, SEED, waits=False)
    for label, cases in calls.each():
        findings.run(label, cases, calls.judge, 10)
    calls.in_a_row(findings, 40)
    assert findings.failures == {}, findings.report()
    assert list(rights.breaches()) == []
    # Some of them were let in, or nothing would be proven.
    for target in ("POST /api/approvals", STATEFUL):
        assert findings.inputs[f"{target}: 2xx"], findings.report()


def test_no_webhook_fails_and_none_decides_but_as_linear_says(
    rights: Rights,
) -> None:
    def send(body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        given = dict(headers)
        kind = given.pop("Content-Type", "application/json")
        response = Client().generic("POST", "/resume", body, content_type=kind, headers=given)
        return response.status_code, response.content

    findings = Findings(SEED)
    judged = Hooks(send, rights)
    findings.run("webhooks", hooks(samples()), judged.judge, 150)
    assert findings.failures == {}, findings.report()
    assert list(rights.breaches()) == []
    # Some of them did say something, or nothing would be proven.
    assert findings.inputs["webhooks: resumed"] + findings.inputs["webhooks: recorded"] > 3
    assert findings.inputs[f"webhooks: {OWN_DOING}"] > 0


def test_fewer_inputs_than_were_asked_for_are_a_failure() -> None:
    findings = Findings(SEED)
    with findings.at_least("answers", 3):
        findings.run("yes or no", st.booleans(), str, 3)
    assert "answers: only 2 of 3 inputs were made" in findings.report()
    enough = Findings(SEED)
    with enough.at_least("answers", 2):
        enough.run("yes or no", st.booleans(), str, 3)
    assert enough.failures == {}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_file_ends_a_start_but_by_a_sentence(kind: Kind, tmp_path: Path) -> None:
    findings = Findings(SEED)
    findings.run(kind.name, contents(kind), lambda content: kind.judge(content, tmp_path), 30)
    assert findings.failures == {}, findings.report()
    assert findings.inputs[f"{kind.name}: taken"] > 0
