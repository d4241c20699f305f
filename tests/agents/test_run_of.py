"""The compact steps of a run, for pages about something that it asked."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext

from approvals.clock import clock
from approvals.core.lifecycle import Choice
from approvals.models import ApprovalRequest
from tests.agents import scenes
from tests.agents.worker import Worker
from tests.approvals.scenes import opened

pytestmark = pytest.mark.django_db(transaction=True)


def rendered(asked: Any) -> str:
    """What the tag renders, on a page that has read the clock."""
    template = Template("{% load runs %}{% run_of asked %}")
    return template.render(Context({"asked": asked, "now": clock()}))


def test_the_steps_of_the_run_are_shown_with_this_request_marked(worker: Worker) -> None:
    run = scenes.waiting(worker, "pr-deployment")
    (request,) = worker.pending(run)
    html = rendered(request)
    assert f'href="/runs/{run.pk}/"' in html
    assert html.count("<li") == 4
    assert html.count('aria-current="step"') == 1
    assert "this request" in html
    assert f"/approvals/{request.pk}/" not in html
    for asked in (run.thread_id, request.workflow_id, run.pk):
        assert f"/approvals/{request.pk}/" in rendered(asked)


def test_what_was_asked_before_leads_to_its_request(worker: Worker) -> None:
    run = scenes.waiting(worker, "hotfix")
    (first,) = worker.pending(run)
    worker.decide(first, Choice.REJECT)
    (second,) = worker.pending(run)
    html = rendered(second)
    assert f"/approvals/{first.pk}/" in html
    assert f"/approvals/{second.pk}/" not in html
    assert "rollback" in html


def test_nothing_is_rendered_where_there_is_no_run() -> None:
    for asked in ("nightly-42", str(uuid4()), "", None):
        assert rendered(asked).strip() == ""


def test_a_request_from_elsewhere_that_names_a_run_shows_none_of_it(worker: Worker) -> None:
    run = scenes.waiting(worker)
    forged = opened(thread_id=run.thread_id, workflow_id=str(run.pk))
    assert rendered(ApprovalRequest.objects.get(pk=forged)).strip() == ""


def test_it_costs_two_queries(worker: Worker) -> None:
    run = scenes.waiting(worker, "pr-deployment")
    (request,) = worker.pending(run)
    context = Context({"asked": request, "now": clock()})
    template = Template("{% load runs %}{% run_of asked %}")
    with CaptureQueriesContext(connection) as queries:
        template.render(context)
    assert len(queries) == 2
