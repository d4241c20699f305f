"""One run's page: what it tells in every state, and a person's way out."""

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents import services
from agents.models import Execution, Run
from approvals.core.lifecycle import Actor
from approvals.models import ApprovalRequest
from tests.agents import executors_of_tests as executors
from tests.agents import graphs_of_others as others
from tests.agents import scenes
from tests.agents.worker import Worker
from tests.approvals.pages import Page, read, signed_in
from tests.approvals.scenes import entries, person

pytestmark = pytest.mark.django_db(transaction=True)

HTMX = {"HX-Request": "true"}
OUTCOMES = ("done", "retry", "abandon")
SECRET = "hunter2-hunter2"


@pytest.fixture
def desk(operator: Actor) -> Client:
    """An operator's browser."""
    return signed_in(operator)


def page_of(client: Client, run: Run) -> Page:
    """A run's page."""
    answer = client.get(f"/runs/{run.pk}/")
    assert answer.status_code == 200
    return read(answer)


def give(client: Client, run: Run, word: str, reason: str, **rest: Any) -> Any:
    """Fill in one of the forms of a run's page and send it."""
    return client.post(f"/runs/{run.pk}/{word}/", {f"{word}-words": reason}, **rest)


def test_a_page_asks_for_a_login_and_any_account_may_read_it(worker: Worker) -> None:
    run = scenes.waiting(worker)
    address = f"/runs/{run.pk}/"
    assert Client().get(address)["Location"] == f"/accounts/login/?next={address}"
    assert "Deploy to production" in page_of(signed_in(person("vera")), run).text


def test_an_unknown_run_is_not_found(desk: Client) -> None:
    assert desk.get(f"/runs/{uuid4()}/").status_code == 404
    assert desk.post(f"/runs/{uuid4()}/done/", {"done-words": "x"}).status_code == 404
    assert desk.post(f"/runs/{uuid4()}/done/").status_code == 404


def test_a_run_that_waits_says_for_which_request_and_what_comes_next(
    worker: Worker, desk: Client
) -> None:
    run = scenes.waiting(worker, "pr-deployment")
    (request,) = worker.pending(run)
    page = page_of(desk, run)
    assert "It waits for a decision about step 4 of 4." in page.text
    assert "Ship the saved baskets" in page.text
    assert "version v2.5.0" in page.text
    assert f"/approvals/{request.pk}/" in page.links()
    assert "If it does not succeed, roll-back-staging follows." in page.text
    # What was run before needed nobody, and is told with its output.
    for execution in Execution.objects.filter(run=run):
        assert len(page.find("details", id=f"output-{execution.pk}")) == 1
    assert "This run needs somebody to look" not in page.text


def test_a_run_at_work_says_so_and_is_looked_at_often(worker: Worker, desk: Client) -> None:
    run = scenes.at_work(worker)
    page = page_of(desk, run)
    assert "Step 1 is at work: Deploy to production." in page.text
    assert "Counts as crashed" in page.text
    (part,) = page.find("div", id="run")
    assert part.attributes["hx-trigger"] == "changed, every 5s"


def test_the_live_part_hears_of_the_run_and_of_its_requests(worker: Worker, desk: Client) -> None:
    run = scenes.waiting(worker)
    (request,) = worker.pending(run)
    page = read(desk.get(f"/runs/{run.pk}/", headers=HTMX))
    assert not page.find("html")
    (part,) = page.find("div", id="run")
    assert part.attributes["data-live"].split() == [str(run.pk), str(request.pk)]
    assert part.attributes["hx-get"] == f"/runs/{run.pk}/"


def test_a_completed_run_tells_how_each_action_ended(worker: Worker, desk: Client) -> None:
    run = scenes.completed(worker)
    Execution.objects.filter(run=run).update(data={"exit_code": 0})
    text = page_of(desk, run).text
    assert "Every step succeeded." in text
    for words in ("Executionsucceeded", "Attempts1", "Ended withexit 0"):
        assert words in text
    assert "fine" in text
    assert "by ada" in text
    assert "Cancel the run" not in text


