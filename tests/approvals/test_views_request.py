"""One request's page: what it says, and deciding on it."""

from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import services
from approvals.core.lifecycle import Choice, Via
from approvals.models import Delivery, Vote
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    delivery,
    entries,
    manager,
    opened,
    pass_deadline,
    person,
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
HTMX = {"HX-Request": "true"}


def page_of(client: Client, request_id: object) -> str:
    """The text of a request's page."""
    return read(client.get(f"/approvals/{request_id}/")).text


def test_the_command_that_will_run_is_shown_to_the_letter_with_its_digest() -> None:
    request_id = opened(DEPLOY, action=COMMAND)
    text = page_of(signed_in(manager("maria")), request_id)
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
    text = page_of(client, opened(DEPLOY, action=call))
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
    text = page_of(client, opened({**DEPLOY, "pr": 1}, action=run))
    assert "merge.yml in example/shop at main" in text
    assert '"method": "squash"' in text


def test_without_an_action_the_page_says_that_the_workflow_does_the_work() -> None:
    text = page_of(signed_in(manager("maria")), opened(DEPLOY))
    assert "The workflow itself carries this out" in text


def test_the_page_tells_why_who_decides_until_when_and_what_happened() -> None:
    text = page_of(signed_in(manager("maria")), opened(DEPLOY, requested_by="ines"))
    assert "Operation is deploy and environment is production. Rule production_deploy" in text
    assert "release-managers" in text
    assert "may not decide" in text
    assert "gateway opened the request for ines" in text


def test_too_few_people_for_the_quorum_is_a_warning() -> None:
    manager("maria")
    request_id = opened(DELETE)
    assert "1 could decide when this was opened, and 2 are needed" in page_of(
        signed_in(manager("maria")), request_id
    )


def test_secrets_are_masked_in_the_task_and_in_the_action_they_went_into() -> None:
    task = {**DEPLOY, "arguments": {"api_token": "sk-very-secret", "version": "v1"}}
    action = {**COMMAND, "argv": ["deploy", "--token=sk-very-secret"]}
    html = signed_in(manager("maria")).get(f"/approvals/{opened(task, action=action)}/").content
    assert b"sk-very-secret" not in html
    assert "--token=••••••" in html.decode()


def test_approving_on_the_web_decides_and_leads_back_to_the_page() -> None:
    request_id, maria = opened(DEPLOY), manager("maria")
    client = signed_in(maria)
    answer = client.post(f"/approvals/{request_id}/approve/", {"approve-words": "Looks right"})
    assert (answer.status_code, answer["Location"]) == (302, f"/approvals/{request_id}/")
    assert (row(request_id).status, row(request_id).approved_by) == ("approved", "maria")
    vote = Vote.objects.get(request_id=request_id)
    assert (vote.comment, vote.via) == ("Looks right", Via.WEB)
    text = page_of(client, request_id)
    assert "Approved. The operation may run now." in text
    assert "Looks right" in text
    assert entries(request_id)[:3] == ["request.opened", "vote.cast", "request.approved"]


def test_rejecting_needs_a_reason_and_says_so_without_losing_anything() -> None:
    request_id, client = opened(DEPLOY), signed_in(manager("maria"))
    answer = client.post(f"/approvals/{request_id}/reject/", {"reject-words": "  "})
    assert answer.status_code == 422
    assert "Say why" in read(answer).text
    assert row(request_id).status == "pending"
    client.post(f"/approvals/{request_id}/reject/", {"reject-words": "Not on a Friday"})
    assert row(request_id).rejection_reason == "Not on a Friday"
    assert "Not on a Friday" in page_of(client, request_id)


def test_a_text_that_cannot_be_kept_is_refused_beside_its_field() -> None:
    request_id, client = opened(DEPLOY), signed_in(manager("maria"))
    for words in ("x" * 4001, "nul \x00 inside"):
        answer = client.post(f"/approvals/{request_id}/reject/", {"reject-words": words})
        assert answer.status_code == 422
        assert read(answer).find("textarea", name="reject-words")[0].attributes["aria-invalid"]
    assert row(request_id).status == "pending"


def test_a_first_of_two_votes_is_counted_and_may_be_changed() -> None:
    request_id, client = opened(DELETE), signed_in(manager("maria"))
    client.post(f"/approvals/{request_id}/approve/")
    text = page_of(client, request_id)
    assert "Your vote counts: 1 of 2 approvals." in text
    assert "you may change your mind" in text
    answer = client.post(f"/approvals/{request_id}/approve/", headers=HTMX)
    assert "it still counts" in read(answer).text
    client.post(f"/approvals/{request_id}/reject/", {"reject-words": "On second thought"})
    assert row(request_id).status == "rejected"


