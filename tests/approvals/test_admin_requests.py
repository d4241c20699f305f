"""Requests, deliveries and records in the admin: read, and changed only through the verbs."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from approvals import services
from approvals.core.lifecycle import Choice, Via
from approvals.models import AuditEntry, Delivery, Vote
from tests.approvals.pages import cost, read, signed_in
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    delivery,
    entries,
    manager,
    opened,
    pass_deadline,
    person,
    row,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

REQUESTS = "/admin/approvals/approvalrequest/"
DELIVERIES = "/admin/approvals/delivery/"


def act(client: Client, address: str, action: str, *ids: object, **more: str) -> Any:
    """Press an action's button for these rows, and follow where it leads."""
    chosen = {"action": action, "_selected_action": [str(one) for one in ids], **more}
    return client.post(address, chosen, follow=True)


def confirm(client: Client, address: str, action: str, reason: str, *ids: object) -> str:
    """Give the reason on the page in between; returns the text of the list that follows."""
    return read(act(client, address, action, *ids, confirmed="1", reason=reason)).text


def test_only_staff_come_in() -> None:
    opened(DEPLOY)
    answer = signed_in(manager("maria")).get(REQUESTS)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/")
    assert signed_in(manager("maria"), staff=True).get(REQUESTS).status_code == 200


def test_who_is_not_logged_in_gets_the_login_page(db: None) -> None:
    answer = Client().get("/admin/", follow=True)
    assert (answer.status_code, answer.redirect_chain[-1][0]) == (200, "/admin/login/?next=/admin/")
    assert "Password" in answer.content.decode()