def test_a_rejected_run_shows_its_rollback_and_why(worker: Worker, desk: Client) -> None:
    text = page_of(desk, scenes.rejected(worker)).text
    assert "Step 4, Deploy to production, was rejected. Its rollback steps followed." in text
    assert "rejected by ada: because" in text
    assert "Rollback Done" in text


def test_what_was_planned_after_a_failure_is_shown_as_not_reached(
    worker: Worker, desk: Client
) -> None:
    run = scenes.rejected(worker, "infrastructure")
    text = page_of(desk, run).text
    assert "Step 1, Terraform apply to production, was rejected." in text
    assert "Not reached" in text
    assert "1 of 2" in text


def test_a_failed_run_shows_what_the_action_said(worker: Worker, desk: Client) -> None:
    text = page_of(desk, scenes.failed(worker)).text
    assert "Step 1, Deploy to production, failed. Nothing followed it." in text
    assert "exited 3" in text
    assert "no disk left" in text


def test_a_cancelled_run_says_who_and_why(worker: Worker, operator: Actor, desk: Client) -> None:
    text = page_of(desk, scenes.cancelled(worker, operator)).text
    assert "It was cancelled; nothing more of it runs." in text
    assert "olga cancelled the run" in text
    assert "Not during the sale." in text


def test_the_timeline_tells_of_the_run_and_of_its_requests_in_order(
    worker: Worker, desk: Client
) -> None:
    run = scenes.completed(worker)
    told = [
        element.attributes["data-event"]
        for element in page_of(desk, run).find("li")
        if "data-event" in element.attributes
    ]
    assert told == [
        "run.started",
        "request.opened",
        "request.approved",
        "execution.started",
        "execution.finished",
        "run.ended",
    ]


def test_a_graph_of_somebody_else_shows_what_it_asked_for(
    worker: Worker, desk: Client, settings: Any
) -> None:
    settings.HITL_GRAPHS = {"nightly": ("tests.agents.graphs_of_others.parallel_interrupts", "1")}
    run = worker.start("nightly")
    page = page_of(desk, run)
    assert "What it asked for 2" in page.text
    assert "It waits for 2 decisions." in page.text
    assert len([link for link in page.links() if link.startswith("/approvals/")]) > 2


def test_a_run_that_needs_attention_explains_each_way_before_it_is_pressed(
    worker: Worker, desk: Client
) -> None:
    run = scenes.stopped(worker, "hotfix")
    page = page_of(desk, run)
    assert "The reply was lost, so it may or may not have happened." in page.text
    assert Execution.objects.get(run=run, status="unknown").key in page.text
    for words in (
        "Step 2, Deploy to production, counts as succeeded and is not begun again.",
        "Nothing comes after it, so the run ends.",
        "is begun once more, with the same key.",
        "counts as not done, and the run ends as failed.",
        "Its rollback steps do not run; what it still waits for is cancelled.",
    ):
        assert words in page.text
    assert {form.attributes["action"] for form in page.find("form", **{"hx-target": "#run"})} == {
        f"/runs/{run.pk}/{word}/" for word in (*OUTCOMES, "cancel")
    }
    assert not any("disabled" in found.attributes for found in page.find("fieldset"))


def test_an_action_that_was_not_begun_is_not_looked_for(worker: Worker, desk: Client) -> None:
    run = scenes.waiting(worker)
    executors.next_outcomes.append("refuse")
    worker.decide(worker.pending(run)[0])
    text = page_of(desk, run).text
    assert "The call was not begun: nobody listens." in text
    assert "The action of step 1 was not begun: repair what kept it" in text
    assert "Look first where step 1 acts" not in text


def test_where_no_action_stands_open_the_ways_say_what_follows_then(
    worker: Worker, desk: Client, settings: Any
) -> None:
    settings.HITL_GRAPHS = {"nightly": ("tests.agents.graphs_of_others.failing", "1")}
    run = worker.start("nightly")
    text = page_of(desk, run).text
    assert "the penguins are loose" in text
    assert "No action stands open, so the run ends as completed." in text
    assert "The run goes on where it stopped." in text
    others.asked["fail"] = False
    try:
        give(desk, run, "retry", "They are caught.")
        worker.turn()
    finally:
        del others.asked["fail"]
    assert scenes.fresh(run).status == "completed"
    assert "It has ended." in page_of(desk, run).text


