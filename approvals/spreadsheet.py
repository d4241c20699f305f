"""Requests as lines of CSV, in which a spreadsheet finds nothing to run."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from approvals import wording
from approvals.masking import quiet

if TYPE_CHECKING:
    from approvals.models import ApprovalRequest

HEADER = (
    "request_id",
    "status",
    "risk_level",
    "operation",
    "environment",
    "arguments",
    "agent",
    "requested_by",
    "opened_at",
    "decided_at",
    "seconds_to_decision",
    "decided_by",
    "reason",
    "workflow_id",
    "linear_issue",
    "pull_request",
    "page",
)
# What begins so, a spreadsheet takes for a formula, or skips to find one behind it (OWASP, "CSV
# Injection"); the last ones are the full-width forms.
_FORMULA = (*"=+-@\t\r\n", *"\uff1d\uff0b\uff0d\uff20")
_LONGEST_ARGUMENTS = 1000
# Without it Excel reads a file that it opens in an encoding of the machine's own, not in UTF-8.
_BYTE_ORDER_MARK = "\ufeff"


def lines(rows: Iterable["ApprovalRequest"]) -> str:
    """A line for each request; times are ISO 8601 in UTC, and secret arguments are masked."""
    return _written(_cells(row) for row in rows)


def header() -> str:
    """How a file begins: the mark of UTF-8 and the names of the columns."""
    return _BYTE_ORDER_MARK + _written([HEADER])


def inert(cell: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _cells(row: "ApprovalRequest") -> Sequence[str]:
    took = (row.decided_at - row.created_at).total_seconds() if row.decided_at else 0.0
    return (
        str(row.pk),
        row.status,
        row.risk_level,
        _plain(row.operation),
        _plain(row.environment),
        _cut(wording.arguments(row.task)),
        _plain(row.agent_name),
        _plain(row.requested_by),
        _moment(row.created_at),
        _moment(row.decided_at),
        f"{max(took, 0.0):.3f}",
        _plain(row.decided_by),
        _plain(quiet(row, row.decision_reason)),
        _plain(row.workflow_id),
        row.linear_issue_id or "",
        row.pr_url,
        row.url,
    )


def _plain(text: str) -> str:
    # Tabs and line ends may stay: the writer quotes them, and `inert` sees to those that lead.
    return wording.plain(text, keep="\t\r\n")


def _moment(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds") if at else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_ARGUMENTS else f"{text[: _LONGEST_ARGUMENTS - 1]}…"


def _written(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([inert(cell) for cell in row] for row in rows)
    return text.getvalue()
