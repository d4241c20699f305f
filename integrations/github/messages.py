"""What the gateway writes on pull requests, from templates/messages/github_*.md.

Arguments and the action stay out of it: a pull request may be public.
"""

import re
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string

from approvals.core.events import Snapshot
from approvals.core.lifecycle import Status
from approvals.masking import masked, masked_text

OPENED = "opened"
RESOLVED = "resolved"
PARTS = (OPENED, RESOLVED)

_BLANK_LINES = re.compile(r"\n{3,}")


def marker(request_id: UUID, part: str) -> str:
    """The invisible first line by which one comment about one request is found again."""
    return f"<!-- hitl:{request_id}:{part} -->"


def opened_comment(request: Snapshot) -> str:
    """What is asked, how risky it is, where it is decided; later, how it ended."""
    return _render(OPENED, request, alone=True)


def resolved_comment(request: Snapshot, *, alone: bool) -> str:
    """Who decided what, and why; `alone` where no comment before it says what was asked."""
    return _render(RESOLVED, request, alone=alone)


def _render(part: str, request: Snapshot, *, alone: bool) -> str:
    context: dict[str, Any] = {
        "request": request,
        "pending": request.status is Status.PENDING,
        "outcome": request.status.capitalize(),
        "description": masked(request.task).get("description") or "",
        "reason": masked_text(request.task, request.reason),
        "alone": alone,
    }
    text = render_to_string(f"messages/github_{part}.md", context)
    body = _BLANK_LINES.sub("\n\n", text).strip()
    return f"{marker(request.id, part)}\n{body}\n"