@pytest.mark.parametrize(
    ("word", "status", "notice", "begun"),
    [
        ("done", "completed", "Settled as done. The run goes on.", 1),
        ("retry", "completed", "The run goes on where it stopped.", 2),
        ("abandon", "failed", "Abandoned. The run has ended as failed.", 1),
    ],
)
@pytest.mark.parametrize("headers", [None, HTMX])
def test_an_operator_settles_a_run_on_its_page(
    worker: Worker,
    desk: Client,
    word: str,
    status: str,
    notice: str,
    begun: int,
    headers: dict[str, str] | None,
) -> None:
    run = scenes.stopped(worker)
    answer = give(desk, run, word, "I looked.", headers=headers)
    if headers is None:
        assert (answer.status_code, answer["Location"]) == (302, f"/runs/{run.pk}/")
        page = page_of(desk, run)
    else:
        assert answer.status_code == 200
        page = read(answer)
        assert not page.find("html")
        assert page.find("div", **{"hx-swap-oob": "innerHTML:#notices"})
    assert notice in page.text
    assert f"olga settled the run as {word}" in page.text
    assert "I looked." in page.text
    worker.turn()
    assert scenes.fresh(run).status == status
    assert len(executors.begun) == begun


@pytest.mark.parametrize("word", OUTCOMES)
def test_a_word_without_a_reason_is_refused_in_place(
    worker: Worker, desk: Client, word: str
) -> None:
    run = scenes.stopped(worker)
    answer = give(desk, run, word, "   ")
    assert answer.status_code == 422
    page = read(answer)
    assert "Say why; the audit log keeps it." in page.text
    (field,) = page.find("textarea", id=f"id_{word}-words")
    assert field.attributes["aria-invalid"] == "true"
    assert scenes.fresh(run).status == "needs_attention"


def test_a_reason_that_is_too_long_is_kept(worker: Worker, desk: Client) -> None:
    run = scenes.stopped(worker)
    long = "why " * 1500
    answer = give(desk, run, "done", long)
    assert answer.status_code == 422
    assert long.strip() in read(answer).text + " "


def test_who_may_not_settle_sees_the_forms_disabled_and_is_refused(worker: Worker) -> None:
    run = scenes.stopped(worker)
    client = signed_in(person("vera"))
    page = page_of(client, run)
    assert "Only an operator may settle a run." in page.text
    assert "Only whoever asked for it, or an operator, may cancel a run." in page.text
    assert len(page.find("fieldset", disabled="")) == 4
    for word in (*OUTCOMES, "cancel"):
        answer = give(client, run, word, "I want to.")
        assert answer.status_code == 403
        assert "What you had written: I want to." in read(answer).text
    assert scenes.fresh(run).status == "needs_attention"


def test_a_late_word_is_refused_in_place_with_what_was_typed(
    worker: Worker, operator: Actor, desk: Client
) -> None:
    run = scenes.stopped(worker)
    services.settle_run(run.pk, "abandon", actor=operator, reason="First.")
    answer = give(desk, run, "done", "Second.", headers=HTMX)
    assert answer.status_code == 403
    text = read(answer).text
    assert "The run is failed; only one that needs attention is settled." in text
    assert "What you had written: Second." in text


@pytest.mark.parametrize("word", [*OUTCOMES, "cancel"])
@pytest.mark.parametrize("headers", [None, HTMX])
def test_what_is_too_long_for_a_form_that_is_gone_is_given_back(
    worker: Worker, operator: Actor, desk: Client, word: str, headers: dict[str, str] | None
) -> None:
    run = scenes.stopped(worker)
    services.settle_run(run.pk, "abandon", actor=operator, reason="First.")
    long = "why-" * 1001
    answer = give(desk, run, word, long, headers=headers)
    assert answer.status_code == 409
    page = read(answer)
    assert "Nothing was done: this is not asked of you here, or not any more." in page.text
    assert f"What you had written: {long}" in page.text


def test_what_is_too_long_and_not_allowed_is_given_back(worker: Worker) -> None:
    run, client = scenes.stopped(worker), signed_in(person("vera"))
    for word in (*OUTCOMES, "cancel"):
        answer = give(client, run, word, "why-" * 1001)
        assert answer.status_code == 409
        assert "What you had written: why-" in read(answer).text


