"""Deciding on one request's page: what counts, what is refused, and what it says then."""

import pytest
from django.test import Client

from approvals import services
from approvals.core.lifecycle import Choice, Via
from approvals.models import Vote
from tests.approvals.pages import HTMX, TYPED, page_of, read, signed_in
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    entries,
    manager,
    opened,
    pass_deadline,
    person,
    row,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def test_approving_on_the_web_decides_and_leads_back_to_the_page() -> None:
    request_id, maria = opened(DEPLOY), manager("maria")
    client = signed_in(maria)
    answer = client.post(
        f"/approvals/{request_id}/approve/", {"approve-words": "Looks right", **TYPED}
    )
    assert (answer.status_code, answer["Location"]) == (302, f"/approvals/{request_id}/")
    assert (row(request_id).status, row(request_id).approved_by) == ("approved", "maria")
    vote = Vote.objects.get(request_id=request_id)
    assert (vote.comment, vote.via) == ("Looks right", Via.WEB)
    text = page_of(client, request_id).text
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
    assert "Not on a Friday" in page_of(client, request_id).text


def test_a_text_that_cannot_be_kept_is_refused_beside_its_field() -> None:
    request_id, client = opened(DEPLOY), signed_in(manager("maria"))
    for words in ("x" * 4001, "nul \x00 inside"):
        answer = client.post(f"/approvals/{request_id}/reject/", {"reject-words": words})
        assert answer.status_code == 422
        assert read(answer).find("textarea", name="reject-words")[0].attributes["aria-invalid"]
    assert row(request_id).status == "pending"


def test_a_first_of_two_votes_is_counted_and_may_be_changed() -> None:
    request_id, client = opened(DELETE), signed_in(manager("maria"))
    client.post(f"/approvals/{request_id}/approve/", TYPED)
    text = page_of(client, request_id).text
    assert "Your vote counts: 1 of 2 approvals." in text
    assert "you may change your mind" in text
    answer = client.post(f"/approvals/{request_id}/approve/", TYPED, headers=HTMX)
    assert "it still counts" in read(answer).text
    client.post(f"/approvals/{request_id}/reject/", {"reject-words": "On second thought"})
    assert row(request_id).status == "rejected"


def test_a_comment_is_added_to_a_vote_that_was_cast_before() -> None:
    request_id, client = opened(DELETE), signed_in(manager("maria"))
    address = f"/approvals/{request_id}/approve/"
    client.post(address, {"approve-words": "Fine", **TYPED})
    answer = client.post(address, {"approve-words": "only after 18:00", **TYPED}, headers=HTMX)
    assert "Your vote counts: 1 of 2 approvals." in read(answer).text
    assert Vote.objects.get(request_id=request_id).comment == "only after 18:00"
    text = page_of(client, request_id).text
    assert "only after 18:00" in text
    assert "Fine" in text


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
        f"/approvals/{request_id}/approve/",
        {"approve-words": "But I want to", **TYPED},
        headers=headers,
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
    answer = late.post(f"/approvals/{request_id}/approve/", TYPED, headers=headers)
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
    assert "nobody decided before" in page_of(client, request_id).text
    assert client.post(f"/approvals/{request_id}/approve/", TYPED).status_code == 409
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
    answer = client.post(f"/approvals/{request_id}/approve/", TYPED)
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
