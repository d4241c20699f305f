"""The queue: what is listed for whom, in which order, and what it costs."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import services
from approvals.core.lifecycle import Choice, Via
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import DELETE, DEPLOY, MIGRATE, manager, opened, pass_deadline, person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def sections(response: object) -> dict[str, str]:
    """The text of each section of the queue, by the heading's id."""
    html = response.content.decode()  # type: ignore[attr-defined]
    parts = html.split('<section aria-labelledby="')[1:]
    return {part.split('"')[0]: part for part in parts}


def test_the_queue_asks_for_a_login_and_comes_back_afterwards() -> None:
    person("maria", "release-managers")
    services.create_approver("maria", email="m@example.com", groups=[], password="a-long-password")
    client = Client()
    assert client.get("/")["Location"] == "/accounts/login/?next=/"
    answer = client.post(
        "/accounts/login/", {"username": "maria", "password": "a-long-password", "next": "/"}
    )
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert "Log out" in read(client.get("/")).text
    assert client.post("/accounts/logout/")["Location"] == "/accounts/login/"
    assert client.get("/").status_code == 302


def test_a_wrong_password_is_said_in_place() -> None:
    answer = Client().post("/accounts/login/", {"username": "maria", "password": "wrong"})
    assert "correct username and password" in read(answer).text


def test_what_i_may_decide_comes_first_and_the_rest_says_why_i_may_not() -> None:
    mine = opened(MIGRATE)
    others = opened(DEPLOY)
    shown = sections(signed_in(person("dora", "developers")).get("/"))
    assert str(mine) in shown["mine"]
    assert str(others) in shown["others"]
    assert "Only members of release-managers may decide" in shown["others"]


def test_the_most_severe_request_stands_on_top() -> None:
    medium, critical = opened(MIGRATE), opened(DEPLOY)
    mine = sections(signed_in(manager("maria")).get("/"))["mine"]
    assert mine.index(str(critical)) < mine.index(str(medium))


def test_a_vote_that_did_not_decide_moves_the_request_to_the_others() -> None:
    request_id, maria = opened(DELETE), manager("maria")
    services.cast_vote(request_id, actor=maria, choice=Choice.APPROVE)
    shown = sections(signed_in(maria).get("/"))
    assert str(request_id) in shown["others"]
    assert "You voted to approve." in shown["others"]
    assert "1 of 2" in shown["others"]


def test_a_row_tells_risk_agent_asker_votes_deadline_arguments_and_links() -> None:
    opened(
        {**DEPLOY, "arguments": {"version": "v2.5.0", "api_token": "hush"}},
        requested_by="ines",
        pr_number=412,
        pr_url="https://github.com/example/shop/pull/412",
        github_repo="example/shop",
    )
    page = read(signed_in(manager("maria")).get("/"))
    for words in ("Critical", "Deploy to production", "cicd", "asked by ines", "0 of 1", "Expires"):
        assert words in page.text
    assert "version v2.5.0" in page.text
    assert "hush" not in page.text
    assert "https://github.com/example/shop/pull/412" in page.links()
    assert len(page.find("time")) == 2


def test_filters_live_in_the_address() -> None:
    deploy, migrate = opened(DEPLOY), opened(MIGRATE, agent_name="feature_dev")
    client = signed_in(manager("maria"))
    for query, found, left_out in (
        ("risk_level=critical", deploy, migrate),
        ("agent=feature_dev", migrate, deploy),
        ("environment=staging", migrate, deploy),
        ("status=pending&agent=cicd", deploy, migrate),
    ):
        html = client.get(f"/?{query}").content.decode()
        assert str(found) in html
        assert str(left_out) not in html
        assert "Clear the filters" in html


def test_a_status_filter_shows_only_what_has_it() -> None:
    decided, waiting, maria = opened(DEPLOY), opened(MIGRATE), manager("maria")
    services.cast_vote(decided, actor=maria, choice=Choice.REJECT, comment="Not today")
    shown = sections(signed_in(maria).get("/?status=rejected"))
    assert set(shown) == {"decided"}
    assert str(decided) in shown["decided"]
    assert "Not today" in shown["decided"]
    assert str(waiting) not in shown["decided"]


def test_an_unknown_filter_is_refused_in_words() -> None:
    answer = signed_in(manager("maria")).get("/?status=perhaps")
    assert answer.status_code == 422
    assert "Clear the filters" in read(answer).text


def test_a_request_past_its_deadline_reads_as_expired_before_the_sweep_came() -> None:
    late = opened(DEPLOY)
    pass_deadline(late)
    shown = sections(signed_in(manager("maria")).get("/"))
    assert str(late) not in shown["mine"]
    assert "Expired" in shown["decided"]


def test_an_empty_queue_says_what_to_do_next() -> None:
    assert "it appears here by itself" in read(signed_in(manager("maria")).get("/")).text
    opened(DEPLOY)
    text = read(signed_in(person("nobody")).get("/")).text
    assert "Your account is in no group" in text
    text = read(signed_in(person("dora", "developers")).get("/")).text
    assert "You decide as a member of developers" in text
    text = read(signed_in(manager("maria")).get("/?agent=absent")).text
    assert "fits these filters" in text


def test_htmx_gets_only_the_live_part() -> None:
    opened(DEPLOY)
    client = signed_in(manager("maria"))
    part = client.get("/?agent=cicd", headers={"HX-Request": "true"})
    page = read(part)
    assert not page.find("html")
    assert page.find("div", id="queue")[0].attributes["hx-get"] == "/?agent=cicd"
    assert "HX-Request" in part["Vary"]
    assert "no-store" in part["Cache-Control"]
    assert read(client.get("/")).find("html")


@pytest.mark.parametrize("rows", [1, 30])
def test_the_queue_costs_the_same_queries_however_many_rows(rows: int) -> None:
    maria = manager("maria")
    for number in range(rows):
        services.cast_vote(opened(DELETE), actor=maria, choice=Choice.APPROVE)
        opened(MIGRATE, requested_by=f"asker {number}")
        ended = opened(DEPLOY)
        services.cast_vote(ended, actor=person("otto", "release-managers"), choice=Choice.APPROVE)
    client = signed_in(manager("maria", Via.WEB))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert client.get("/").status_code == 200
    # Session, account, groups, clock, waiting, votes, voters, decided, what filters offer.
    assert len(queries) == 9
