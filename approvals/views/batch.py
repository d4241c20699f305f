"""One word about several requests: each is decided for itself, by the same verb as on its page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from approvals import services, wording
from approvals.core.lifecycle import Actor, Choice, Status
from approvals.errors import Refusal
from approvals.forms import BatchForm
from approvals.selectors.request import requests_by_id
from approvals.views.access import PageRequest, actor_of, signed_in
from approvals.views.queue import SAID, queue_page

if TYPE_CHECKING:
    from approvals.models import ApprovalRequest


@dataclass(frozen=True)
class Said:
    """What came of the word about one request."""

    request_id: str
    title: str
    sentence: str
    refused: bool = False


@dataclass(frozen=True)
class Summary:
    """What was done, and what was refused and why; `typed` is what the person had written."""

    done: Sequence[Said]
    refused: Sequence[Said]
    typed: str


@signed_in
def batch(request: PageRequest) -> HttpResponse:
    """Vote on every chosen request, and say in the queue what came of each.

    Reading the address changes nothing and leads to the queue: after a login people arrive so.
    Without htmx the session carries what came of it to the queue, where a reload repeats nothing.
    """
    if request.method != "POST":
        return redirect("queue")
    actor = actor_of(request)
    form = BatchForm(request.POST)
    if not form.is_valid():
        return queue_page(request, actor, batch=form, status=422)
    choice, words = Choice(form.cleaned_data["choice"]), form.cleaned_data["words"]
    known = requests_by_id(form.cleaned_data["request"])
    said = [
        _vote(request_id, known.get(request_id), actor, choice, words)
        for request_id in form.cleaned_data["request"]
    ]
    refused = [one for one in said if one.refused]
    done = [one for one in said if not one.refused]
    summary = Summary(done, refused, words if refused else "")
    if request.htmx:
        return queue_page(request, actor, summary=summary)
    request.session[SAID] = asdict(summary)
    query = request.GET.urlencode()
    return redirect(f"{reverse('queue')}?{query}" if query else "queue")


def _vote(
    request_id: UUID, row: "ApprovalRequest | None", actor: Actor, choice: Choice, words: str
) -> Said:
    if row is None:
        return Said(str(request_id), str(request_id), "There is no such request.", refused=True)
    title = wording.heading(row.operation, row.environment, row.task)
    said = partial(Said, str(request_id), title)
    try:
        ballot = services.cast_vote_in_batch(request_id, actor=actor, choice=choice, comment=words)
    except Refusal as refusal:
        return said(str(refusal), refused=True)
    if ballot.status is Status.PENDING:
        return said(f"{ballot.approvals} of {ballot.quorum} approvals")
    return said(str(ballot.status))
