"""What is measured of the calls to Linear and GitHub."""

import logging
import re
from enum import StrEnum

from django.db import Error, transaction

from approvals import tally
from approvals.core.events import GITHUB, LINEAR
from approvals.tally import TalliedMetric, declare, each
from integrations.linear import documents

log = logging.getLogger(__name__)

GITHUB_OPERATIONS = (
    "get_user",
    "list_comments",
    "create_comment",
    "update_comment",
    "dispatch_workflow",
)
_NAMED = re.compile(r"\s*(?:query|mutation) (\w+)")


class Outcome(StrEnum):
    """How a call ended; `unreachable` was never sent, `no_reply` may have been carried out."""

    OK = "ok"
    ERROR = "error"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    UNREACHABLE = "unreachable"
    NO_REPLY = "no_reply"


def operation_of(document: str) -> str:
    """The name of a GraphQL document's operation; ValueError where it has none."""
    named = _NAMED.match(document)
    if named is None:
        raise ValueError("A GraphQL document names no operation.")
    return named[1]


LINEAR_OPERATIONS = tuple(
    operation_of(text)
    for name, text in vars(documents).items()
    if name.isupper() and not name.startswith("_")
)
OUTBOUND = declare(
    TalliedMetric(
        "hitl_outbound_request_duration_seconds",
        "Duration of calls to Linear and GitHub, by operation and outcome.",
        ("party", "operation", "outcome"),
        each([LINEAR], LINEAR_OPERATIONS, list(Outcome))
        | each([GITHUB], GITHUB_OPERATIONS, list(Outcome)),
        (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    )
)


def note_call(party: str, operation: str, outcome: Outcome, seconds: float) -> None:
    """Observe a call that has ended, in a transaction that nothing else can roll back.

    What was sent cannot be unsent: a database that fails here takes the measure, not the answer.
    """
    try:
        with transaction.atomic(durable=True):
            tally.observe(OUTBOUND, party.lower(), operation, outcome, seconds=seconds)
    except Error:
        log.exception("A call to %s (%s: %s) could not be measured", party, operation, outcome)
