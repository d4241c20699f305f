"""One word about several requests: each is judged for itself, and each answer is told."""

from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client

from approvals import services
from approvals.core.lifecycle import Choice
from approvals.forms import BatchForm
from tests.approvals.pages import Page, read, signed_in
from tests.approvals.scenes import DELETE, DEPLOY, MIGRATE, entries, manager, opened, person, row

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def send(client: Client, choice: str, *ids: object, words: str = "", **headers: str) -> Page:
    """The page that tells what came of the batch; it is never an error."""
    data = {"choice": choice, "words": words, "request": [str(one) for one in ids]}
    answer = client.post("/batch/", data, headers=headers)
    if answer.status_code == 302:
        answer = client.get(answer["Location"])
    assert answer.status_code in {200, 422}
    return read(answer)


@pytest.fixture
def desk() -> Client:
    """Maria's browser."""
    return signed_in(manager("maria"))


def test_several_are_approved_with_one_comment(desk: Client) -> None:
    ids = [opened(MIGRATE) for _ in range(3)]
    page = send(desk, "approve", *ids, words="The plan is right")
    assert "3 done" in page.text
    assert "refused" not in page.text
    for request_id in ids:
        found = row(request_id)
        assert (found.status, found.decided_by) == ("approved", "maria")
        assert found.votes.get().comment == "The plan is right"
        assert entries(request_id)[-1] == "request.approved"


def test_what_is_refused_says_why_and_the_rest_is_done(desk: Client) -> None:
    fine, quorum = opened(MIGRATE), opened({**MIGRATE, "operation": "terraform_apply"})
    critical, own = opened(DEPLOY), opened(MIGRATE, requested_by="maria")
    decided = opened(MIGRATE)
    services.cast_vote(decided, actor=manager("otto"), choice=Choice.REJECT, comment="No")
    gone = uuid4()
    page = send(desk, "approve", fine, quorum, critical, own, decided, gone, words="All good")
    assert row(fine).status == "approved"
    assert row(critical).status == row(own).status == "pending"
    assert f"A critical request is approved on its own page: {row(critical).url}" in page.text
    assert "Whoever asked for an operation may not decide it." in page.text
    assert "already rejected by otto" in page.text
    assert "There is no such request." in page.text
    assert "4 refused" in page.text
    assert "What you had written: All good" in page.text
    assert not row(critical).votes.exists()


def test_who_may_not_decide_a_critical_one_is_told_so_and_it_is_recorded(desk: Client) -> None:
    own = opened(DEPLOY, requested_by="maria")
    page = send(desk, "approve", own)
    assert "Whoever asked for an operation may not decide it." in page.text
    assert "on its own page" not in page.text
    assert entries(own) == ["request.opened", "vote.refused"]


def test_without_scripts_a_reload_neither_votes_again_nor_tells_it_again(desk: Client) -> None:
    request_id, own = opened(MIGRATE), opened(MIGRATE, requested_by="maria")
    data = {"choice": "approve", "words": "Fine", "request": [str(request_id), str(own)]}
    answer = desk.post("/batch/?environment=staging&sort=newest", data)
    address = "/?environment=staging&sort=newest"
    assert (answer.status_code, answer["Location"]) == (302, address)
    # A part that refreshes itself in another tab is not where it is told.
    desk.get(address, headers={"HX-Request": "true"})
    told = read(desk.get(address))
    assert "1 done" in told.text
    assert "1 refused" in told.text
    assert "What you had written: Fine" in told.text
    assert f"/approvals/{own}/" in told.links()
    assert "1 done" not in read(desk.get(address)).text
    assert entries(own) == ["request.opened", "vote.refused"]


def test_critical_ones_can_be_rejected_together(desk: Client) -> None:
    ids = [opened(DEPLOY), opened(DEPLOY)]
    send(desk, "reject", *ids, words="Not on a Friday")
    assert [row(one).rejection_reason for one in ids] == ["Not on a Friday"] * 2


def test_a_vote_that_does_not_decide_says_how_many_there_are(desk: Client) -> None:
    request_id = opened({"operation": "terraform_apply", "environment": "production"})
    assert "1 of 2 approvals" in send(desk, "approve", request_id).text
    assert row(request_id).status == "pending"


def test_a_rejection_needs_a_reason_and_forgets_no_choice(desk: Client) -> None:
    ids = [opened(MIGRATE), opened(MIGRATE)]
    page = send(desk, "reject", *ids)
    assert "Say why" in page.text
    assert len(page.find("input", name="request", checked="")) == 2
    assert {row(one).status for one in ids} == {"pending"}


def test_what_is_too_long_is_kept_though_nothing_is_left_to_choose(desk: Client) -> None:
    request_id = opened(MIGRATE)
    services.cast_vote(request_id, actor=manager("otto"), choice=Choice.REJECT, comment="No")
    long = "why-" * 1001
    page = send(desk, "approve", request_id, words=long)
    assert long in page.text
    assert "at most 4000 characters" in page.text


@pytest.mark.parametrize(
    ("choice", "ids", "sentence"),
    [
        ("approve", [], "Choose at least one request."),
        ("approve", ["1; DROP TABLE"], "A request is named by its id."),
        ("perhaps", [str(UUID(int=4))], "perhaps is not one of the available choices"),
        ("approve", [str(UUID(int=n)) for n in range(BatchForm.MOST + 1)], "At most 50"),
    ],
)
def test_what_makes_no_sense_is_refused_in_place(
    desk: Client, choice: str, ids: list[str], sentence: str
) -> None:
    opened(MIGRATE)
    assert sentence in send(desk, choice, *ids).text


def test_the_same_request_twice_counts_once(desk: Client) -> None:
    request_id = opened(MIGRATE)
    assert "1 done" in send(desk, "approve", request_id, request_id).text
    assert "refused" not in send(desk, "approve", opened(MIGRATE)).text


def test_with_htmx_only_the_queue_and_what_came_of_it_are_sent(desk: Client) -> None:
    request_id = opened(MIGRATE)
    page = send(desk, "approve", request_id, **{"HX-Request": "true"})
    assert not page.find("html")
    assert page.find("div", id="queue")
    assert page.find("div", **{"hx-swap-oob": "innerHTML:#notices"})
    assert list(page.faults()) == []


def test_reading_the_address_decides_nothing_and_leads_to_the_queue(desk: Client) -> None:
    request_id = opened(MIGRATE)
    answer = desk.get(f"/batch/?choice=approve&request={request_id}")
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert row(request_id).status == "pending"


def test_without_the_token_or_a_login_nothing_is_decided() -> None:
    request_id, maria = opened(MIGRATE), manager("maria")
    data = {"choice": "approve", "request": [str(request_id)]}
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username=maria.name))
    assert strict.post("/batch/", data).status_code == 403
    assert Client().post("/batch/", data)["Location"].startswith("/accounts/login/")
    assert row(request_id).status == "pending"


def test_who_may_decide_nothing_has_nothing_to_choose() -> None:
    opened(DELETE)
    page = read(signed_in(person("nobody")).get("/"))
    assert page.find("input", name="request") == []
    assert page.find("button", name="choice") == []
