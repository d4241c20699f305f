"""One request's page: what it says."""

from contextlib import suppress
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import services
from approvals.core.events import EventName
from approvals.core.lifecycle import Choice, Via
from approvals.errors import NotAllowed
from approvals.models import Delivery, Vote
from tests.approvals.pages import HTMX, TYPED, page_of, read, signed_in
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    approve,
    delivery,
    entries,
    manager,
    opened,
    person,
    reject,
    row,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

COMMAND = {
    "executor": "command",
    "operation": "deploy",
    "argv": ["deploy", "--note", "it's ready", "--version", "v2.5.0"],
    "cwd": ".",
    "pass_env": ["DEPLOY_HOST"],
    "timeout_seconds": 900,
    "idempotent": False,
}


def test_the_command_that_will_run_is_shown_to_the_letter_with_its_digest() -> None:
    request_id = opened(DEPLOY, action=COMMAND)
    text = page_of(signed_in(manager("maria")), request_id).text
    assert """deploy --note 'it'"'"'s ready' --version v2.5.0""" in text
    assert row(request_id).digest in text
    assert "15 min" in text
    assert "DEPLOY_HOST" in text


def test_an_http_call_and_a_workflow_run_are_shown_with_what_they_send() -> None:
    client = signed_in(manager("maria"))
    call = {
        "executor": "http",
        "method": "POST",
        "url": "https://ops.example.com/migrations",
        "headers_env": {"Authorization": "OPS_TOKEN"},
        "body": {"target": "0042"},
    }
    text = page_of(client, opened(DEPLOY, action=call)).text
    assert "POST https://ops.example.com/migrations" in text
    assert '"target": "0042"' in text
    assert "Authorization" in text
    run = {
        "executor": "github_workflow",
        "repo": "example/shop",
        "workflow": "merge.yml",
        "ref": "main",
        "inputs": {"method": "squash"},
    }
    text = page_of(client, opened({**DEPLOY, "pr": 1}, action=run)).text
    assert "merge.yml in example/shop at main" in text
    assert '"method": "squash"' in text


def test_without_an_action_the_page_says_that_the_workflow_does_the_work() -> None:
    text = page_of(signed_in(manager("maria")), opened(DEPLOY)).text
    assert "The workflow itself carries this out" in text


def test_the_page_tells_why_who_decides_until_when_and_what_happened() -> None:
    text = page_of(signed_in(manager("maria")), opened(DEPLOY, requested_by="ines")).text
    assert "Operation is deploy and environment is production. Rule production_deploy" in text
    assert "release-managers" in text
    assert "may not decide" in text
    assert "gateway opened the request for ines" in text
    own = opened(MIGRATE, actor=manager("otto"), requested_by="otto")
    text = page_of(signed_in(manager("maria")), own).text
    assert "otto opened the request" in text
    assert "opened the request for" not in text


def test_too_few_people_for_the_quorum_is_a_warning() -> None:
    manager("maria")
    request_id = opened(DELETE)
    assert (
        "1 could decide when this was opened, and 2 are needed"
        in page_of(signed_in(manager("maria")), request_id).text
    )


def test_secrets_are_masked_in_the_task_and_in_the_action_they_went_into() -> None:
    task = {**DEPLOY, "arguments": {"api_token": "sk-very-secret", "version": "v1"}}
    action = {**COMMAND, "argv": ["deploy", "--token=sk-very-secret"]}
    html = signed_in(manager("maria")).get(f"/approvals/{opened(task, action=action)}/").content
    assert b"sk-very-secret" not in html
    assert "--token=••••••" in html.decode()


def test_deliveries_show_their_last_error_and_operators_try_again() -> None:
    request_id = opened(DEPLOY)
    Delivery.objects.filter(request_id=request_id, channel="linear").update(
        attempts=7, last_error="Linear answered 503.", gave_up_at=row(request_id).created_at
    )
    linear = delivery(request_id, "linear")
    address = f"/approvals/{request_id}/deliveries/{linear.pk}/retry/"
    reader = signed_in(manager("maria"))
    page = read(reader.get(f"/approvals/{request_id}/"))
    assert "Linear answered 503." in page.text
    assert not page.find("form", action=address)
    # As long as any other reason may be.
    words = {f"retry-{linear.pk}-words": f"The outage is over{'.' * 3900}"}
    assert reader.post(address, words).status_code == 403
    operator = signed_in(person("olga", "operators"))
    assert read(operator.get(f"/approvals/{request_id}/")).find("form", action=address)
    assert operator.post(address).status_code == 422
    operator.post(address, words)
    assert delivery(request_id, "linear").gave_up_at is None
    assert "The outage is over" in page_of(operator, request_id).text


def test_a_delivery_of_another_request_is_not_reached_through_this_one() -> None:
    one, other = opened(DEPLOY), opened(DELETE)
    theirs = delivery(other, "linear").pk
    client = signed_in(person("olga", "operators"))
    answer = client.post(
        f"/approvals/{one}/deliveries/{theirs}/retry/", {f"retry-{theirs}-words": "Why not"}
    )
    assert answer.status_code == 404
    assert "delivery.retried" not in entries(other)


