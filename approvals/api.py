"""`/api/approvals`: open requests, follow them and decide them, by bearer token."""

import re
from typing import Annotated, Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db.models import prefetch_related_objects
from ninja import Query, Router, Schema, Status
from pydantic import AfterValidator, ConfigDict, Field, StrictInt, StrictStr, StringConstraints

from approvals import live, outbox, services
from approvals.bearer import ApiCall, actor_of
from approvals.clock import clock
from approvals.core import intake, lifecycle
from approvals.core.events import LINEAR
from approvals.core.lifecycle import Choice
from approvals.core.risk import Risk
from approvals.core.roles import Ability
from approvals.errors import RequestNotFound
from approvals.patience import patiently
from approvals.schemas import ApprovalItem, Problem, approval_item, links
from approvals.selectors.queue import list_requests
from approvals.selectors.request import find_for_linear, get_request, linear_link

MAX_WAIT_SECONDS = 30.0
MAX_PAGE_SIZE = 100
_REFERENCE = re.compile(r"[A-Za-z0-9-]{1,60}")
_PROBLEMS = frozenset({401, 403, 404, 409, 422})

router = Router(tags=["approvals"])


def _sayable(text: str) -> str:
    if (fault := intake.text_fault(text, intake.MAX_WORDS)) is not None:
        raise ValueError(f"The reason {fault}.")
    return text


Wait = Annotated[
    float, Query(ge=0, allow_inf_nan=False, description="How long to wait; 30 s at most.")
]
Reason = Annotated[
    StrictStr,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(_sayable),
]


class Body(Schema):
    """A body in which every field is known and nothing is converted."""

    model_config = ConfigDict(extra="forbid")


class OpenBody(Body):
    """What an agent asks for."""

    workflow_id: StrictStr
    thread_id: StrictStr
    checkpoint_id: StrictStr | None = None
    task: dict[str, Any] = Field(
        description="What would be done: `operation`, `environment`, `description`, and whatever"
        " else the rules look at."
    )
    agent_name: StrictStr
    requested_by: StrictStr | None = Field(None, description="By default, the token's user.")
    pr_number: StrictInt | None = None
    pr_url: StrictStr | None = None
    github_repo: StrictStr | None = None
    risk_level: Risk | None = Field(
        None, description="May raise the risk that the rules find, never lower it."
    )
    idempotency_key: StrictStr | None = Field(
        None, description="The same key and body give the same answer, if the first one was lost."
    )


class Comment(Body):
    """Words to go with an approval."""

    comment: StrictStr = ""


class Reasoned(Body):
    """Why something is not to happen."""

    reason: Reason


class OpenedAnswer(Schema):
    """A request that waits for people."""

    request_id: UUID
    status: lifecycle.Status
    risk_level: Risk
    requires_approval: bool
    linear_issue_id: str | None
    linear_issue_url: str | None


class NotRequiredAnswer(Schema):
    """The rules let the operation through."""

    requires_approval: bool
    status: str


class ApprovalPage(Schema):
    """Requests, newest first; `next_cursor` is null on the last page."""

    items: list[ApprovalItem]
    next_cursor: str | None


class BallotAnswer(Schema):
    """Where a request stands after a vote."""

    request_id: UUID
    workflow_id: str
    status: lifecycle.Status
    approvals: int
    quorum: int


class EndedAnswer(Schema):
    """A request that somebody withdrew."""

    request_id: UUID
    status: lifecycle.Status


class Filters(Schema):
    """Which requests to list."""

    status: str | None = None
    risk_level: str | None = None
    agent: str | None = None
    environment: str | None = None
    cursor: str = ""
    limit: int = Field(50, ge=1, le=MAX_PAGE_SIZE)


@router.post(
    "",
    response={201: OpenedAnswer, 200: NotRequiredAnswer, _PROBLEMS: Problem},
    summary="Ask whether an operation may run",
    openapi_extra={
        "responses": {
            201: links(
                "reference",
                "request_id",
                {
                    "follow": "approvals_api_get_approval",
                    "approve": "approvals_api_approve",
                    "reject": "approvals_api_reject",
                    "cancel": "approvals_api_cancel",
                },
            )
        }
    },
)
async def open_approval(request: ApiCall, body: OpenBody, wait: Wait = 0) -> Status[Any]:
    """Assess a task and open a request where people must decide.

    201 where somebody must decide, also when the same idempotency key is sent again: a client
    that looks at the status alone never takes a waiting request for a permission. 200 where the
    rules ask for no approval. `wait` waits for the Linear issue.
    """

    def opened() -> services.Opened:
        return services.open_request(actor=actor_of(request, Ability.START), **body.dict())

    made = await live.let_go(opened) if wait else await sync_to_async(opened)()
    if made.request_id is None:
        return Status(200, {"requires_approval": False, "status": made.status})
    answer = OpenedAnswer.from_orm(made)
    if wait and made.linear_issue_id is None and LINEAR in outbox.channels():
        link = await _wait_for_issue(made.request_id, wait)
        answer.linear_issue_id, answer.linear_issue_url = link
    return Status(201, answer)


