"""Calls to Linear and GitHub: timed, measured, and every failure a ChannelError with a sentence.

Nothing is repeated here: the outbox does that, and knows when. What an HTTP action calls is
nobody's channel, and is called by its executor.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from approvals import outbox, trail
from approvals.core.events import ChannelError
from integrations.addresses import guarded
from integrations.metrics import Outcome, note_call

TIMEOUT = httpx.Timeout(20.0, connect=5.0)
USER_AGENT = "hitl-gateway"
# Raised before anything left this machine, so that another attempt repeats nothing.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Unreachable(ChannelError):
    """The request never left this machine: repeating it is safe whatever it asks for."""


class ReplyLost(ChannelError):
    """The request may have been carried out; what came of it is unknown."""


def open_client(
    base_url: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    timeout: httpx.Timeout | float = TIMEOUT,
) -> httpx.Client:
    """A client that follows no redirect, so that no credential reaches another host.

    It connects to permitted addresses only, and raises RefusedAddress for others. It may be shared
    by threads but not by processes: open it after a fork.
    """
    return guarded(
        httpx.Client(
            base_url=base_url,
            headers={"User-Agent": USER_AGENT, **(headers or {})},
            timeout=timeout,
            follow_redirects=False,
        )
    )


def outcome_of(response: httpx.Response) -> Outcome:
    """What an answer's status says by itself."""
    if response.is_success:
        return Outcome.OK
    if response.status_code == 429:
        return Outcome.RATE_LIMITED
    return Outcome.SERVER_ERROR if response.is_server_error else Outcome.ERROR


def send(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    party: str,
    operation: str,
    judge: Callable[[httpx.Response], Outcome] = outcome_of,
    **options: Any,
) -> httpx.Response:
    """One request, answered with any status, and measured; not to be made in a transaction.

    `party` names the other side in errors, `operation` what is asked of it in metrics, and `judge`
    says how to count an answer. Raises Unreachable where nothing was sent, which is permanent where
    the address cannot be used at all, RefusedAddress where it is not permitted, and ReplyLost where
    the outcome is unknown: all of them ChannelErrors. Raises LeaseLost, and sends nothing, where
    another worker has taken over the delivery that this is for.
    """
    outbox.keep_lease()
    started = time.perf_counter()
    try:
        with trail.step(f"{party} {operation}", kind="client"):
            response = _exchange(client, method, url, party, options)
            trail.note(status_code=response.status_code)
    except ChannelError as error:
        seconds = time.perf_counter() - started
        lost = isinstance(error, ReplyLost)
        note_call(party, operation, Outcome.NO_REPLY if lost else Outcome.UNREACHABLE, seconds)
        raise
    seconds = time.perf_counter() - started
    note_call(party, operation, judge(response), seconds)
    return response


def _exchange(
    client: httpx.Client, method: str, url: str, party: str, options: Mapping[str, Any]
) -> httpx.Response:
    try:
        return client.request(method, url, **options)
    except NEVER_SENT as error:
        raise Unreachable(f"{party} could not be reached: {_cause(error)}.") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise Unreachable(
            f"The address of {party} cannot be used: {_cause(error)}.", permanent=True
        ) from error
    except httpx.LocalProtocolError:
        # Its text quotes the header that cannot be sent, which may be the credential.
        raise ReplyLost(
            f"{party} gave no answer: a header of the call holds what none may, such as a line"
            " break."
        ) from None
    except httpx.HTTPError as error:
        raise ReplyLost(f"{party} gave no answer: {_cause(error)}.") from error


def refuse_error_status(response: httpx.Response, party: str) -> None:
    """Raise a ChannelError for any status but 2xx.

    408, 425, 429 and 5xx are transient (429 and 503 pause for their Retry-After); the rest is
    permanent, since repeating the same request would be answered the same way.
    """
    if response.is_success:
        return
    status = response.status_code
    sentence = f"{party} answered {status}{_excerpt(response)}."
    if status in {429, 503}:
        pause = retry_after(response)
        raise ChannelError(sentence, retry_after=60.0 if pause is None and status == 429 else pause)
    raise ChannelError(sentence, permanent=status < 500 and status not in {408, 425})


def retry_after(response: httpx.Response) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110, 10.2.3), or None without one."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    moment = _moment(value)
    return None if moment is None else max(0.0, seconds_until(moment, response))


def seconds_until(moment: float, response: httpx.Response) -> float:
    """The seconds from an answer to a moment that it names (Unix time), by the answer's own Date.

    Only where it has none, by this machine's clock, which may be off by more than the pause.
    """
    said = _moment(response.headers.get("date", ""))
    return moment - (time.time() if said is None else said)


def _moment(text: str) -> float | None:
    """An HTTP-date (RFC 9110, 5.6.7) in Unix time, or None where it is none."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _excerpt(response: httpx.Response) -> str:
    text = " ".join(response.text.split())[:200].rstrip(".")
    return f": {text}" if text else ""


def _cause(error: Exception) -> str:
    """The error in words; httpx leaves the text of some timeouts empty."""
    return str(error).rstrip(".") or type(error).__name__