def test_a_superseded_request_leads_to_the_one_that_replaced_it() -> None:
    old, new = opened(DEPLOY), opened({**DEPLOY, "description": "Version 3"})
    services.supersede_request(old, reason="The payload changed.", successor_id=new)
    assert (
        f"/approvals/{new}/" in read(signed_in(manager("maria")).get(f"/approvals/{old}/")).links()
    )


def test_an_unknown_request_is_not_found() -> None:
    answer = signed_in(manager("maria")).get(f"/approvals/{uuid4()}/")
    assert answer.status_code == 404
    assert "There is nothing here" in read(answer).text


def test_htmx_gets_the_live_part_and_the_notice_beside_it() -> None:
    request_id, client = opened(DEPLOY), signed_in(manager("maria"))
    page = read(client.get(f"/approvals/{request_id}/", headers=HTMX))
    assert page.find("div", id="request")[0].attributes["hx-get"] == f"/approvals/{request_id}/"
    assert not page.find("html")
    page = read(client.post(f"/approvals/{request_id}/approve/", TYPED, headers=HTMX))
    assert page.find("div", **{"hx-swap-oob": "innerHTML:#notices"})
    assert "Approved. The operation may run now." in page.text


def test_a_pull_request_is_shown_as_far_as_it_is_known() -> None:
    client = signed_in(manager("maria"))
    task = {**DEPLOY, "branch": "release/2.5", "arguments": {"commit": "9f1c2e7", "title": 7}}
    address = "https://github.com/example/shop/pull/7"
    page = page_of(client, opened(task, pr_number=7, pr_url=address, github_repo="example/shop"))
    for text in ("Pull request Repositoryexample/shop Number#7", "Branchrelease/2.5Commit9f1c2e7"):
        assert text in page.text
    assert address in page.links()
    only_a_branch = page_of(client, opened(task)).text
    assert "The change Branchrelease/2.5Commit9f1c2e7" in only_a_branch
    nothing = page_of(client, opened(DEPLOY))
    assert not nothing.find("h2", id="pull")


def test_a_secret_is_no_commit() -> None:
    task = {**DEPLOY, "arguments": {"api_token": {"commit": "sk-very-secret"}}}
    assert "sk-very-secret" not in page_of(signed_in(manager("maria")), opened(task)).text


def test_what_is_long_scrolls_in_a_region_that_the_keyboard_reaches() -> None:
    client = signed_in(manager("maria"))
    short = page_of(client, opened(DEPLOY, action=COMMAND))
    assert not short.find("pre", role="region")
    words = [f"--step={number}" for number in range(200)]
    long = {**DEPLOY, "description": "Why. " * 300, "arguments": {"note": "x" * 2000}}
    page = page_of(client, opened(long, action={**COMMAND, "argv": ["migrate", *words]}))
    regions = [part for part in page.elements if part.attributes.get("role") == "region"]
    assert [part.attributes["id"] for part in regions] == [
        *("said", "exact", "action-text", "task-text")
    ]
    decided = opened(DEPLOY)
    reject(decided, manager("otto"), "No. " * 300)
    said = page_of(client, decided).find("blockquote", role="region")
    ids = [part.attributes["id"] for part in said]
    assert len(ids) == len(set(ids)) == 3
    for part in regions:
        assert part.attributes["tabindex"] == "0"
        assert part.attributes["aria-label"]
    assert "characters; scroll inside to read them all" in page.text
    assert "--step=199" in page.text


def test_what_was_asked_for_but_not_approved_is_not_told_as_running() -> None:
    request_id = opened(DEPLOY, action=COMMAND)
    client = signed_in(manager("maria"))
    assert "Exactly this runs once it is approved" in page_of(client, request_id).text
    services.cast_vote(request_id, actor=manager("maria"), choice=Choice.REJECT, comment="No")
    assert "This was asked for; it does not run." in page_of(client, request_id).text


@pytest.mark.parametrize("many", [1, 30])
def test_a_page_costs_the_same_queries_however_much_happened(many: int) -> None:
    request_id = opened(DEPLOY, interrupt_id="i-1", workflow_id=str(uuid4()))
    for number in range(many):
        voter = User.objects.create(username=f"voter {number}")
        Vote.objects.create(request_id=request_id, user=voter, choice=Choice.APPROVE, via=Via.WEB)
        Delivery.objects.create(request_id=request_id, channel=f"chat {number}", wanted=1)
        services.record_event(request_id, EventName.DELIVERY_FAILED, {"channel": "linear"})
        opened({**DEPLOY, "number": number})
        with suppress(NotAllowed):
            approve(request_id, person(f"dora {number}", "developers"))
    client = signed_in(manager("maria"))
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"/approvals/{request_id}/").status_code == 200
    # Session, account, groups, request, votes with voters, clock, both logs, refusals, deliveries,
    # the next request and what I voted on, the run and what it asked.
    assert len(queries) == 12
