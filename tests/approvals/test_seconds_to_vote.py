"""How long somebody looked at a request before they voted: told by the page, and by it alone."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils.http import urlencode

from approvals import services
from approvals.clock import clock
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.models import Vote
from approvals.views import shown
from hitl_project.embedded import Postgres
from tests.application_role import as_application
from tests.approvals.pages import TYPED, read, signed_in
from tests.approvals.scenes import DELETE, manager, opened

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
HTMX = {"HX-Request": "true"}


def token(client: Client, request_id: UUID, **query: str) -> str:
    """What the page carries, in the form to approve."""
    page = read(client.get(f"/approvals/{request_id}/?{urlencode(query)}"))
    carried = {field.attributes["value"] for field in page.find("input", name="shown")}
    assert len(carried) == 1
    return carried.pop()


def approve(client: Client, request_id: UUID, **data: str) -> Vote:
    """Vote by the web and return the vote."""
    answer = client.post(f"/approvals/{request_id}/approve/", {**TYPED, **data})
    assert answer.status_code == 302
    return Vote.objects.get(request_id=request_id)


def shown_before(request_id: UUID, actor: Actor, **ago: float) -> str:
    """What a page would carry that was opened that long ago."""
    return shown.mark(request_id, actor, clock() - timedelta(**ago))


def test_a_vote_keeps_the_seconds_since_the_page_was_shown() -> None:
    request_id, maria = opened(DELETE), manager("maria")
    given = {"shown": shown_before(request_id, maria, seconds=90)}
    vote = approve(signed_in(maria), request_id, **given)
    assert vote.seconds_to_vote is not None
    assert 90 <= vote.seconds_to_vote < 120


def test_the_page_itself_carries_when_it_was_shown() -> None:
    request_id, client = opened(DELETE), signed_in(manager("maria"))
    vote = approve(client, request_id, shown=token(client, request_id))
    assert vote.seconds_to_vote is not None
    assert 0 <= vote.seconds_to_vote < 30


def test_a_page_that_refreshes_itself_or_finds_a_fault_counts_from_its_first_showing() -> None:
    request_id, maria = opened(DELETE), manager("maria")
    first = shown_before(request_id, maria, minutes=5)
    about = shown.read(first, request_id, maria)
    client = signed_in(maria)
    assert shown.read(token(client, request_id, shown=first), request_id, maria) == about
    for answer in (
        client.get(f"/approvals/{request_id}/", {"shown": first}, headers=HTMX),
        client.post(f"/approvals/{request_id}/reject/", {"shown": first}, headers=HTMX),
    ):
        field = read(answer).find("input", name="shown")[0]
        assert shown.read(field.attributes["value"], request_id, maria) == about


def test_only_what_the_gateway_wrote_for_this_person_and_request_counts() -> None:
    maria, otto = manager("maria"), manager("otto")
    for text in (
        "",
        "2020-01-01T00:00:00+00:00",
        "x" * 5000,
        shown_before(opened(DELETE), maria, days=1),
        shown_before(request_id := opened(DELETE), otto, days=1),
        shown_before(request_id, maria, days=1)[:-1],
    ):
        assert shown.read(text, request_id, maria) is None
    vote = approve(signed_in(maria), request_id, shown=shown_before(request_id, otto, days=1))
    assert vote.seconds_to_vote is None


def test_what_the_page_carries_is_nothing_that_somebody_wrote() -> None:
    request_id, maria = opened(DELETE), manager("maria")
    carried = shown_before(request_id, maria, seconds=5)
    answer = Client().post(f"/approvals/{request_id}/approve/", {"shown": carried})
    assert answer["Location"].startswith("/accounts/login/")
    sent = {"shown": carried, "approve-words": "Looks right"}
    page = read(Client().post(f"/approvals/{request_id}/approve/", sent))
    assert "Looks right" in page.text
    assert carried not in page.text


def test_a_vote_that_came_another_way_has_no_such_number() -> None:
    request_id = opened(DELETE)
    services.cast_vote(request_id, actor=manager("maria", Via.API), choice=Choice.APPROVE)
    assert Vote.objects.get().seconds_to_vote is None


def test_a_changed_vote_keeps_the_number_of_the_one_that_stands() -> None:
    request_id, maria = opened(DELETE), manager("maria")
    approve(signed_in(maria), request_id, shown=shown_before(request_id, maria, seconds=10))
    services.cast_vote(request_id, actor=maria, choice=Choice.REJECT, comment="On second thought")
    assert Vote.objects.get().seconds_to_vote is None


def test_a_clock_that_was_set_back_gives_no_negative_time() -> None:
    request_id, maria = opened(DELETE), manager("maria")
    vote = approve(
        signed_in(maria), request_id, shown=shown_before(request_id, maria, seconds=-600)
    )
    assert vote.seconds_to_vote == 0
    with pytest.raises(IntegrityError, match="vote_follows_showing"), transaction.atomic():
        Vote.objects.update(seconds_to_vote=-1)


@pytest.mark.django_db(transaction=True)
def test_the_application_s_role_may_write_the_number(postgres_server: Postgres) -> None:
    request_id, maria = opened(DELETE), manager("maria")
    given = shown_before(request_id, maria, seconds=5)
    client = signed_in(maria)
    with as_application(postgres_server):
        assert approve(client, request_id, shown=given).seconds_to_vote is not None
    connection.close()
