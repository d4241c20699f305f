"""What somebody means who types an identifier: compared whole, so that an index finds it."""

import re
from collections.abc import Sequence
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q

from approvals.models import ApprovalRequest

MOST_MEANT = 500
_BIGGEST = 2**31 - 1
_PULL = re.compile(
    r"(?:https?://\S+?/)?(?P<repo>[\w.-]+/[\w.-]+)(?:#|/pull/)(?P<number>\d{1,10})/?"
)


def as_uuid(term: str) -> UUID | None:
    """The id that the term is, or None."""
    try:
        return UUID(term)
    except ValueError:
        return None


def as_number(term: str) -> int | None:
    """The number that the term is, such as 231 or #231, or None."""
    digits = term.removeprefix("#")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
        return None
    return number if (number := int(digits)) <= _BIGGEST else None


def accounts_meant(term: str) -> Sequence[int]:
    """The ids of the accounts of that name, whatever the capitals, or of that email address."""
    rows = User.objects.filter(Q(username__iexact=term) | Q(email__iexact=term))
    return list(rows.values_list("pk", flat=True)[:MOST_MEANT])


def pull_meant(term: str) -> Q:
    """A pull request by its number, by repository and number, or by its address."""
    if (number := as_number(term)) is not None:
        return Q(pr_number=number)
    if (found := _PULL.fullmatch(term)) and int(found["number"]) <= _BIGGEST:
        return Q(pr_number=int(found["number"])) & (
            Q(github_repo__iexact=found["repo"]) | Q(pr_url=term)
        )
    return Q(pk__in=[])


def requests_meant(term: str) -> Q:
    """Requests by id, Linear identifier, workflow, thread, pull request or who asked."""
    found = Q(linear_issue_id=term.upper()) | Q(workflow_id=term) | Q(thread_id=term)
    found |= pull_meant(term) | Q(requested_by=term) | Q(opened_by__in=accounts_meant(term))
    if (identifier := as_uuid(term)) is not None:
        found |= Q(pk=identifier) | Q(workflow_id=str(identifier))
    return found


def request_ids(term: str) -> Sequence[UUID]:
    """The ids of the newest requests that are meant."""
    rows = ApprovalRequest.objects.filter(requests_meant(term)).order_by("-created_at", "-pk")
    return list(rows.values_list("pk", flat=True)[:MOST_MEANT])


def threads_meant(term: str) -> Sequence[str]:
    """The threads of the newest requests that are meant and that a run itself asked for."""
    rows = ApprovalRequest.objects.filter(requests_meant(term)).exclude(interrupt_id="")
    newest = rows.order_by("-created_at", "-pk")
    return list(newest.values_list("thread_id", flat=True)[:MOST_MEANT])
