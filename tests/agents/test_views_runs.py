"""The list of runs: what is shown first, what filters and pages leave, and what it costs."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.models import Run
from approvals.clock import clock
from approvals.core.lifecycle import Actor
from tests.agents import scenes
from tests.agents.worker import Worker
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import person

pytestmark = pytest.mark.django_db(transaction=True)

HTMX = {"HX-Request": "true"}
SHIP = {"operation": "deploy", "environment": "production", "description": "Ship it"}


@pytest.fixture
def desk() -> Client:
    """The browser of somebody with no rights but to read."""
    return signed_in(person("vera"))


def listed(count: int, **facts: Any) -> list[Run]:
    """So many runs, the newest first, that no worker has anything to do with."""
    now = clock()
    given = {
        "workflow": "hotfix",
        "graph": "workflow",
        "graph_version": "1",
        "task": {"operation": "deploy", "environment": "production"},
        "input": {},
        "status": "completed",
        "requested_by": "rosa",
        **facts,
    }
    made = []
    for number in range(count):
        run = Run(**given)
        run.thread_id, run.created_at = str(run.pk), now - timedelta(minutes=number)
        made.append(run)
    return Run.objects.bulk_create(made)


def shown(client: Client, query: str = "") -> list[str]:
    """The ids of the runs that a page lists, in order."""
    answer = client.get(f"/runs/{query}")
    assert answer.status_code == 200
    links = [link.attributes for link in read(answer).find("a", **{"class": "row-link"})]
    return [link["href"].split("/")[2] for link in links]


def ids(runs: list[Run]) -> list[str]:
    """The ids of these runs."""
    return [str(run.pk) for run in runs]


def test_the_list_asks_for_a_login_and_stands_beside_the_queue(desk: Client) -> None:
    assert Client().get("/runs/")["Location"] == "/accounts/login/?next=/runs/"
    links = read(desk.get("/")).links()
    places = ["/", "/history/", "/insights/", "/runs/"]
    first = links.index("/", links.index("/") + 1)
    assert links[first : first + 4] == places
    assert read(desk.get("/runs/")).find("a", href="/runs/", **{"aria-current": "page"})


def test_every_state_is_told_by_word_with_those_that_need_attention_first(
    worker: Worker, operator: Actor, desk: Client
) -> None:
    runs = scenes.every_state(worker, operator)
    text = read(desk.get("/runs/")).text
    words = "Needs attention", "Running", "Waiting", "Completed", "Rejected", "Cancelled", "Failed"
    for word in words:
        assert word in text
    order = shown(desk)
    assert order[0] == str(runs.pop("needs_attention").pk)
    newest_first = sorted(runs.values(), key=lambda run: run.created_at, reverse=True)
    assert order[1:] == ids(newest_first)


def test_a_row_tells_what_for_by_whom_how_far_and_what_it_waits_for(
    worker: Worker, desk: Client
) -> None:
    run = scenes.waiting(worker, "pr-deployment")
    pull = "https://github.com/acme/shop/pull/412"
    Run.objects.filter(pk=run.pk).update(pr_number=412, pr_url=pull)
    page = read(desk.get("/runs/"))
    for words in (
        "Deploy a pull request version v2.5.0",
        "Ship the saved baskets",
        "workflow pr-deployment",
        "asked by rosa",
        "code_review, cicd",
        "step 4 of 4",
        "Waits for Deploy to production",
        "Started",
    ):
        assert words in page.text
    assert pull in page.links()
    assert f"/approvals/{worker.pending(run)[0].pk}/" in page.links()


def test_a_row_that_needs_attention_says_why(worker: Worker, desk: Client) -> None:
    scenes.stopped(worker)
    assert (
        "The reply was lost, so it may or may not have happened." in read(desk.get("/runs/")).text
    )


def test_filters_live_in_the_address(desk: Client) -> None:
    (hotfix,) = listed(1)
    (docs,) = listed(1, workflow="docs-update", status="failed", requested_by="ines")
    (stopped,) = listed(1, workflow="docs-update", status="needs_attention")
    for query, found in (
        ("", [stopped, docs, hotfix]),
        ("?status=failed", [docs]),
        ("?status=needs_attention", [stopped]),
        ("?workflow=docs-update", [stopped, docs]),
        ("?workflow=docs-update&status=completed", []),
        ("?text=ines", [docs]),
        (f"?text={hotfix.pk}", [hotfix]),
        (f"?text={str(hotfix.pk)[:8].upper()}", [hotfix]),
        ("?text=%20rosa%20", [stopped, hotfix]),
        ("?text=ros", []),
        ("?text=%25", []),
    ):
        assert shown(desk, query) == ids(found), query
    assert "Clear the filters" in read(desk.get("/runs/?status=failed")).text


@pytest.mark.parametrize("query", ["status=perhaps", "after=here", "workflow=" + "x" * 101])
def test_a_filter_that_makes_no_sense_is_refused_in_words(desk: Client, query: str) -> None:
    listed(1)
    answer = desk.get(f"/runs/?{query}")
    assert answer.status_code == 422
    page = read(answer)
    assert page.find("p", role="alert")
    assert page.undescribed() == []
    assert "Clear the filters" in page.text
    part = read(desk.get(f"/runs/?{query}", headers=HTMX))
    assert part.find("p", role="alert") == []
    assert part.find("div", **{"data-announce": "No run can fit this."})


def test_pages_follow_one_another_without_a_gap_or_a_repeat(desk: Client) -> None:
    runs = listed(120)
    # Where two began at the same moment, the id decides.
    Run.objects.filter(pk__in=ids(runs[40:60])).update(created_at=runs[50].created_at)
    in_order = ids(list(Run.objects.order_by("-created_at", "-pk")))
    seen, query, pages = [], "?status=completed", 0
    while query:
        seen += shown(desk, query)
        pages += 1
        following = read(desk.get(f"/runs/{query}")).find("a", rel="next")
        query = following[0].attributes["href"].removeprefix("/runs/") if following else ""
    assert (seen, pages) == (in_order, 3)


def test_an_older_page_leads_back_and_leaves_out_what_needs_attention(desk: Client) -> None:
    (stopped,) = listed(1, status="needs_attention")
    runs = listed(60)
    assert shown(desk, f"?after={runs[49].pk}") == ids(runs[50:])
    page = read(desk.get(f"/runs/?after={runs[-1].pk}"))
    assert "There is nothing older." in page.text
    assert "/runs/" in page.links()
    assert str(stopped.pk) not in page.text


def test_many_that_need_attention_lead_to_all_of_them(desk: Client) -> None:
    runs = listed(25, status="needs_attention")
    answer = read(desk.get("/runs/"))
    assert "20+" in answer.text
    assert "/runs/?status=needs_attention" in answer.links()
    assert shown(desk, "?status=needs_attention") == ids(runs)


def test_an_empty_list_says_what_to_do_next(desk: Client) -> None:
    page = read(desk.get("/runs/"))
    assert "No workflow has been started yet." in page.text
    assert "/api/docs" in page.links()
    listed(1)
    assert "No run fits these filters." in read(desk.get("/runs/?text=nobody")).text
    Run.objects.update(status="needs_attention")
    assert "There are no other runs." in read(desk.get("/runs/")).text


def test_htmx_gets_only_the_live_part(desk: Client) -> None:
    listed(1)
    answer = desk.get("/runs/?workflow=hotfix", headers=HTMX)
    page = read(answer)
    assert not page.find("html")
    (part,) = page.find("div", id="runs")
    assert part.attributes["hx-get"] == "/runs/?workflow=hotfix"
    assert part.attributes["data-live"] == "all"
    assert "HX-Request" in answer["Vary"]
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("count", [1, 30])
def test_the_list_costs_the_same_queries_however_many_rows(
    worker: Worker, desk: Client, count: int
) -> None:
    scenes.waiting(worker)
    listed(count - 1, status="waiting", task=SHIP)
    listed(count, status="needs_attention", attention="Look.", task=SHIP)
    listed(count, task=SHIP, result={"outcome": "completed", "reason": "x"})
    with CaptureQueriesContext(connection) as queries:
        assert desk.get("/runs/").status_code == 200
    # Session, account, clock, those that need attention, all others, requests, executions.
    assert len(queries) == 7


def test_a_page_of_fifty_rows_stays_small(worker: Worker, desk: Client) -> None:
    run = scenes.waiting(worker, "pr-deployment")
    listed(49, task=run.task, steps=run.steps, pr_number=1, pr_url="https://github.com/a/b/pull/1")
    assert len(shown(desk)) == 50
    assert len(desk.get("/runs/").content) < 100_000
