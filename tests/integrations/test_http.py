"""What comes of a call to another party, how long it may take, and when to come back."""

import socket
import time
import traceback

import httpx
import pytest

from approvals import outbox
from integrations.github import client as github
from integrations.http import ReplyLost, open_client, retry_after, seconds_until, send
from integrations.linear import client as linear


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("40", 40.0),
        (" 0 ", 0.0),
        ("Mon, 01 Jan 2024 00:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
    ],
)
def test_a_retry_after_header_is_read_or_counts_as_none(said: str, seconds: float | None) -> None:
    response = httpx.Response(503, headers={"Retry-After": said})
    assert retry_after(response) == seconds


def test_how_long_a_pause_is_says_the_clock_of_whoever_asks_for_it() -> None:
    """This machine's may be off by more than the pause."""
    response = httpx.Response(
        429,
        headers={
            "Date": "Mon, 01 Jan 2024 00:00:00 GMT",
            "Retry-After": "Mon, 01 Jan 2024 00:00:40 GMT",
        },
    )
    assert retry_after(response) == 40.0
    assert seconds_until(1704067205.5, response) == 5.5
    undated = httpx.Response(429)
    assert seconds_until(time.time() + 30, undated) == pytest.approx(30, abs=5)


@pytest.mark.parametrize("timeout", [github.TIMEOUT, linear.TIMEOUT])
def test_no_call_of_a_delivery_outlives_its_lease(timeout: httpx.Timeout) -> None:
    longest = [timeout.connect, timeout.write, timeout.read]
    assert sum(seconds or float("inf") for seconds in longest) < outbox.LEASE_SECONDS


@pytest.mark.django_db(transaction=True)
def test_a_header_that_cannot_be_sent_is_quoted_nowhere() -> None:
    """It may be the credential, and what is said here is kept and shown."""
    headers = {"Authorization": "lin_api_s3cret\nmore"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"http://127.0.0.1:{other.getsockname()[1]}/"
        with open_client(headers=headers) as client, pytest.raises(ReplyLost) as lost:
            send(client, "POST", address, party="Linear", operation="Viewer")
    assert "a header of the call" in str(lost.value)
    assert "s3cret" not in "".join(traceback.format_exception(lost.value))
