"""Hostile text stays text on the pages about runs, and none breaks the strict policy."""

from collections.abc import Callable
from typing import Any

import pytest
from django.template import Context, Template
from django.test import Client

from agents.models import Execution, Run
from approvals.core.lifecycle import Actor
from tests.agents import scenes
from tests.agents.worker import Worker
from tests.approvals.pages import Page, read, signed_in

pytestmark = pytest.mark.django_db(transaction=True)

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
TURNED = "\u202e"
FACE = "\U0001f9e8"
EVIL = f"{SCRIPT}{IMAGE}{TURNED}{FACE} {{{{ 7|add:7 }}}} {{% now 'Y' %}}"


def hostile(worker: Worker) -> Run:
    """A run of which every text was written by somebody with bad intentions."""
    run = scenes.stopped(worker, "hotfix")
    step = {"name": EVIL, "agent": EVIL, "operation": EVIL, "environment": EVIL}
    ended = {**step, "status": "failed", "summary": EVIL, "request_id": None}
    Run.objects.filter(pk=run.pk).update(
        workflow=EVIL,
        attention=EVIL,
        requested_by=EVIL,
        graph_version=EVIL[:40],
        github_repo=EVIL,
        pr_number=7,
        pr_url="javascript:alert(1)",
        steps=[{**ended, "status": "succeeded"}, run.steps[1], ended],
        result={"reason": EVIL, "summary": EVIL, EVIL: EVIL},
        task={"operation": EVIL, "description": EVIL, "arguments": {EVIL: EVIL}, EVIL: [EVIL]},
        input={"steps": [{**step, "arguments": {EVIL: EVIL}, "rollback": [step]}] * 2},
    )
    Execution.objects.filter(run=run).update(
        summary=EVIL, output=EVIL, data={"url": "javascript:alert(2)", "exit_code": EVIL}
    )
    return run


def run_list(client: Client, _: Run) -> Page:
    """The list."""
    return read(client.get("/runs/"))


def run_page(client: Client, run: Run) -> Page:
    """The run's page."""
    return read(client.get(f"/runs/{run.pk}/"))


def refusal(client: Client, run: Run) -> Page:
    """The answer to hostile words that come too late."""
    Run.objects.filter(pk=run.pk).update(status="failed")
    return read(client.post(f"/runs/{run.pk}/done/", {"done-words": EVIL}))


def compact(_: Client, run: Run) -> Page:
    """The compact steps, as on a request's page."""

    class Rendered:
        content = (
            Template("{% load runs %}{% run_of thread %} Log out")
            .render(Context({"thread": run.thread_id}))
            .encode()
        )

    return read(Rendered())


@pytest.mark.parametrize("look", [run_list, run_page, refusal, compact])
def test_hostile_text_is_shown_inert(
    worker: Worker, operator: Actor, look: Callable[[Client, Run], Page]
) -> None:
    page = look(signed_in(operator), hostile(worker))
    assert "Log out" in page.text
    assert list(page.faults()) == []
    assert not page.find("img", src="x")
    assert TURNED not in page.text
    assert not any(TURNED in text for e in page.elements for text in e.attributes.values())
    assert "{{ 7|add:7 }} {% now 'Y' %}" in page.text
    assert not [link for link in page.links() if not link.startswith(("/", "#"))]


def test_a_search_for_hostile_text_is_answered_with_it_as_text(
    worker: Worker, operator: Actor
) -> None:
    page = read(signed_in(operator).get("/runs/", {"text": EVIL, "workflow": EVIL[:100]}))
    assert list(page.faults()) == []
    assert page.find("input", value=EVIL)


def test_every_page_keeps_the_strict_policy_and_has_its_landmarks(
    worker: Worker, operator: Actor
) -> None:
    run, client = scenes.stopped(worker), signed_in(operator)
    execution = Execution.objects.get(run=run)
    pages = ["/runs/", "/runs/?status=perhaps", f"/runs/{run.pk}/"]
    for address in [*pages, f"/runs/{run.pk}/output/{execution.pk}/"]:
        answer = client.get(address)
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert "unsafe" not in answer["Content-Security-Policy"]
    for address in pages:
        page = read(client.get(address))
        assert list(page.faults()) == []
        assert len(page.find("h1")) == 1
        assert page.find("main", id="content")
        labelled = {label.attributes["for"] for label in page.find("label")}
        for tag in ("input", "select", "textarea"):
            for element in page.find(tag):
                if element.attributes.get("type") != "hidden":
                    assert element.attributes["id"] in labelled
        identities = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
        assert len(identities) == len(set(identities))


def test_output_as_text_has_nothing_invisible(worker: Worker, operator: Actor) -> None:
    run = hostile(worker)
    execution = Execution.objects.filter(run=run)[0]
    answer = signed_in(operator).get(f"/runs/{run.pk}/output/{execution.pk}/")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert TURNED not in answer.content.decode()


@pytest.mark.parametrize(
    "given", [{}, {"steps": [{}]}, {"url": 7}, {"exit_code": True, "status": "x"}]
)
def test_a_record_of_another_shape_breaks_no_page(
    worker: Worker, operator: Actor, given: dict[str, Any]
) -> None:
    run = scenes.stopped(worker)
    Execution.objects.filter(run=run).update(data=given)
    assert signed_in(operator).get(f"/runs/{run.pk}/").status_code == 200
