"""What open pages ask for by themselves is made once for many, and is never somebody else's."""

import re
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from itertools import permutations
from types import FrameType
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import services
from approvals.core.lifecycle import Actor, Choice
from approvals.models import ApprovalRequest, AuditEntry
from approvals.views import queue, sharing
from tests.approvals.pages import HTMX, read, signed_in
from tests.approvals.scenes import DELETE, DEPLOY, MIGRATE, manager, opened, pass_deadline, person
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

# What htmx says when the open part asks by itself, and when a person filters.
REFRESH = {**HTMX, "HX-Target": "queue", "HX-Trigger": "queue"}
BY_HAND = {**HTMX, "HX-Target": "queue", "HX-Trigger": "filters"}
# Each browser's own token, the time, and how long ago things are.
OWN = re.compile(
    r'name="csrfmiddlewaretoken" value="\w+"|data-now="[^"]+"|(?<=moment-words">)[^<]+'
)


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    # No test falls on the moment at which all that is kept ends.
    monkeypatch.setattr(sharing, "SECONDS", 1e9)
    monkeypatch.setattr(sharing, "_kept", {})


def refreshed(client: Client, query: str = "", **headers: str) -> str:
    """What an open page is given, without what is each browser's own."""
    answer = client.get(f"/{query}", headers={**REFRESH, **headers})
    assert answer.status_code == 200
    return OWN.sub("", answer.content.decode())


def by_hand(client: Client, query: str = "", **headers: str) -> str:
    """The same, made for that person alone."""
    return OWN.sub("", client.get(f"/{query}", headers={**BY_HAND, **headers}).content.decode())


def everybody() -> dict[str, Actor]:
    """People of several rights, of whom some asked for or voted on what waits."""
    people = {
        "dora": person("dora", "developers"),
        "dan": person("dan", "developers"),
        "maria": manager("maria"),
        "max": manager("max"),
        "mona": manager("mona"),
        "moritz": manager("moritz"),
        "olga": person("olga", "operators", "developers"),
        "nobody": person("nobody"),
    }
    opened(MIGRATE)
    opened(DEPLOY)
    opened(DEPLOY, actor=people["maria"])
    opened(MIGRATE, requested_by="DAN@example.com ", actor=people["olga"])
    services.cast_vote(opened(DELETE), actor=people["max"], choice=Choice.APPROVE)
    return people


def test_a_refresh_shows_each_person_what_a_page_of_their_own_would(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    browsers = [signed_in(actor) for actor in everybody().values()]
    own = [by_hand(browser) for browser in browsers]
    assert len(set(own)) == 6
    for order in (browsers, browsers[::-1]):
        shown = {browser: refreshed(browser) for browser in order}
        assert [shown[browser] for browser in browsers] == own
        monkeypatch.setattr(sharing, "_kept", {})


@pytest.mark.parametrize("order", list(permutations(["dora", "maria", "max"])))
def test_whoever_asks_first_leaves_nothing_of_theirs_to_the_next(order: tuple[str, ...]) -> None:
    people = everybody()
    shown = {name: refreshed(signed_in(people[name])) for name in order}
    assert "You voted to approve." in shown["max"]
    assert "You voted" not in shown["maria"] + shown["dora"]
    assert "Whoever asked for an operation" in shown["maria"]
    assert "Whoever asked for an operation" not in shown["max"] + shown["dora"]
    assert "Only members of release-managers" in shown["dora"]
    assert "Only members of" not in shown["maria"] + shown["max"]


def test_filters_pages_and_zones_are_not_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "WAITING_SHOWN", 2)
    browser = signed_in(manager("maria"))
    opened(MIGRATE)
    opened(MIGRATE)
    opened(DEPLOY)
    later = re.search(r'rel="next" href="/(\?[^"]+)"', by_hand(browser))
    assert later is not None
    queries = ["", "?environment=staging", "?environment=production", later[1], "?text=deploy"]
    zones = ["UTC", "Asia/Tokyo"]
    for zone in [*zones, *zones]:
        browser.cookies["hitl_zone"] = zone
        for query in queries:
            assert refreshed(browser, query) == by_hand(browser, query)
    assert len({refreshed(browser, query) for query in queries}) == len(queries)


def test_what_makes_no_sense_is_refused_to_everybody() -> None:
    for name in ("maria", "max"):
        answer = signed_in(manager(name)).get("/?risk_level=none", headers=REFRESH)
        assert answer.status_code == 422
        assert "Nothing is shown for this" in read(answer).text


def test_a_vote_shows_in_the_next_refresh_of_everybody() -> None:
    browsers = [signed_in(manager(name)) for name in ("maria", "max")]
    request_id = opened(DELETE)
    assert all("0 of 2" in refreshed(browser) for browser in browsers)
    services.cast_vote(request_id, actor=manager("maria"), choice=Choice.APPROVE)
    mine, others = map(refreshed, browsers)
    assert "1 of 2" in mine
    assert "You voted to approve." in mine
    assert "1 of 2" in others
    assert "You voted" not in others


def test_what_commits_after_something_newer_shows_in_the_next_refresh() -> None:
    browser = signed_in(manager("maria"))
    request_id = opened(DEPLOY)
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence('approvals_auditentry', 'id'))")
        (begun_before,) = cursor.fetchone()
    opened(MIGRATE)
    assert "CHEF-271" not in refreshed(browser)
    ApprovalRequest.objects.filter(pk=request_id).update(linear_issue_id="CHEF-271")
    entry = AuditEntry.objects.get(stream=request_id)
    entry.pk, entry.number = begun_before, 2
    entry.save(force_insert=True)
    assert "CHEF-271" in refreshed(browser)


