"""The queue: what is listed for whom, in which order, and what it costs."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from approvals import services
from approvals.core.lifecycle import Choice, Via
from approvals.models import ApprovalRequest
from tests.approvals.pages import HTMX, read, signed_in
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    manager,
    opened,
    pass_deadline,
    person,
    unguarded,
)

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
    title = "Deploy v2.5.0 to production"
    for words in ("Critical", title, "cicd", "asked by ines", "0 of 1", "Expires"):
        assert words in page.text
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
    client = signed_in(manager("maria"))
    answer = client.get("/?status=perhaps")
    assert answer.status_code == 422
    assert "Clear the filters" in read(answer).text
    assert read(answer).undescribed() == []
    assert read(answer).find("p", role="alert")
    # What refreshes itself interrupts nobody each time.
    part = read(client.get("/?status=perhaps", headers=HTMX))
    assert part.find("p", role="alert") == []
    assert part.find("div", **{"data-announce": "Nothing is shown for this."})


def test_what_is_announced_is_what_fits_the_filters() -> None:
    opened(DEPLOY)
    opened(MIGRATE)
    client = signed_in(manager("maria"))

    def announced(query: str) -> str:
        page = read(client.get(f"/{query}", headers=HTMX))
        return page.find("div", id="queue")[0].attributes["data-announce"]

    assert announced("") == "2 for you to decide, 0 waiting for others."
    told = "for you to decide, 0 waiting for others, 0 decided."
    assert announced("?text=nothing-like-this") == f"With these filters: 0 {told}"
    assert announced("?risk_level=critical") == f"With these filters: 1 {told}"
    assert announced("?status=pending").endswith("2 for you to decide, 0 waiting for others.")


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
    assert read(client.get("/?agent=cicd")).find("html")


def test_the_filters_of_the_last_visit_are_kept_until_they_are_cleared() -> None:
    opened(DEPLOY)
    client = signed_in(manager("maria"))
    client.get("/?risk_level=critical&sort=newest&status=&cursor=")
    assert client.get("/")["Location"] == "/?risk_level=critical&sort=newest"
    assert client.get("/?clear")["Location"] == "/"
    assert client.get("/").status_code == 200
    changed = {"HX-Request": "true", "HX-Trigger": "filters"}
    client.get("/?agent=cicd", headers=changed)
    assert client.get("/")["Location"] == "/?agent=cicd"
    # A page that was left open refreshes itself; that is no choice.
    client.get("/?risk_level=low", headers={"HX-Request": "true", "HX-Trigger": "queue"})
    assert client.get("/")["Location"] == "/?agent=cicd"
    client.get("/?status=perhaps")
    assert client.get("/")["Location"] == "/?agent=cicd"


def test_a_search_finds_what_waits_and_what_was_decided() -> None:
    maria = manager("maria")
    waits = opened({**DEPLOY, "description": "The spring release"})
    decided = opened({**MIGRATE, "description": "Spring cleaning"})
    services.cast_vote(decided, actor=maria, choice=Choice.APPROVE)
    other = opened(DEPLOY)
    html = signed_in(maria).get("/?text=spring").content.decode()
    assert str(waits) in html
    assert str(decided) in html
    assert str(other) not in html
    assert "older than 90 days" in html
    assert "older=1" in html
    assert (
        "older than 90 days" not in signed_in(maria).get("/?text=spring&older=1").content.decode()
    )


def test_pages_lead_from_the_first_to_the_last_and_back() -> None:
    maria, made = manager("maria"), {str(opened(MIGRATE)) for _ in range(53)}
    client = signed_in(maria)
    first = client.get("/?sort=oldest")
    assert "For you to decide 53" in read(first).text
    (following,) = [link for link in read(first).links() if "cursor=" in link]
    second = client.get(following)
    shown = [
        {box.attributes["value"] for box in read(answer).find("input", name="request")}
        for answer in (first, second)
    ]
    assert [len(ids) for ids in shown] == [40, 13]
    assert shown[0] | shown[1] == made
    assert "/?sort=oldest" in read(second).links()
    assert "decided" not in sections(second)
    assert client.get("/?cursor=nonsense").status_code == 422


def test_filters_tell_how_much_waits_for_me_besides() -> None:
    opened(DEPLOY)
    opened(MIGRATE)
    opened(MIGRATE)
    opened(MIGRATE, requested_by="maria")
    client = signed_in(manager("maria"))
    outside = "more waits for you outside these filters", "more wait for you outside these filters"
    assert f"shown; 1 {outside[0]}." in read(client.get("/?environment=staging")).text
    assert f"shown; 2 {outside[1]}." in read(client.get("/?risk_level=critical")).text
    assert f"shown; 3 {outside[1]}." in read(client.get("/?status=approved")).text
    for address in ("/?agent=cicd", "/?clear"):
        assert "outside these filters" not in read(client.get(address, follow=True)).text


@pytest.mark.parametrize("more", [False, True])
def test_the_count_of_what_was_decided_has_a_plus_only_where_there_is_more(*, more: bool) -> None:
    otto = manager("otto")
    for _ in range(25 + more):
        services.cast_vote(opened(MIGRATE), actor=otto, choice=Choice.REJECT, comment="No")
    page = read(signed_in(otto).get("/"))
    assert len(page.find("a", **{"class": "row-link"})) == 25
    assert f"Decided lately 25{'+' if more else ' '}" in page.text
    assert ("These are the 25 latest." in page.text) is more


def test_the_title_counts_what_waits_for_me() -> None:
    opened(DEPLOY)
    assert read(signed_in(manager("maria")).get("/")).text.startswith("(1) Queue")
    filtered = read(signed_in(manager("maria")).get("/?status=approved"))
    assert filtered.text.startswith("(1) Queue")
    assert filtered.find("div", **{"data-waiting": "1"})
    assert read(signed_in(person("nobody")).get("/")).text.startswith("Queue")


def test_a_deadline_that_is_near_looks_urgent() -> None:
    request_id, client = opened(DEPLOY), signed_in(manager("maria"))
    assert not read(client.get("/")).find("time", **{"class": "until until-soon"})
    unguarded(
        "UPDATE approval_requests SET expires_at = clock_timestamp() + interval '14 minutes'"
        " WHERE id = %s",
        [request_id],
    )
    assert read(client.get("/")).find("time", **{"class": "until until-soon"})


def test_fifty_rows_are_a_small_page_of_few_queries() -> None:
    otto = manager("otto")
    for number in range(75):
        request_id = opened(
            {**MIGRATE, "description": "d" * 500, "arguments": {"database": "orders" * 9}},
            requested_by=f"asker {number}",
            pr_number=number + 1,
            pr_url=f"https://github.com/example/shop/pull/{number + 1}",
            github_repo="example/shop",
        )
        ApprovalRequest.objects.filter(pk=request_id).update(
            linear_issue_id=f"CHEF-{number}",
            linear_issue_url=f"https://linear.app/example/issue/CHEF-{number}",
        )
        if number >= 40:
            services.cast_vote(request_id, actor=otto, choice=Choice.REJECT, comment="r" * 200)
    client = signed_in(manager("maria"))
    client.get("/?text=example&sort=oldest")
    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/?text=example&sort=oldest")
    page = read(answer)
    assert len(page.find("input", name="request")) == 40
    assert len(page.find("a", **{"class": "row-link"})) == 50
    assert len(answer.content) < 100_000
    # One of them asks whether few of what was decided have the word.
    assert len(queries) == 14


@pytest.mark.parametrize(("rows", "cost"), [(1, 12), (30, 13)])
def test_the_queue_costs_the_same_queries_however_many_rows(rows: int, cost: int) -> None:
    maria = manager("maria")
    for number in range(rows):
        services.cast_vote(opened(DELETE), actor=maria, choice=Choice.APPROVE)
        opened(MIGRATE, requested_by=f"asker {number}")
        ended = opened(DEPLOY)
        services.cast_vote(ended, actor=person("otto", "release-managers"), choice=Choice.APPROVE)
    client = signed_in(manager("maria", Via.WEB))
    client.get("/")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/").status_code == 200
    # Session, account, groups; within a bound on time, which takes three with the clock: what is
    # waiting although I voted, what is mine, what is others', their votes, what was decided; what
    # filters offer. What waits is counted only where the page does not show all of it.
    assert len(queries) == cost
