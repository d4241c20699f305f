"""What a cell or a field of the admin shows: links, states, ages, and long values folded."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import masking
from approvals.models import ApprovalRequest, Delivery, InboundWebhook
from approvals.selectors.request import delivery_state
from approvals.templatetags import pages
from approvals.wording import headline, plain, readable_json

NOTHING = "-"
# What is longer is folded, and what is longer still is cut: a page stays quick and readable.
FOLDED_LINES = 14
FOLDED_CHARACTERS = 1_500
MOST_CHARACTERS = 40_000
# A state's word, to the shape and colour that go with it.
TONES: Mapping[str, str] = {
    **dict.fromkeys(("told", "completed", "succeeded", "resumed", "recorded", "live"), "good"),
    **dict.fromkeys(("given up", "failed", "rejected", "refused"), "bad"),
    **dict.fromkeys(("failing", "needs attention", "held", "unknown", "deferred"), "warn"),
    **dict.fromkeys(("owed", "running", "waiting", "started"), "busy"),
}


def as_column(description: str) -> Callable[[Callable[[Any], object]], Any]:
    """Makes a function of a row a column; Django's stubs take only names where it may stand."""
    return admin.display(description=description)


def shown(path: str, description: str = "", most: int = 0, *, quiet: bool = False) -> Any:
    """A column for text from outside: nothing invisible in it can turn or hide what is shown.

    Longer text than `most` characters is cut, where that is given. With `quiet`, which reads what
    the row's request or run was given, the secrets of that are hidden.
    """

    @as_column(description or path.replace("__", " ").replace("_", " "))
    def column(row: Any) -> str:
        value = row
        for name in path.split("__"):
            value = None if value is None else getattr(value, name)
        value = value() if callable(value) else value
        if value is None or value == "":
            return NOTHING
        text = masking.quiet(row, str(value)) if quiet else value
        return cut(plain(text, keep="\n"), most)

    return column


def cut(text: str, most: int) -> str:
    """The text, or its beginning where it is longer than so many characters; 0 for any length."""
    return text if not most or len(text) <= most else f"{text[: most - 1]}…"


def state(word: str) -> SafeString:
    """A state by shape, colour and word."""
    context = {"word": word.replace("_", " "), "tone": TONES.get(word.replace("_", " "), "quiet")}
    return render_to_string("admin/_state.html", context)


def risk(level: str) -> SafeString:
    """A risk by shape, colour and word, as on the other pages."""
    return render_to_string("approvals/_risk.html", {"level": level})


def status(name: str) -> SafeString:
    """A request's status by shape, colour and word, as on the other pages."""
    return render_to_string("approvals/_status.html", {"name": name})


def moment(value: datetime | None, now: datetime) -> SafeString | str:
    """How far a moment is from now, with the absolute time on hover."""
    if value is None:
        return NOTHING
    context = pages.moment(value, now, absolute=False)
    return render_to_string("approvals/_moment.html", context)


def age(path: str, description: str) -> Any:
    """A column that says how long ago; the row knows the database's clock as `now`."""

    @admin.display(description=description, ordering=path)
    def column(row: Any) -> SafeString | str:
        return moment(getattr(row, path), row.now)

    return column


def link(address: str, text: object) -> SafeString:
    """A link to a page of the gateway."""
    return format_html('<a href="{}">{}</a>', address, text)


def request_link(row: ApprovalRequest | None, request_id: UUID | None = None) -> SafeString | str:
    """The way to the request's page, in the operation's words or by its id alone."""
    if row is not None:
        return link(reverse("request", args=[row.pk]), headline(row.title))
    return link(reverse("request", args=[request_id]), request_id) if request_id else NOTHING


def run_link(row: ApprovalRequest) -> SafeString | str:
    """The way to the run that asked; agents elsewhere have none, and may name any workflow."""
    if not row.interrupt_id:
        return cut(plain(row.workflow_id), 60) or NOTHING
    try:
        address = reverse("admin:agents_run_change", args=[row.workflow_id])
    except NoReverseMatch:
        return cut(plain(row.workflow_id), 60)
    return link(address, row.workflow_id[:8])


def outside(address: str | None, text: str) -> SafeString | str:
    """A link to another site, where the address is one that may become a link."""
    if (found := pages.web_address(address)) == "":
        return plain(text) or NOTHING
    return format_html(
        '<a class="outside" href="{}" rel="noopener noreferrer">{}</a>', found, plain(text)
    )


def issue_link(row: Any) -> SafeString | str:
    """The way to the Linear issue."""
    return outside(row.linear_issue_url, row.linear_issue_id or "")


def pull_link(row: Any) -> SafeString | str:
    """The way to the pull request."""
    named = f"{row.github_repo}#{row.pr_number}" if row.pr_number else row.pr_url
    return outside(row.pr_url, named)


def links(row: Any) -> SafeString | str:
    """The ways to Linear and the pull request, whichever there are."""
    found = [
        part
        for part, there in ((issue_link(row), row.linear_issue_id), (pull_link(row), row.pr_url))
        if there
    ]
    if not found and row.pr_number:
        found = [pull_link(row)]
    return format_html(" · ".join(["{}"] * len(found)), *found) if found else NOTHING


@as_column("request")
def request_page(row: Any) -> SafeString | str:
    """A column with the way to the request that the row belongs to."""
    return request_link(row.request)


@as_column("run")
def run_page(row: Any) -> SafeString | str:
    """A column with the way to the run that asked for the row's request."""
    return NOTHING if row.request is None else run_link(row.request)


@as_column("risk")
def request_risk(row: Any) -> SafeString:
    """A column with the risk of the row's request."""
    return risk(row.request.risk_level)


@as_column("Linear, pull request")
def outside_pages(row: Any) -> SafeString | str:
    """A column with the ways to Linear and the pull request of the row's request."""
    return NOTHING if row.request is None else links(row.request)


@as_column("state")
def told_state(row: Delivery) -> SafeString:
    """A column with how a delivery stands."""
    return state(delivery_state(row))


@as_column("outcome")
def heard_outcome(row: InboundWebhook) -> SafeString:
    """A column with what became of a webhook."""
    return state(row.outcome or "not applied")


@as_column("status")
def shown_status(row: Any) -> SafeString:
    """A column with how a run or an execution stands."""
    return state(row.status)


def folded(value: Any) -> SafeString:
    """JSON for people, folded where it is long."""
    return _block(readable_json(value))


def folded_text(text: str) -> SafeString | str:
    """Text with its lines, folded where it is long, cut where it is longer still."""
    return _block(text) if text else NOTHING


def _block(text: str) -> SafeString:
    body, left = text[:MOST_CHARACTERS], len(text) - MOST_CHARACTERS
    if left > 0:
        body += f"\n… and {left:,} more characters"
    lines = body.count("\n") + 1
    content = format_html('<pre class="hitl-json">{}</pre>', plain(body, keep="\n"))
    if lines <= FOLDED_LINES and len(body) <= FOLDED_CHARACTERS:
        return content
    size = f"{lines:,} lines" if lines > 1 else f"{len(body):,} characters"
    return format_html(
        '<details class="hitl-fold"><summary>Show all {}</summary>{}</details>', size, content
    )