async def _wait_for_issue(request_id: UUID, wait: float) -> tuple[str | None, str | None]:
    link = await live.read_until(
        request_id,
        read=lambda: linear_link(request_id),
        patience=lambda found: 0 if found.linear_issue_id else MAX_WAIT_SECONDS,
        seconds=min(wait, MAX_WAIT_SECONDS),
    )
    return link.linear_issue_id, link.linear_issue_url


@router.get("", response={200: ApprovalPage, _PROBLEMS: Problem}, summary="List requests")
def list_approvals(request: ApiCall, filters: Query[Filters]) -> dict[str, Any]:
    """Requests that fit the filters, newest first, a page at a time."""
    actor_of(request, Ability.READ)
    wanted = filters.dict(include={"status", "risk_level", "agent", "environment"})
    with patiently() as now:
        page = list_requests(wanted, now, cursor=filters.cursor, limit=filters.limit)
    prefetch_related_objects(page.rows, "votes")
    return {
        "items": [approval_item(row, now) for row in page.rows],
        "next_cursor": page.next_cursor or None,
    }


@router.get(
    "/{reference}",
    response={200: ApprovalItem, _PROBLEMS: Problem},
    summary="Follow one request",
)
async def get_approval(request: ApiCall, reference: str, wait: Wait = 0) -> dict[str, Any]:
    """One request by its UUID or its Linear identifier such as CHEF-271.

    `wait` answers as soon as it is decided or expires.
    """

    def find() -> UUID:
        actor_of(request, Ability.READ)
        return _find(reference)

    if not wait:
        return await sync_to_async(lambda: _read(find())[0])()
    request_id = await live.let_go(find)
    item, _ = await live.read_until(
        request_id,
        read=lambda: _read(request_id),
        patience=lambda reading: reading[1],
        seconds=min(wait, MAX_WAIT_SECONDS),
    )
    return item


@router.post(
    "/{reference}/approve",
    response={200: BallotAnswer, _PROBLEMS: Problem},
    summary="Approve a request",
)
def approve(request: ApiCall, reference: str, body: Comment | None = None) -> services.Ballot:
    """Vote for a request; the policy says how many votes it takes."""
    return _vote(request, reference, Choice.APPROVE, body.comment if body else "")


@router.post(
    "/{reference}/reject",
    response={200: BallotAnswer, _PROBLEMS: Problem},
    summary="Reject a request",
)
def reject(request: ApiCall, reference: str, body: Reasoned) -> services.Ballot:
    """Vote against a request, which rejects it."""
    return _vote(request, reference, Choice.REJECT, body.reason)


@router.post(
    "/{reference}/cancel",
    response={200: EndedAnswer, _PROBLEMS: Problem},
    summary="Withdraw a request",
)
def cancel(request: ApiCall, reference: str, body: Reasoned) -> dict[str, Any]:
    """Withdraw a pending request that the token's user asked for."""
    actor = actor_of(request, Ability.CANCEL_OWN)
    request_id = _find(reference)
    services.cancel_request(request_id, actor=actor, reason=body.reason)
    return {"request_id": request_id, "status": lifecycle.Status.CANCELLED}


def _vote(request: ApiCall, reference: str, choice: Choice, comment: str) -> services.Ballot:
    actor = actor_of(request, Ability.DECIDE)
    return services.cast_vote(_find(reference), actor=actor, choice=choice, comment=comment)


def _find(reference: str) -> UUID:
    """The id behind a UUID, which needs no look-up here, or a Linear identifier."""
    if _REFERENCE.fullmatch(reference):
        try:
            return UUID(reference)
        except ValueError:
            if (found := find_for_linear(reference)) is not None:
                return found
    raise RequestNotFound(f"There is no request {reference[:60]}.")


def _read(request_id: UUID) -> tuple[dict[str, Any], float]:
    """The request as an item, and for how many seconds it may stay as it is: 0 once decided."""
    row = get_request(request_id)
    now = clock()
    item = approval_item(row, now)
    pending = item["status"] is lifecycle.Status.PENDING
    return item, (row.expires_at - now).total_seconds() if pending else 0.0
