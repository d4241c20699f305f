"""Five hundred open tabs of the queue, beside none.

What they cost the web server while nothing happens, and how long it takes until each has heard of a
new request and shows it. Each asks for its live part then, so the last one waits for all others.

They are those of sixty people with several rights, in two time zones, a third of whom have asked
for or voted on something that waits; every tenth tab has a filter.
"""

import time
from collections.abc import Iterator, Mapping, Sequence

from approvals import services
from bench import processes
from bench.browser import Tab, Tabs
from bench.filling import fill
from bench.load import Load, http_get, send_all
from bench.measure import Bound, Counts, Fact, Figures, Result
from bench.operation import AGENT, TASK
from bench.people import asking, crowd, logged_in
from bench.sizes import FEW, FEW_SPAN
from bench.stack import Stack

# So many tabs are `together`; `rounds` requests are opened while they are open, and `alone` pages
# of the queue are looked at by somebody else, before and while.
FULL = Counts(rounds=2, alone=40, together=500, warm_up=10)
QUICK = Counts(rounds=1, alone=5, together=20, warm_up=2)
PEOPLE = 60
# So few that everybody's page shows all that waits, and is full with what was decided.
PENDING = 8
FILTERED, EVERY = "/?environment=production", 10
IDLE_SECONDS = 10.0
SHOWN_SECONDS = 30.0
REST_SECONDS = 2.0
IDLE = "processor of the web server while nothing happens"
TOLD = "until the last tab has heard of a request"
SHOWN = "until the last tab shows it"
UNSHOWN = "tabs that did not show it"
GOALS = (
    Bound(IDLE, 20, "% of a core"),
    Bound(TOLD, 3, "s"),
    Bound(SHOWN, 3, "s"),
    Bound(UNSHOWN, 0, "tabs"),
)


def measure(stack: Stack, counts: Counts) -> Iterator[Result]:
    """Open the tabs, let nothing happen, then something, and close them."""
    place = stack.new_gateway("tabs")
    # A run of few rounds is one that only looks whether this still works.
    idle_seconds = min(IDLE_SECONDS, IDLE_SECONDS * counts.rounds / 2)
    with_tabs, without = Figures(f"{counts.together} tabs"), Figures("none")

    def look() -> Load:
        page = http_get("/", logged_in())
        return send_all(place.port, [page] * counts.alone, 200, concurrency=1)

    with place.current(), place.web() as web:
        fill(place.superuser_url, FEW, pending=PENDING, span=FEW_SPAN)
        people = crowd(min(PEOPLE, counts.together))
        send_all(place.port, [http_get("/", logged_in())] * counts.warm_up, 200, concurrency=1)
        without.add_times(look())
        nobody = _idle_share(web, idle_seconds)
        with Tabs.opened(place.port, _spread(people, counts.together)) as tabs:
            time.sleep(REST_SECONDS)
            idle = _idle_share(web, idle_seconds)
            client = processes.cpu_seconds([tabs.pid])
            with_tabs.add_times(look())
            changes = [_change(web, tabs) for _ in range(counts.rounds)]
            client = processes.cpu_seconds([tabs.pid]) - client
        time.sleep(REST_SECONDS)
        without.add_times(look())
    told, shown, cpu, unshown, refused = zip(*changes, strict=True)
    facts = [
        Fact(IDLE, idle * 100, "% of a core"),
        Fact("the same without tabs", nobody * 100, "% of a core"),
        Fact(TOLD, max(told), "s"),
        Fact(SHOWN, max(shown), "s"),
        Fact(UNSHOWN, max(unshown), "tabs"),
        Fact("tabs that were refused an answer", max(refused), "tabs"),
        Fact("processor of the web server for one change", sum(cpu) / len(cpu), "s"),
        Fact("processor of the tabs for one change", client / len(cpu), "s"),
    ]
    name = f"queue page, {counts.together} open tabs of {len(people)} people, {FEW:,} requests"
    yield Result(name, with_tabs, without, GOALS, facts)


def _spread(people: Sequence[Mapping[str, str]], number: int) -> list[Tab]:
    """So many tabs, divided among the people."""
    return [
        Tab(people[place % len(people)], FILTERED if place % EVERY == 0 else "/")
        for place in range(number)
    ]


def _idle_share(pid: int, seconds: float) -> float:
    """How much of a core the process uses."""
    used, began = processes.cpu_seconds([pid]), time.monotonic()
    time.sleep(seconds)
    return (processes.cpu_seconds([pid]) - used) / (time.monotonic() - began)


def _change(web: int, tabs: Tabs) -> tuple[float, float, float, int, int]:
    """Open a request: seconds until all have heard and show it, CPU, who does not, who may not."""
    used = processes.cpu_seconds([web])
    opened = services.open_request(
        workflow_id="tabs", thread_id="tabs", task=TASK, agent_name=AGENT, actor=asking()
    )
    began = time.monotonic()
    change = tabs.change(str(opened.request_id), SHOWN_SECONDS)
    # A tab that never heard, or showed, stands for the whole time that was given.
    told, shown = (
        max(times) - began if len(times) == tabs.number else SHOWN_SECONDS
        for times in (change.told_at, change.shown_at)
    )
    cpu = processes.cpu_seconds([web]) - used
    return told, shown, cpu, tabs.number - len(change.shown_at), change.refused
