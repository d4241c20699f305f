"""What people and Prometheus read, with very many requests in the tables and with a thousand.

The two gateways share one PostgreSQL; each has a web server of its own. Both show full pages, so
that only what must be looked through differs. /metrics comes first, from servers that have just
begun: what a process has counted by itself would be read with it.
"""

from collections.abc import Callable, Iterator
from functools import partial

from approvals.core.lifecycle import Status
from approvals.models import ApprovalRequest
from bench.load import Load, http_get, send_all
from bench.measure import Counts, Goal, Limit, Ratio, Result, Side, compare
from bench.people import asking_token, logged_in
from bench.sizes import FEW, large, small
from bench.stack import Gateway, Stack

FULL = Counts(rounds=5, alone=16, together=16, warm_up=8)
QUICK = Counts(rounds=1, alone=3, together=4, warm_up=2)
CONCURRENCY = 8


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Read each page on both gateways in turn."""
    many, few = large(stack), small(stack)
    with many.web(), few.web():

        def read(name: str, path: Callable[[], str], *goals: Goal) -> Result:
            ours = _side(many, f"{stack.scale:,} requests", path)
            return compare(name, ours, _side(few, f"{FEW:,} requests", path), counts, goals)

        yield read("/metrics", lambda: "/metrics", Ratio("p50_ms", 2), Limit("p95_ms", 100))
        for name, path in PAGES.items():
            yield read(name, path, Ratio("p95_ms", 1.3))


def _decided() -> ApprovalRequest:
    return ApprovalRequest.objects.filter(status=Status.APPROVED).latest("decided_at")


def _waiting() -> ApprovalRequest:
    return ApprovalRequest.objects.filter(status=Status.PENDING).latest("created_at")


# Each path is made in the gateway that is asked for it.
PAGES: dict[str, Callable[[], str]] = {
    "queue page": lambda: "/",
    "request page": lambda: f"/approvals/{_waiting().pk}/",
    "API list": lambda: "/api/approvals",
    "history, a word that one request has": lambda: f"/history/?text={_decided().linear_issue_id}",
    "history, a word of every sixth request": lambda: "/history/?text=deploy",
}


def _side(place: Gateway, label: str, path: Callable[[], str]) -> Side:
    with place.current():
        asked = path()
    # A page is for whoever is logged in, the API for whoever has a token.
    headers = {**logged_in(), "Authorization": f"Bearer {asking_token()}"}
    request = http_get(asked, headers)

    def read(concurrency: int, count: int) -> Load:
        return send_all(place.port, [request] * count, 200, concurrency=concurrency)

    return Side(label, partial(read, 1), partial(read, CONCURRENCY))
