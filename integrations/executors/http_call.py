"""The executor of HTTP calls: one call, repeated only where that cannot do anything twice."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from agents.actions import ActionResult, NotBegun, OutcomeUnknown
from agents.operation_config import base_url
from integrations.addresses import RefusedAddress
from integrations.executors.deadline import open_client_until
from integrations.executors.output import OUTPUT_BYTES, Credentials
from integrations.http import NEVER_SENT

PAUSES_SECONDS = (0.25, 1.0, 3.0)
_CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class _Attempt:
    """What came of one attempt: an answer, or why there is none and whether it was begun.

    `refused` where another one would come to the same.
    """

    sentence: str
    status: int = 0
    output: str = ""
    begun: bool = True
    refused: bool = False


def call_http(action: Mapping[str, Any], *, idempotency_key: str) -> ActionResult:
    """Send the action's body with the key in `Idempotency-Key`, within its time limit.

    2xx succeeds; 3xx and 4xx fail. A lost answer or 5xx is repeated for an idempotent action, with
    the same key; otherwise, and when the repetitions are used up or refused, OutcomeUnknown is
    raised. NotBegun where no attempt left this machine.
    """
    deadline = time.monotonic() + float(action["timeout_seconds"])
    headers = _headers(action, idempotency_key)
    # What came of the first attempt that may have been done.
    doubtful = ""
    credentials = Credentials(headers[name] for name in action["headers_env"])
    with open_client_until(deadline, headers=headers) as client:
        for pause in (*PAUSES_SECONDS, None):
            attempt = _attempt(client, action, deadline, credentials)
            final = 0 < attempt.status < 500
            # A refusal says nothing of an attempt before, which may be at work still.
            if final and not (doubtful and attempt.status >= 300):
                return _answered(attempt)
            if attempt.begun:
                doubtful = doubtful or attempt.sentence
            if final or attempt.refused or (attempt.begun and not action["idempotent"]):
                break
            if pause is None or time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
    if doubtful:
        then = "" if attempt.sentence == doubtful else f", and then {attempt.sentence}"
        raise OutcomeUnknown(f"The call may or may not have taken effect: it {doubtful}{then}.")
    raise NotBegun(f"The call was not begun: it {attempt.sentence}.")


def _headers(action: Mapping[str, Any], idempotency_key: str) -> dict[str, str]:
    """The headers, once the address is known to be the configured one; NotBegun otherwise."""
    variable = action["base_url_env"]
    if not action["url"].startswith(base_url(variable, os.environ) + "/"):
        raise NotBegun(
            "The call was not begun: the approved address is not below the one that"
            f" {variable} holds now."
        )
    headers = {"Idempotency-Key": idempotency_key}
    for name, source in action["headers_env"].items():
        value = os.environ.get(source, "").strip()
        if not value or not value.isascii() or not value.isprintable():
            raise NotBegun(
                f"The call was not begun: set {source} to the {name} header's value, in plain"
                " characters."
            )
        headers[name] = value
    return headers


def _attempt(
    client: httpx.Client, action: Mapping[str, Any], deadline: float, credentials: Credentials
) -> _Attempt:
    left = deadline - time.monotonic()
    if left <= 0:
        return _Attempt("ran out of time", begun=False)
    timeout = httpx.Timeout(None, connect=min(left, _CONNECT_SECONDS))
    try:
        with client.stream(
            action["method"], action["url"], json=action["body"], timeout=timeout
        ) as response:
            output = _body(response, credentials)
            return _Attempt(f"was answered {response.status_code}", response.status_code, output)
    except RefusedAddress as error:
        return _Attempt(f"could not be made ({str(error)[:-1]})", begun=False, refused=True)
    except httpx.InvalidURL as error:
        return _Attempt(f"could not be made ({error})", begun=False, refused=True)
    except NEVER_SENT as error:
        return _Attempt(f"could not be made ({error or type(error).__name__})", begun=False)
    except httpx.HTTPError as error:
        return _Attempt(f"got no answer ({error or type(error).__name__})")


def _body(response: httpx.Response, credentials: Credentials) -> str:
    """The beginning of the body; the status is the answer, so a body that breaks off is no loss."""
    kept = bytearray()
    unread = "\n[the rest of the answer was not read]"
    try:
        for chunk in response.iter_bytes():
            kept += chunk
            if len(kept) > OUTPUT_BYTES + credentials.longest:
                return credentials.text(bytes(kept), end=OUTPUT_BYTES) + unread
    except httpx.ReadTimeout:
        return credentials.text(bytes(kept)) + unread
    except httpx.HTTPError:
        return credentials.text(bytes(kept)) + "\n[the answer broke off]"
    return credentials.text(bytes(kept))


def _answered(attempt: _Attempt) -> ActionResult:
    data = {"status": attempt.status}
    summary = attempt.sentence
    if 300 <= attempt.status < 400:
        summary += ", a redirect, which is not followed"
    return ActionResult(200 <= attempt.status < 300, summary, attempt.output, data)
