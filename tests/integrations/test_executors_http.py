"""An approved call is made once, or again only where that cannot do anything twice."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.actions import ActionResult, NotBegun, OutcomeUnknown, load_executor
from approvals.masking import MASK
from integrations.executors.output import OUTPUT_BYTES
from tests.sandbox_process import Sandbox

BASE = "HITL_OPERATIONS_URL"


@pytest.fixture(autouse=True)
def _base(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BASE, sandbox.hooks_url)


def call(url: str, **changes: Any) -> dict[str, Any]:
    return {
        "executor": "http",
        "method": "POST",
        "url": url,
        "base_url_env": BASE,
        "headers_env": {},
        "body": {"database": "main", "target": "latest"},
        "timeout_seconds": 10,
        "idempotent": False,
        **changes,
    }


def carry_out(action: dict[str, Any], key: str = "request-7") -> ActionResult:
    return load_executor("http")(action, idempotency_key=key)


@contextmanager
def serving(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server that answers every POST and PUT in one odd way; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            answer(self)

        def do_PUT(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def trickle(handler: BaseHTTPRequestHandler, head: bytes) -> None:
    """Answer with `head`, and then with a byte now and then, until nobody listens."""
    never = threading.Event()
    try:
        handler.wfile.write(head)
        while not never.wait(0.1):
            handler.wfile.write(b"x")
    except OSError:
        return


def test_a_call_is_made_with_its_body_and_key(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATIONS_KEY", "very private")
    action = call(f"{sandbox.hooks_url}/migrations", headers_env={"X-Api-Key": "MIGRATIONS_KEY"})
    result = carry_out(action)
    assert (result.succeeded, result.summary) == (True, "was answered 200")
    assert result.data == {"status": 200}
    assert '"done":true' in result.output
    (done,) = sandbox.hook_calls("migrations")
    assert (done["idempotency_key"], done["body"], done["calls"]) == (
        "request-7",
        action["body"],
        1,
    )
    (request,) = sandbox.requests("hooks")
    assert request["headers"]["x-api-key"] == "very private"


def test_a_lost_reply_of_an_idempotent_call_is_asked_for_again_under_the_same_key(
    sandbox: Sandbox,
) -> None:
    sandbox.fault("hooks", "lose_reply", times=2)
    result = carry_out(call(f"{sandbox.hooks_url}/migrations", idempotent=True))
    assert result.succeeded
    (done,) = sandbox.hook_calls("migrations")
    assert (done["idempotency_key"], done["calls"]) == ("request-7", 3)


def test_a_call_is_made_by_the_method_that_was_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    methods = []

    def note(handler: BaseHTTPRequestHandler) -> None:
        methods.append(handler.command)
        handler.send_response(204)
        handler.end_headers()

    with serving(note) as url:
        monkeypatch.setenv(BASE, url)
        assert carry_out(call(f"{url}/migrations", method="PUT")).succeeded
    assert methods == ["PUT"]


@pytest.mark.parametrize(
    "fault", [{"kind": "lose_reply"}, {"kind": "reset"}, {"kind": "status", "status": 502}]
)
def test_a_call_that_may_have_been_done_is_not_made_twice(
    sandbox: Sandbox, fault: dict[str, Any]
) -> None:
    sandbox.fault("hooks", **fault)
    with pytest.raises(OutcomeUnknown, match="may or may not have taken effect"):
        carry_out(call(f"{sandbox.hooks_url}/migrations"))
    assert len(sandbox.requests("hooks")) == 1


@pytest.mark.parametrize("refusal", [409, 429, 401, 307])
def test_a_refused_repetition_says_nothing_of_the_attempt_before_it(
    monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    answers = [504, refusal]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(answers.pop(0))
        handler.end_headers()

    with serving(answer) as url:
        monkeypatch.setenv(BASE, url)
        with pytest.raises(
            OutcomeUnknown, match=f"it was answered 504, and then was answered {refusal}"
        ):
            carry_out(call(f"{url}/migrations", idempotent=True))
    assert answers == []


def test_an_idempotent_call_that_is_never_answered_ends_as_unknown(sandbox: Sandbox) -> None:
    sandbox.fault("hooks", "status", status=503)
    with pytest.raises(OutcomeUnknown, match="was answered 503"):
        carry_out(call(f"{sandbox.hooks_url}/migrations", idempotent=True))
    assert len(sandbox.requests("hooks")) == 4


def test_a_call_that_is_answered_too_late_ends_at_its_time_limit(sandbox: Sandbox) -> None:
    sandbox.fault("hooks", "hold", seconds=30)
    started = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="got no answer"):
        carry_out(call(f"{sandbox.hooks_url}/migrations", idempotent=True, timeout_seconds=1))
    assert time.monotonic() - started < 5
    sandbox.clear_faults()


@pytest.mark.parametrize("idempotent", [False, True])
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 100 Continue\r\nx: ", b"HTTP/1.1 200 OK\r\nx: "])
def test_an_answer_that_trickles_in_ends_at_the_time_limit(
    monkeypatch: pytest.MonkeyPatch, head: bytes, idempotent: bool
) -> None:
    calls = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(handler.path)
        trickle(handler, head)

    started = time.monotonic()
    with serving(answer) as address:
        monkeypatch.setenv(BASE, address)
        action = call(f"{address}/migrations", timeout_seconds=1, idempotent=idempotent)
        with pytest.raises(OutcomeUnknown, match=r"it got no answer \(timed out\)\.$"):
            carry_out(action)
        assert time.monotonic() - started < 3
    assert calls == ["/migrations"]


@pytest.mark.parametrize(("status", "succeeded"), [(200, True), (404, False)])
def test_an_answer_whose_body_trickles_in_counts_by_its_status(
    monkeypatch: pytest.MonkeyPatch, status: int, succeeded: bool
) -> None:
    head = b"HTTP/1.1 %d Fine\r\nContent-Length: 1000\r\n\r\nbegun: " % status
    started = time.monotonic()
    with serving(lambda handler: trickle(handler, head)) as address:
        monkeypatch.setenv(BASE, address)
        result = carry_out(call(f"{address}/migrations", timeout_seconds=1))
        assert time.monotonic() - started < 3
    assert (result.succeeded, result.data) == (succeeded, {"status": status})
    assert re.fullmatch(r"begun: x+\n\[the rest of the answer was not read\]", result.output)


def test_an_idempotent_call_is_repeated_on_what_is_left_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        calls.append(handler.headers["Idempotency-Key"])
        if len(calls) == 1:
            handler.send_error(503)
        else:
            trickle(handler, b"")

    started = time.monotonic()
    with serving(answer) as address:
        monkeypatch.setenv(BASE, address)
        with pytest.raises(OutcomeUnknown, match="got no answer"):
            carry_out(call(f"{address}/migrations", timeout_seconds=1, idempotent=True))
        assert time.monotonic() - started < 3
    assert calls == ["request-7", "request-7"]


def test_a_call_whose_name_is_looked_up_for_too_long_was_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = threading.Event()

    def look_up(*_: object, **__: object) -> list[Any]:
        found.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setenv(BASE, "http://operations.example")
    started = time.monotonic()
    try:
        with pytest.raises(NotBegun, match=r"^The call was not begun: it could not be made"):
            carry_out(call("http://operations.example/migrations", timeout_seconds=1))
        assert time.monotonic() - started < 3
    finally:
        found.set()


@pytest.mark.parametrize("idempotent", [False, True])
def test_a_refused_call_fails_at_once(sandbox: Sandbox, idempotent: bool) -> None:
    sandbox.fault("hooks", "status", status=422, message="no such migration")
    result = carry_out(call(f"{sandbox.hooks_url}/migrations", idempotent=idempotent))
    assert (result.succeeded, result.summary) == (False, "was answered 422")
    assert "no such migration" in result.output
    assert len(sandbox.requests("hooks")) == 1


def test_a_call_that_reaches_nobody_was_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv(BASE, address)
    with pytest.raises(NotBegun, match=r"^The call was not begun: it could not be made"):
        carry_out(call(f"{address}/migrations", timeout_seconds=2))


def test_a_call_to_what_is_no_address_was_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BASE, "http://0177.0.0.1")
    with pytest.raises(NotBegun, match=r"^The call was not begun: it could not be made"):
        carry_out(call("http://0177.0.0.1/rollback"))


def test_a_redirect_is_not_followed(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", f"{sandbox.hooks_url}/migrations")
        handler.end_headers()

    with serving(redirect) as address:
        monkeypatch.setenv(BASE, address)
        result = carry_out(call(f"{address}/migrations"))
    assert (result.succeeded, result.data) == (False, {"status": 307})
    assert "which is not followed" in result.summary
    assert sandbox.requests("hooks") == []


def test_an_answer_is_read_up_to_a_bound_and_made_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"\x00\xff" * 4096)
        except OSError:
            return

    with serving(endless) as address:
        monkeypatch.setenv(BASE, address)
        result = carry_out(call(f"{address}/migrations"))
    assert result.succeeded
    assert len(result.output) < OUTPUT_BYTES + 100
    assert "\x00" not in result.output
    assert result.output.endswith("[the rest of the answer was not read]")


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://operations.example.evil.example/migrations",
        "http://operations.example@evil.example/migrations",
        "file:///etc/passwd",
    ],
)
def test_nothing_outside_the_configured_address_is_called(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv(BASE, "http://operations.example")
    with pytest.raises(NotBegun, match="not below the one that HITL_OPERATIONS_URL holds"):
        carry_out(call(url))


def test_an_answer_that_repeats_a_credential_is_kept_without_it(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATIONS_KEY", "Bearer very private")
    sandbox.fault("hooks", "status", status=422, message="no such key: very private, Bearer very")
    action = call(f"{sandbox.hooks_url}/migrations", headers_env={"X-Api-Key": "MIGRATIONS_KEY"})
    output = carry_out(action).output
    assert f"no such key: {MASK}, Bearer very" in output


def test_a_missing_credential_stops_the_call_before_it_is_made(sandbox: Sandbox) -> None:
    action = call(f"{sandbox.hooks_url}/migrations", headers_env={"Authorization": "NEVER_SET"})
    with pytest.raises(NotBegun, match=r"^The call was not begun: set NEVER_SET "):
        carry_out(action)
    assert sandbox.requests("hooks") == []