def test_what_i_may_not_do_stays_visible_disabled_and_says_why() -> None:
    request_id = opened(DEPLOY)
    page = read(signed_in(person("dora", "developers")).get(f"/approvals/{request_id}/"))
    fieldsets = page.find("fieldset")
    assert len(fieldsets) == 2
    assert all("disabled" in fieldset.attributes for fieldset in fieldsets)
    assert all(fieldset.attributes["aria-describedby"] == "why-not" for fieldset in fieldsets)
    assert "Only members of release-managers may decide this request." in page.text


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_vote_that_is_not_allowed_is_refused_in_place_and_recorded(
    headers: dict[str, str],
) -> None:
    request_id = opened(DEPLOY)
    client = signed_in(person("dora", "developers"))
    answer = client.post(
        f"/approvals/{request_id}/approve/", {"approve-words": "But I want to"}, headers=headers
    )
    assert answer.status_code == 403
    text = read(answer).text
    assert "Only members of release-managers may decide this request." in text
    assert "What you had written: But I want to" in text
    assert row(request_id).status == "pending"
    assert entries(request_id) == ["request.opened", "vote.refused"]


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_a_decision_that_came_from_elsewhere_first_is_told_in_place(
    headers: dict[str, str],
) -> None:
    request_id, late = opened(DEPLOY), signed_in(manager("maria"))
    services.cast_vote(
        request_id, actor=manager("otto", Via.LINEAR_MOVE), choice=Choice.REJECT, comment="No"
    )
    answer = late.post(f"/approvals/{request_id}/approve/", headers=headers)
    assert answer.status_code == 409
    page = read(answer)
    assert "already rejected by otto" in page.text
    assert "by moving the Linear issue" in page.text
    assert not page.find("form", action=f"/approvals/{request_id}/approve/")
    assert row(request_id).status == "rejected"


def test_a_vote_after_the_deadline_expires_the_request_and_says_so() -> None:
    request_id = opened(DEPLOY)
    pass_deadline(request_id)
    client = signed_in(manager("maria"))
    assert "nobody decided before" in page_of(client, request_id)
    assert client.post(f"/approvals/{request_id}/approve/").status_code == 409
    assert row(request_id).status == "expired"


def test_nothing_is_decided_by_opening_an_address() -> None:
    request_id, client = opened(DEPLOY), signed_in(manager("maria"))
    for verb in ("approve", "reject", "cancel", "deliveries/1/retry"):
        answer = client.get(f"/approvals/{request_id}/{verb}/")
        assert answer["Location"] == f"/approvals/{request_id}/"
    assert row(request_id).status == "pending"


def test_a_vote_without_the_forms_token_is_refused() -> None:
    request_id = opened(DEPLOY)
    client = signed_in(manager("maria"))
    client.handler.enforce_csrf_checks = True
    answer = client.post(f"/approvals/{request_id}/approve/")
    assert answer.status_code == 403
    assert "The form was too old" in read(answer).text
    assert row(request_id).status == "pending"


def test_nobody_votes_without_a_login() -> None:
    request_id = opened(DEPLOY)
    answer = Client().post(f"/approvals/{request_id}/approve/")
    assert answer["Location"].startswith("/accounts/login/")
    assert row(request_id).status == "pending"


def test_whoever_asked_or_an_operator_may_withdraw_for_a_reason() -> None:
    asker = person("ines", "developers")
    request_id = opened(DEPLOY, actor=asker)
    address = f"/approvals/{request_id}/cancel/"
    assert (
        address not in signed_in(manager("maria")).get(f"/approvals/{request_id}/").content.decode()
    )
    refused = signed_in(manager("maria")).post(address, {"cancel-words": "Mine now"})
    assert refused.status_code == 403
    client = signed_in(asker)
    assert read(client.get(f"/approvals/{request_id}/")).find("form", action=address)
    assert client.post(address).status_code == 422
    client.post(address, {"cancel-words": "Not needed any more"})
    assert (row(request_id).status, row(request_id).decided_by) == ("cancelled", "ines")


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
    words = {f"retry-{linear.pk}-words": "The outage is over"}
    assert reader.post(address, words).status_code == 403
    operator = signed_in(person("olga", "operators"))
    assert read(operator.get(f"/approvals/{request_id}/")).find("form", action=address)
    assert operator.post(address).status_code == 422
    operator.post(address, words)
    assert delivery(request_id, "linear").gave_up_at is None
    assert "The outage is over" in page_of(operator, request_id)


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
    page = read(client.post(f"/approvals/{request_id}/approve/", headers=HTMX))
    assert page.find("div", **{"hx-swap-oob": "innerHTML:#notices"})
    assert "Approved. The operation may run now." in page.text


@pytest.mark.parametrize("votes", [1, 30])
def test_a_page_costs_the_same_queries_however_much_happened(votes: int) -> None:
    request_id = opened(DEPLOY)
    for number in range(votes):
        voter = User.objects.create(username=f"voter {number}")
        Vote.objects.create(request_id=request_id, user=voter, choice=Choice.APPROVE, via=Via.WEB)
    client = signed_in(manager("maria"))
    with CaptureQueriesContext(connection) as queries:
        assert client.get(f"/approvals/{request_id}/").status_code == 200
    # Session, account, groups, request, votes, voters, clock twice, deliveries, audit entries.
    assert len(queries) == 10
