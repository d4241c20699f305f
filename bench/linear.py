"""A Linear that takes two seconds for each answer, beside one that answers at once.

The resumes, the queue page and the webhook go on while two processes tell Linear of every request.
Whatever one side still owes Linear is told before the other begins.
"""

from collections.abc import Callable, Iterator
from functools import partial

from django.db.models import F

from approvals.core.events import LINEAR
from approvals.models import ClockTimestamp, Delivery
from bench import deciding, resuming
from bench.load import Load, http_get, send_all
from bench.measure import Counts, Ratio, Result, Side, compare
from bench.people import logged_in
from bench.stack import Sandbox, Stack

SLOW_SECONDS = 2.0
FULL = Counts(rounds=4, alone=12, together=0, warm_up=4)
QUICK = Counts(rounds=1, alone=2, together=0, warm_up=1)
GOALS = (Ratio("p50_ms", 1.1), Ratio("p95_ms", 1.1))
LABEL = f"Linear at {SLOW_SECONDS:g} s"
PROCESSES = 2
DRAIN_SECONDS = 120.0


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Decide and look while workers tell a slow Linear and a quick one of it."""
    with (
        stack.sandbox() as sandbox,
        stack.gateway("linear", sandbox.settings) as place,
        place.web(),
        place.worker("runs"),
        place.worker("channels", concurrency=PROCESSES),
    ):
        webhook = deciding.gateway(place.port)
        measures = {
            resuming.NAME: Side("", resuming.gateway().alone),
            "queue page": Side("", partial(_look, place.port)),
            deciding.NAME: Side("", webhook.alone),
        }
        for name, side in measures.items():
            slow = Side(LABEL, _told(side.alone, sandbox, SLOW_SECONDS))
            quick = Side("Linear at once", _told(side.alone, sandbox, 0))
            yield compare(f"{name}, Linear slow", slow, quick, counts, GOALS)


def _told(work: Callable[[int], Load], sandbox: Sandbox, seconds: float) -> Callable[[int], Load]:
    """The work, with requests that Linear is told of meanwhile, and has been when it ends."""

    def do(count: int) -> Load:
        owed = Delivery.objects.filter(channel=LINEAR, done__lt=F("wanted"))
        claimed = owed.filter(lease_until__gt=ClockTimestamp())
        if seconds:
            sandbox.slow_down(seconds)
        for _ in range(PROCESSES):
            deciding.opened()
        # Every process is at it before the work begins, or has done it where Linear is quick.
        resuming.wait(
            lambda: claimed.count() == PROCESSES or not owed.exists(), "to begin to tell Linear"
        )
        load = work(count)
        sandbox.recover()
        resuming.wait(lambda: not owed.exists(), "to tell Linear of everything", DRAIN_SECONDS)
        return load

    return do


def _look(port: int, count: int) -> Load:
    return send_all(port, [http_get("/", logged_in())] * count, 200, concurrency=1)