def test_whoever_asked_may_cancel_and_what_waits_goes_with_it(worker: Worker) -> None:
    run = scenes.waiting(worker)
    (request,) = worker.pending(run)
    client = Client()
    client.force_login(worker.requester)
    answer = give(client, run, "cancel", "Not wanted any more.")
    assert (answer.status_code, answer["Location"]) == (302, f"/runs/{run.pk}/")
    assert "The run is cancelled, and so is what it waited for." in page_of(client, run).text
    assert ApprovalRequest.objects.get(pk=request.pk).status == "cancelled"
    again = give(client, run, "cancel", "Really.", headers=HTMX)
    assert again.status_code == 409
    assert "This workflow has already ended: cancelled." in read(again).text


@pytest.mark.parametrize("word", [*OUTCOMES, "cancel"])
def test_reading_the_address_of_a_word_changes_nothing_and_leads_to_the_page(
    worker: Worker, desk: Client, word: str
) -> None:
    run = scenes.stopped(worker)
    before = entries(run.pk)
    for method in (desk.get, desk.head, desk.put, desk.delete):
        answer = method(f"/runs/{run.pk}/{word}/", {f"{word}-words": "Scanned."})
        assert (answer.status_code, answer["Location"]) == (302, f"/runs/{run.pk}/")
    assert scenes.fresh(run).status == "needs_attention"
    assert entries(run.pk) == before


@pytest.mark.parametrize("word", [*OUTCOMES, "cancel"])
def test_a_form_from_elsewhere_is_refused(worker: Worker, operator: Actor, word: str) -> None:
    run = scenes.stopped(worker)
    client = Client(enforce_csrf_checks=True)
    client.cookies = signed_in(operator).cookies
    answer = give(client, run, word, "Forged.")
    assert answer.status_code == 403
    assert "The form was too old" in read(answer).text
    assert scenes.fresh(run).status == "needs_attention"


def test_no_secret_is_told_by_a_page_or_by_an_output(worker: Worker, desk: Client) -> None:
    run = scenes.stopped(worker)
    execution = Execution.objects.get(run=run)
    said = {"output": f"token={SECRET} " + "x" * 9000, "summary": f"It said {SECRET}."}
    Execution.objects.filter(pk=execution.pk).update(**said)
    task = {**run.task, "deploy_token": SECRET}
    Run.objects.filter(pk=run.pk).update(task=task, attention=said["summary"])
    html = desk.get(f"/runs/{run.pk}/").content.decode()
    assert SECRET not in html
    assert "It said ••••••." in html
    assert f"/runs/{run.pk}/output/{execution.pk}/" in html
    whole = desk.get(f"/runs/{run.pk}/output/{execution.pk}/")
    assert whole["Content-Type"] == "text/plain; charset=utf-8"
    assert whole["X-Content-Type-Options"] == "nosniff"
    assert whole.content.decode().startswith("token=•••••• xxx")
    assert SECRET not in desk.get("/runs/").content.decode()


def test_an_output_is_found_only_through_its_own_run(worker: Worker, desk: Client) -> None:
    one, other = scenes.completed(worker), scenes.waiting(worker)
    execution = Execution.objects.get(run=one)
    assert desk.get(f"/runs/{other.pk}/output/{execution.pk}/").status_code == 404
    address = f"/runs/{one.pk}/output/{execution.pk}/"
    assert desk.get(address).content == b"fine"
    assert Client().get(address).status_code == 302


@pytest.mark.parametrize("count", [1, 30])
def test_a_page_costs_the_same_queries_however_much_happened(
    worker: Worker, desk: Client, count: int
) -> None:
    run = scenes.stopped(worker)
    step = scenes.fresh(run).steps[0]
    Run.objects.filter(pk=run.pk).update(steps=[step] * count)
    for position in range(1, count):
        Execution.objects.create(
            run=run, key=f"{run.pk}:{position}", position=position, action={}, digest="0" * 64
        )
    with CaptureQueriesContext(connection) as queries:
        assert desk.get(f"/runs/{run.pk}/").status_code == 200
    # Session, account, groups, clock, run, requests, executions, audit entries.
    assert len(queries) == 8