def test_a_deadline_that_passes_shows_in_the_next_refresh() -> None:
    browser = signed_in(manager("maria"))
    request_id = opened(DEPLOY)
    assert f"pick-{request_id}" in refreshed(browser)
    pass_deadline(request_id)
    assert f"pick-{request_id}" not in refreshed(browser)


def test_rights_that_change_count_in_the_next_refresh() -> None:
    browser = signed_in(person("dora", "developers"))
    opened(DEPLOY)
    assert "Only members of release-managers" in refreshed(browser)
    account = User.objects.get(username="dora")
    account.groups.add(Group.objects.get_or_create(name="release-managers")[0])
    assert "Only members of" not in refreshed(browser)
    account.groups.clear()
    assert "Only members of release-managers" in refreshed(browser)
    account.is_active = False
    account.save()
    assert browser.get("/", headers=REFRESH).status_code == 302


def test_what_is_shared_is_for_whoever_is_logged_in() -> None:
    browser, other = signed_in(manager("maria")), signed_in(manager("max"))
    refreshed(browser)
    other.logout()
    assert other.get("/", headers=REFRESH).status_code == 302
    assert Client().get("/", headers=REFRESH).status_code == 302


def test_each_browser_sends_its_own_token() -> None:
    request_id = opened(MIGRATE)
    for name, status in (("maria", 200), ("max", 200)):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(User.objects.get(username=manager(name).name))
        answer = browser.get("/", headers=REFRESH)
        fields = read(answer).find("input", name="csrfmiddlewaretoken")
        sent = {"csrfmiddlewaretoken": fields[0].attributes["value"], "request": str(request_id)}
        sent |= {"choice": "approve", "words": ""}
        answer = browser.post("/batch/", sent, headers={**HTMX, "HX-Target": "queue"})
        assert answer.status_code == status


def test_the_clock_of_a_refresh_is_that_of_the_answer() -> None:
    browser = signed_in(manager("maria"))

    def told() -> Any:
        answer = browser.get("/", headers=REFRESH)
        return read(answer).find("div", id="queue")[0].attributes["data-now"]

    first, second = told(), told()
    assert first < second


def test_of_many_who_see_the_same_only_the_first_costs_a_rendering() -> None:
    for _ in range(5):
        opened(DEPLOY)
    browsers = [signed_in(manager(name)) for name in ("maria", "max")]
    refreshed(browsers[0])
    with CaptureQueriesContext(connection) as other:
        refreshed(browsers[1])
    with CaptureQueriesContext(connection) as again:
        refreshed(browsers[1])
    # Who it is and their groups, what happened, and whether they asked or voted.
    assert (len(other), len(again)) == (6, 4)


def gathered(ask: Callable[[], object], wait: Callable[[], None]) -> list[object]:
    """What five who ask at once are given, or the error that they get instead."""
    given: list[object] = []

    def take() -> None:
        try:
            given.append(ask())
        except ArithmeticError as error:
            given.append(error)

    asking = [threading.Thread(target=take) for _ in range(5)]
    for one in asking:
        one.start()
    wait()
    for one in asking:
        one.join(10)
    return given


def others_wait() -> None:
    """Go on once all but the one who makes it wait for what is made."""

    def waits(frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code is not Future.result.__code__:
            frame = frame.f_back
        return frame is not None

    def all_do() -> bool:
        frames = sys._current_frames()  # noqa: SLF001 - nothing else tells where threads are
        return sum(map(waits, frames.values())) == 4

    eventually(all_do, "the others wait")


def test_a_thing_that_many_ask_for_at_once_is_made_once() -> None:
    made: list[object] = []
    go_on = threading.Event()

    def make() -> object:
        made.append(object())
        assert go_on.wait(10)
        return made[-1]

    def wait() -> None:
        others_wait()
        assert sharing.shared(1, "b", lambda: "at once") == "at once"
        go_on.set()

    assert gathered(lambda: sharing.shared(1, "a", make), wait) == made * 5


def test_whoever_waits_for_what_cannot_be_made_need_not_try_in_turns() -> None:
    """A database that does not answer would hold each of them for as long, one after another."""
    begun: list[object] = []
    go_on = threading.Event()

    def fail() -> object:
        begun.append(object())
        assert go_on.wait(10)
        raise ZeroDivisionError

    def wait() -> None:
        others_wait()
        go_on.set()

    given = gathered(lambda: sharing.shared(1, "a", fail), wait)
    assert [type(one) for one in given] == [ZeroDivisionError] * 5
    assert len(begun) == 1


def test_what_could_not_be_made_is_tried_again() -> None:
    with pytest.raises(ZeroDivisionError):
        sharing.shared(1, "a", lambda: 1 // 0)
    assert sharing.shared(1, "a", lambda: 1) == 1


def test_nothing_is_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SECONDS", 1e-9)
    assert sharing.shared(1, "a", lambda: 1) == 1
    assert sharing.shared(1, "a", lambda: 2) == 2


def test_nothing_that_happened_before_is_given_after_it() -> None:
    first = sharing.shared(1, "a", object)
    second = sharing.shared(2, "a", object)
    assert first is not second
    assert sharing.shared(2, "a", object) is second


def test_many_different_filters_do_not_fill_the_memory() -> None:
    often = sharing.shared(1, "often", object)
    for number in range(2 * sharing.MOST):
        sharing.shared(1, number, object)
        assert sharing.shared(1, "often", object) is often
    assert sharing.shared(1, 0, lambda: "anew") == "anew"
