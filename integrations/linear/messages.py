"""What the gateway writes into Linear, from templates/messages/linear_*.md."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.template.loader import render_to_string

from approvals.core.events import Event, EventName, Snapshot
from approvals.core.lifecycle import Status
from approvals.masking import masked, masked_action, masked_text
from approvals.wording import VIA, Work, duration, work
from integrations.linear.config import LinearConfig
from integrations.linear.hearing import Bounce, Heard
from integrations.markdown import plain

_BLANK_LINES = re.compile(r"\n{3,}")


def comment_id(request_id: UUID, occasion: str) -> UUID:
    """The id of the one comment for an occasion: shaped as a UUID v4, as Linear demands."""
    seed = hashlib.sha256(f"{request_id}:{occasion}".encode()).digest()
    return UUID(bytes=seed[:16], version=4)


def issue_title(request: Snapshot, config: LinearConfig) -> str:
    """The title of the issue: the operation, and what the agent says it is for."""
    title = f"{config.approval_template.title_prefix} {plain(request.title)}"
    purpose = plain(str(masked(request.task).get("description") or ""), 100)
    return f"{title}: {purpose}" if purpose else title


def issue_description(request: Snapshot, config: LinearConfig) -> str:
    """Everything that a person needs in order to decide."""
    action = None if request.action is None else masked_action(request.task, request.action)
    what, task = work(request.task, request.action), masked(request.task)
    return _render(
        "linear_issue.md",
        {
            "request": request,
            "policy": request.policy,
            "too_few": request.eligible < request.policy.quorum,
            "groups": request.policy.groups,
            "allowed": duration(request.policy.expires_after_seconds),
            "task": task,
            "description": task.get("description") or "",
            "action": action,
            "kind": what.kind if what else "",
            "runs": _exactly(what) if what else "",
            "trigger_states": config.webhook.trigger_on_states,
            "reject_states": config.webhook.reject_on_states,
            "casual": request.risk_level != "critical",
        },
    )


def bounce_comment(
    request: Snapshot,
    bounce: Bounce,
    heard: Heard | None,
    since: Sequence[Event],
    approvals: int,
    *,
    last: bool,
) -> str:
    """Why a move was taken back; of a vote cast before, the events and the approvals tell."""
    ended = request.status is not Status.PENDING
    refusals = [
        str(event.data["sentence"])
        for event in since
        if event.name is EventName.VOTE_REFUSED
        and event.data.get("linear") == f"history:{bounce.move.id}"
    ]
    return _render(
        "linear_bounce.md",
        {
            "person": bounce.move.person.name if bounce.move.person else "somebody",
            "state": bounce.move.to_state,
            "back_to": bounce.back_to,
            "refusal": heard.refusal if heard else "".join(refusals[-1:]),
            "tally": (heard.tally if heard else "")
            or f"{approvals} of {request.policy.quorum} approvals",
            "ended": request.status if ended else "",
            "last": last,
        },
    )


def vote_comment(event: Event) -> str:
    """The answer to a vote by comment or reaction that did not decide."""
    return _render("linear_vote.md", {"person": event.actor, **event.data})


def fault_comment(heard: Heard) -> str:
    """The answer to a comment that could not be understood as a vote."""
    return _render("linear_vote.md", {"person": heard.person.name, "sentence": heard.refusal})


def outcome_comment(request: Snapshot, via: str) -> str:
    """How the request ended, by whom, by which way and why."""
    return _render(
        "linear_outcome.md",
        {
            "request": request,
            "reason": masked_text(request.task, request.reason),
            "by_a_person": request.status in {Status.APPROVED, Status.REJECTED},
            "way": VIA.get(via),
        },
    )


def _render(name: str, context: Mapping[str, Any]) -> str:
    text = render_to_string(f"messages/{name}", dict(context))
    return _BLANK_LINES.sub("\n\n", text).strip() + "\n"


def _exactly(work: Work) -> str:
    """The words of what will run and what is sent along; empty where only the JSON can tell."""
    return "\n".join(filter(None, (" ".join(work.words), work.body))) if work.words else ""
