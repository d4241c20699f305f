"""One request: what would run and why it is risky, and the verbs that people may call on it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from approvals import aftermath, masking, outbox, services, wording
from approvals.actors import able
from approvals.core.lifecycle import Actor, Choice, Status
from approvals.core.risk import Risk
from approvals.core.roles import Ability
from approvals.errors import InvalidInput, Refusal, RequestNotFound
from approvals.forms import ApproveForm, CancelForm, RejectForm, RetryForm
from approvals.selectors import request as requests
from approvals.selectors.waiting import next_waiting
from approvals.timeline import Timeline
from approvals.views import shown
from approvals.views.access import PageRequest, actor_of, signed_in
from approvals.views.notice import Notice
from approvals.views.queue import kept_filters

if TYPE_CHECKING:
    from approvals.models import ApprovalRequest, Delivery


# Forms that are gone once the request is decided.
_ENDING = {Choice.APPROVE, Choice.REJECT, "cancel"}


@require_safe
@signed_in
def request_page(request: PageRequest, request_id: UUID) -> HttpResponse:
    """The whole page, or its live part for htmx."""
    return _page(request, request_id, actor_of(request))


@signed_in
def approve(request: PageRequest, request_id: UUID) -> HttpResponse:
    """Vote to approve, with or without a comment; a critical one takes its name, typed."""
    form = None
    if request.method == "POST":
        form = _approve_form(_found(request_id), request.POST)
    return _vote(request, request_id, Choice.APPROVE, form)


@signed_in
def reject(request: PageRequest, request_id: UUID) -> HttpResponse:
    """Vote to reject, for a reason."""
    form = RejectForm(request.POST, prefix=Choice.REJECT)
    return _vote(request, request_id, Choice.REJECT, form)


@signed_in
def cancel(request: PageRequest, request_id: UUID) -> HttpResponse:
    """Withdraw the request, for a reason."""

    def verb(actor: Actor, words: str) -> str:
        services.cancel_request(request_id, actor=actor, reason=words)
        return "The request is cancelled."

    return _act(request, request_id, "cancel", CancelForm(request.POST, prefix="cancel"), verb)


@signed_in
def retry(request: PageRequest, request_id: UUID, delivery_id: int) -> HttpResponse:
    """Try a delivery of this request again, for a reason."""
    name = f"retry-{delivery_id}"

    def verb(actor: Actor, words: str) -> str:
        if all(row.pk != delivery_id for row in requests.deliveries(request_id)):
            raise RequestNotFound(f"Request {request_id} has no delivery {delivery_id}.")
        services.retry_delivery(delivery_id, actor=actor, reason=words)
        return "The delivery is tried again now."

    return _act(request, request_id, name, RetryForm(request.POST, prefix=name), verb)


def _vote(
    request: PageRequest, request_id: UUID, choice: Choice, form: forms.Form | None
) -> HttpResponse:
    def verb(actor: Actor, words: str) -> str:
        shown_at = _first_shown(request, request_id, actor)
        return _outcome(
            services.cast_vote(
                request_id, actor=actor, choice=choice, comment=words, shown_at=shown_at
            ),
            choice,
        )

    return _act(request, request_id, choice, form, verb)


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


def _act(
    request: PageRequest,
    request_id: UUID,
    name: str,
    form: forms.Form | None,
    verb: Callable[[Actor, str], str],
) -> HttpResponse:
    """Call a verb with what was typed, and show the result or the refusal in place.

    Reading the address changes nothing and leads to the page: after a login people arrive so.
    """
    if request.method != "POST" or form is None:
        return redirect("request", request_id)
    actor, bound = actor_of(request), {name: form}
    if not form.is_valid():
        return _page(request, request_id, actor, bound=bound, status=422)
    words = form.cleaned_data["words"]
    try:
        done = Notice(verb(actor, words))
    except InvalidInput as refusal:
        form.add_error("words", str(refusal))
        return _page(request, request_id, actor, bound=bound, status=422)
    except Refusal as refusal:
        notice = Notice(str(refusal), refused=True, typed=_typed(form))
        status = refusal.http_status
        return _page(request, request_id, actor, bound=bound, notice=notice, status=status)
    if request.htmx:
        return _page(request, request_id, actor, notice=done)
    messages.success(request, done.text)
    return redirect("request", request_id)


def _page(
    request: PageRequest,
    request_id: UUID,
    actor: Actor,
    *,
    bound: Mapping[str, forms.Form] | None = None,
    notice: Notice | None = None,
    status: int = 200,
) -> HttpResponse:
    row, queue = _found(request_id), kept_filters(request)
    context = _context(row, actor, bound or {})
    context["queue_filtered"] = bool(queue.chosen())
    context["next"] = next_waiting(actor, queue.chosen(), row, sort=queue.order())
    for name, form in (bound or {}).items():
        refused, over = context["refused"], context["status"] is not Status.PENDING
        if notice is None and refused and (over or name in set(Choice)) and name in _ENDING:
            # What does not fit in a form that is not asked any more needs no mending.
            notice = Notice(refused.sentence, refused=True, typed=_typed(form))
            status = 409 if over else 403
        _point_at_first_error(form)
    shown_at = _first_shown(request, request_id, actor) or context["now"]
    context["shown"] = shown.mark(request_id, actor, shown_at)
    live = request.htmx and not request.htmx.history_restore_request
    template = "approvals/_request.html" if live else "approvals/request.html"
    return render(request, template, {**context, "notice": notice}, status=status)


def _found(request_id: UUID) -> "ApprovalRequest":
    try:
        return requests.get_request(request_id)
    except RequestNotFound as missing:
        raise Http404(str(missing)) from missing


def _typed(form: forms.Form) -> str:
    """All that somebody chose and wrote, so that nothing of it is lost with the form."""
    return "\n".join(str(field.value()) for field in form if field.value())


def _point_at_first_error(form: forms.Form) -> None:
    """Let the keyboard stand where something has to be mended, with and without JavaScript."""
    name = next((name for name in form.errors if name in form.fields), None)
    if name is not None:
        form.fields[name].widget.attrs["autofocus"] = True


def _approve_form(row: "ApprovalRequest", data: QueryDict | None = None) -> ApproveForm:
    critical = row.risk_level == Risk.CRITICAL
    name = wording.confirmation(row.environment, row.operation) if critical else ""
    return ApproveForm(data, prefix=Choice.APPROVE, must_type=name)


def _context(
    row: "ApprovalRequest", actor: Actor, bound: Mapping[str, forms.Form]
) -> dict[str, Any]:
    now = outbox.clock()
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
        retried = may_retry and state in {"failing", "stopped"}
        form = (bound.get(name) or RetryForm(prefix=name)) if retried else None
        shown.append({"row": delivery, "state": state, "form": form})
    return shown
