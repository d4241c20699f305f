"""One request: what would run and why it is risky, and the verbs that people may call on it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from approvals import aftermath, masking, services, wording
from approvals.actors import able
from approvals.clock import clock
from approvals.core.lifecycle import Actor, Choice, Status
from approvals.core.risk import Risk
from approvals.core.roles import Ability
from approvals.errors import DeliveryNotFound, RequestNotFound
from approvals.forms import ApproveForm, CancelForm, RejectForm, RetryForm
from approvals.selectors import request as requests
from approvals.selectors.waiting import Desk
from approvals.timeline import Timeline
from approvals.views import shown
from approvals.views.access import PageRequest, actor_of, is_live, signed_in
from approvals.views.acting import NOTHING_SENT, Answer, Button, act
from approvals.views.queue import kept_filters

if TYPE_CHECKING:
    from approvals.models import ApprovalRequest, Delivery


@require_safe
@signed_in
def request_page(request: PageRequest, request_id: UUID) -> HttpResponse:
    """The whole page, or its live part for htmx."""
    return _page(request, request_id, actor_of(request))


@signed_in
def approve(request: PageRequest, request_id: UUID) -> HttpResponse:
    """Vote to approve, with or without a comment; a critical one takes its name, typed."""

    def make(sent: QueryDict) -> ApproveForm:
        return _approve_form(_found(request_id), sent)

    return _vote(request, request_id, Choice.APPROVE, make)


@signed_in
def reject(request: PageRequest, request_id: UUID) -> HttpResponse:
    """Vote to reject, for a reason."""
    return _vote(request, request_id, Choice.REJECT, partial(RejectForm, prefix=Choice.REJECT))


@signed_in
def cancel(request: PageRequest, request_id: UUID) -> HttpResponse:
    """Withdraw the request, for a reason."""

    def verb(actor: Actor, words: str) -> str:
        services.cancel_request(request_id, actor=actor, reason=words)
        return "The request is cancelled."

    return _act(request, request_id, Button("cancel", partial(CancelForm, prefix="cancel"), verb))


@signed_in
def retry(request: PageRequest, request_id: UUID, delivery_id: int) -> HttpResponse:
    """Try a delivery of this request again, for a reason."""
    name = f"retry-{delivery_id}"

    def verb(actor: Actor, words: str) -> str:
        if all(row.pk != delivery_id for row in requests.deliveries(request_id)):
            raise DeliveryNotFound(f"Request {request_id} has no delivery {delivery_id}.")
        services.retry_delivery(delivery_id, actor=actor, reason=words)
        return "The delivery is tried again now."

    return _act(request, request_id, Button(name, partial(RetryForm, prefix=name), verb))


def _vote(
    request: PageRequest, request_id: UUID, choice: Choice, make: Callable[[QueryDict], forms.Form]
) -> HttpResponse:
    def verb(actor: Actor, words: str) -> str:
        shown_at = _first_shown(request, request_id, actor)
        return _outcome(
            services.cast_vote(
                request_id, actor=actor, choice=choice, comment=words, shown_at=shown_at
            ),
            choice,
        )

    def refuse(actor: Actor) -> None:
        services.refuse_vote(request_id, actor=actor, choice=choice)

    return _act(request, request_id, Button(choice, make, verb, refuse))


def _act(request: PageRequest, request_id: UUID, button: Button) -> HttpResponse:
    page = partial(_page, request, request_id)
    return act(request, button, page=page, address=reverse("request", args=[request_id]))


def _first_shown(request: PageRequest, request_id: UUID, actor: Actor) -> datetime | None:
    """When this page, which refreshes itself, was first shown to the person."""
    carried = request.POST.get(shown.FIELD) or request.GET.get(shown.FIELD, "")
    return shown.read(carried, request_id, actor)


def _outcome(ballot: services.Ballot, choice: Choice) -> str:
    if ballot.status is Status.APPROVED:
        return "Approved. The operation may run now."
    if ballot.status is Status.REJECTED:
        return "Rejected. The operation will not run."
    counted = f"{ballot.approvals} of {ballot.quorum} approvals"
    if not ballot.changed:
        return f"You had voted to {choice} before; it still counts. There are {counted}."
    return f"Your vote counts: {counted}."


def _page(
    request: PageRequest, request_id: UUID, actor: Actor, answer: Answer = NOTHING_SENT
) -> HttpResponse:
    row, queue = _found(request_id), kept_filters(request)
    context = _context(row, actor, answer.bound)
    context["queue_filtered"] = bool(queue.chosen())
    context["next"] = Desk(actor, context["now"]).next_after(
        row, queue.chosen(), sort=queue.order()
    )
    shown_at = _first_shown(request, request_id, actor) or context["now"]
    context["shown"] = shown.mark(request_id, actor, shown_at)
    answer = answer.where_asked(_asked(context))
    context["notice"] = answer.notice
    template = "approvals/_request.html" if is_live(request) else "approvals/request.html"
    return render(request, template, context, status=answer.status)


def _asked(context: Mapping[str, Any]) -> set[str]:
    """The forms that the page lets this person send."""
    names: set[str] = set() if context["refused"] else set(Choice)
    if context["may_cancel"]:
        names.add("cancel")
    names.update(sent["form"].prefix for sent in context["deliveries"] if sent["form"])
    return names


def _found(request_id: UUID) -> "ApprovalRequest":
    try:
        return requests.get_request(request_id)
    except RequestNotFound as missing:
        raise Http404(str(missing)) from missing


def _approve_form(row: "ApprovalRequest", data: QueryDict | None = None) -> ApproveForm:
    critical = row.risk_level == Risk.CRITICAL
    name = wording.confirmation(row.environment, row.operation) if critical else ""
    return ApproveForm(data, prefix=Choice.APPROVE, must_type=name)


def _context(
    row: "ApprovalRequest", actor: Actor, bound: Mapping[str, forms.Form]
) -> dict[str, Any]:
    now = clock()
    policy = row.frozen_policy
    votes = sorted(row.votes.all(), key=lambda vote: vote.cast_at)
    log, deliveries = requests.log_of(row), requests.deliveries(row.pk)
    return {
        "now": now,
        "row": row,
        "run_stream": requests.run_stream(row),
        "status": requests.status_at(row, now),
        "policy": policy,
        "too_few": row.eligible < policy.quorum,
        "work": wording.work(row.task, row.action),
        "action": None if row.action is None else masking.masked_action(row.task, row.action),
        "task": masking.masked(row.task),
        "change": wording.change(row.task),
        "votes": votes,
        "approvals": sum(1 for vote in votes if vote.choice == Choice.APPROVE),
        "mine": next((vote for vote in votes if vote.user_id == actor.user_id), None),
        "refused": requests.why_not(row, actor, now),
        "may_cancel": requests.may_cancel(row, actor, now),
        "deliveries": _deliveries(deliveries, actor, bound),
        "timeline": Timeline.of(log.own, requests.refusals(row.pk)),
        "aftermath": aftermath.steps(row, log, deliveries, now),
        "outcome": aftermath.outcome(row, log, now),
        "approve_form": bound.get(Choice.APPROVE) or _approve_form(row),
        "reject_form": bound.get(Choice.REJECT) or RejectForm(prefix=Choice.REJECT),
        "cancel_form": bound.get("cancel") or CancelForm(prefix="cancel"),
    }


def _deliveries(
    rows: "Sequence[Delivery]", actor: Actor, bound: Mapping[str, forms.Form]
) -> list[dict[str, Any]]:
    shown = []
    may_retry = able(actor, Ability.RETRY_DELIVERY)
    for delivery in rows:
        name = f"retry-{delivery.pk}"
        state = requests.delivery_state(delivery)
        retried = may_retry and state in {"failing", "given_up"}
        form = (bound.get(name) or RetryForm(prefix=name)) if retried else None
        shown.append({"row": delivery, "state": state, "form": form})
    return shown
