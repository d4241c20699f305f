"""Waiting for what happens in other processes."""

import time
from collections.abc import Callable

import httpx
import pytest


def eventually(
    condition: Callable[[], bool], what: str, seconds: float = 20, *, every_seconds: float = 0.02
) -> None:
    """Return as soon as the condition holds; fail the test, naming `what`, after the bound."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"Not within {seconds} s: {what}.")
        time.sleep(every_seconds)


def answers(address: str) -> bool:
    """Whether a web server answers at this address that all is well."""
    try:
        return httpx.get(address, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