@pytest.mark.parametrize("model", ["approvalrequest", "delivery", "auditentry", "vote"])
def test_nobody_adds_edits_or_deletes_a_row_by_hand(model: str) -> None:
    request_id, root = opened(DELETE), person("root", "operators", "release-managers")
    services.cast_vote(request_id, actor=root, choice=Choice.APPROVE)
    keys = {
        "approvalrequest": request_id,
        "delivery": delivery(request_id, "linear").pk,
        "auditentry": AuditEntry.objects.get(stream=request_id, number=1).pk,
        "vote": Vote.objects.get().pk,
    }
    client = signed_in(root, superuser=True)
    place = f"/admin/approvals/{model}/"
    assert client.get(f"{place}{keys[model]}/change/").status_code == 200
    assert client.post(f"{place}{keys[model]}/change/", {"status": "approved"}).status_code == 403
    assert client.post(f"{place}add/").status_code == 403
    assert client.post(f"{place}{keys[model]}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in client.get(place).content.decode()
    assert row(request_id).status == "pending"


def test_an_approval_asks_for_words_first_and_then_votes_as_the_person() -> None:
    request_id = opened(MIGRATE)
    client = signed_in(manager("maria"), staff=True)
    page = read(act(client, REQUESTS, "approve", request_id))
    assert "db_migrate to staging (medium)" in page.text
    assert page.find("textarea", name="reason")
    assert row(request_id).status == "pending"
    text = confirm(client, REQUESTS, "approve", "Checked the plan", request_id)
    assert "now approved, 1 of 1 approvals." in text
    vote = Vote.objects.get(request_id=request_id)
    assert (vote.user.username, vote.via, vote.comment) == ("maria", Via.ADMIN, "Checked the plan")


def test_what_is_critical_is_approved_where_its_environment_is_typed() -> None:
    ids = [opened(DEPLOY), opened(DEPLOY), opened(MIGRATE)]
    client = signed_in(manager("maria"), staff=True)
    text = confirm(client, REQUESTS, "approve", "", *ids)
    assert "A critical request is approved on its own page" in text
    assert [row(one).status for one in ids] == ["pending", "pending", "approved"]
    assert "now rejected" in confirm(client, REQUESTS, "reject", "Not today", ids[0])


@pytest.mark.parametrize(("action", "status"), [("reject", "rejected"), ("cancel", "cancelled")])
def test_a_rejection_and_a_cancellation_need_a_reason(action: str, status: str) -> None:
    request_id = opened(DEPLOY)
    client = signed_in(person("otto", "operators", "release-managers"), staff=True)
    page = read(act(client, REQUESTS, action, request_id, confirmed="1", reason=" "))
    assert "This field is required" in page.text
    assert row(request_id).status == "pending"
    confirm(client, REQUESTS, action, "Wrong branch", request_id)
    assert (row(request_id).status, row(request_id).decision_reason) == (status, "Wrong branch")
    assert AuditEntry.objects.filter(stream=request_id, via=Via.ADMIN).exists()


def test_a_superuser_is_not_exempt_from_policy() -> None:
    request_id = opened(DEPLOY)
    client = signed_in(person("root"), superuser=True)
    text = confirm(client, REQUESTS, "approve", "I am root", request_id)
    assert "Only members of release-managers may decide this request." in text
    assert row(request_id).status == "pending"
    assert entries(request_id) == ["request.opened", "vote.refused"]


def test_what_was_decided_meanwhile_is_said_and_the_rest_is_done() -> None:
    gone, left = opened(DEPLOY), opened(MIGRATE)
    client = signed_in(manager("maria"), staff=True)
    services.cast_vote(gone, actor=manager("otto"), choice=Choice.REJECT)
    text = confirm(client, f"{REQUESTS}?status__exact=pending", "approve", "", gone, left)
    assert "already rejected by otto" in text
    assert (row(gone).status, row(left).status) == ("rejected", "approved")


def offered(client: Client, address: str) -> set[str]:
    """The actions that a row's own page offers."""
    page = read(client.get(address))
    return {field.attributes["value"] for field in page.find("input", name="action")}


def test_the_page_of_a_request_offers_what_one_may_do_and_shows_everything_that_happened() -> None:
    request_id = opened({**MIGRATE, "arguments": {"api_token": "hush-hush"}})
    address = f"{REQUESTS}{request_id}/change/"
    client = signed_in(person("maria", "release-managers", "operators"), staff=True)
    assert offered(client, address) == {"approve", "reject", "cancel"}
    assert offered(signed_in(person("olga", "operators"), staff=True), address) == {"cancel"}
    assert offered(signed_in(person("vera"), staff=True), address) == set()
    critical = f"{REQUESTS}{opened(DEPLOY)}/change/"
    assert offered(client, critical) == {"reject", "cancel"}
    services.cast_vote(request_id, actor=manager("otto"), choice=Choice.REJECT, comment="Too late")
    page = read(client.get(address))
    assert offered(client, address) == set()
    for words in ("request.opened", "vote.cast", "request.rejected", "Too late", "linear"):
        assert words in page.text
    assert "hush-hush" not in page.text
    answer = client.post(REQUESTS, {"action": "cancel", "_selected_action": str(request_id)})
    assert read(answer).find("textarea", name="reason")


def test_requests_are_found_by_their_identifiers() -> None:
    one, other = opened(DEPLOY, workflow_id="wf-a"), opened(MIGRATE, workflow_id="wf-b")
    client = signed_in(person("otto", "operators"), staff=True)
    for term in (str(one), "wf-a"):
        html = client.get(REQUESTS, {"q": term}).content.decode()
        assert str(one) in html
        assert str(other) not in html


def test_an_overdue_request_reads_as_expired() -> None:
    request_id = opened(DEPLOY)
    pass_deadline(request_id)
    page = read(signed_in(manager("maria"), staff=True).get(REQUESTS))
    assert "Expired" in page.text.split("Filter")[0]


def test_an_operator_has_a_delivery_tried_again_for_a_reason() -> None:
    request_id = opened(DEPLOY)
    Delivery.objects.filter(request_id=request_id).update(
        gave_up_at=row(request_id).created_at, attempts=9, last_error="No such label."
    )
    linear = delivery(request_id, "linear").pk
    reader = signed_in(manager("maria"), staff=True)
    assert "Only an operator may retry" in confirm(reader, DELIVERIES, "retry", "Please", linear)
    assert delivery(request_id, "linear").gave_up_at is not None
    client = signed_in(person("olga", "operators"), staff=True)
    assert "No such label." in read(client.get(f"{DELIVERIES}?state=given_up")).text
    assert "tried again now" in confirm(client, DELIVERIES, "retry", "Label made", linear)
    assert delivery(request_id, "linear").gave_up_at is None
    assert delivery(request_id, "chat").gave_up_at is not None
    assert entries(request_id)[-1] == "delivery.retried"


def test_the_state_filter_agrees_with_the_state_that_is_shown() -> None:
    request_id = opened(DEPLOY, pr_number=1, github_repo="a/b")
    moment = row(request_id).created_at
    rows = Delivery.objects.filter(request_id=request_id)
    rows.filter(channel="linear").update(done=5)
    rows.filter(channel="github").update(attempts=2)
    rows.filter(channel="chat").update(gave_up_at=moment, wanted=2)
    client = signed_in(person("olga", "operators"), staff=True)
    for state, channel in (("told", "linear"), ("failing", "github"), ("given_up", "chat")):
        page = read(client.get(f"{DELIVERIES}?state={state}"))
        shown = [cell for cell in page.text.split() if cell in {"linear", "github", "chat"}]
        assert "1 delivery" in page.text
        assert channel in shown


def test_an_id_that_is_none_is_a_bad_request() -> None:
    client = signed_in(manager("maria"), staff=True)
    assert act(client, REQUESTS, "approve", "not-a-uuid").status_code == 400


@pytest.mark.parametrize("votes", [1, 30])
def test_a_request_costs_the_same_queries_however_much_happened(votes: int) -> None:
    request_id = opened(DEPLOY)
    for number in range(votes):
        voter = User.objects.create(username=f"voter {number}")
        Vote.objects.create(request_id=request_id, user=voter, choice=Choice.APPROVE, via=Via.WEB)
    client = signed_in(person("root", "operators"), superuser=True)
    assert cost(client, f"{REQUESTS}{request_id}/change/") == 10
