"""Hostile text stays text, and no page breaks the strict policy."""

from collections.abc import Callable
from uuid import UUID

import pytest
from django.test import Client

from approvals import services
from approvals.core.events import EventName
from approvals.core.lifecycle import Choice
from approvals.models import Delivery
from tests.approvals.pages import Page, read, signed_in
from tests.approvals.scenes import DEPLOY, manager, opened, person, unguarded

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
MARKDOWN = "[click](javascript:alert(1)) **bold** {{ 7|add:7 }} {% now 'Y' %}"
# Turns the text after it around for the eye, though not for a shell.
TURNED = "\u202e"


def hostile() -> UUID:
    """A request of which every text was written by somebody with bad intentions."""
    task = {
        "operation": f"delete{SCRIPT}",
        "environment": f"prod{TURNED}uction{IMAGE}",
        "description": f"{MARKDOWN}\n{SCRIPT}{TURNED}",
        "arguments": {f"name{IMAGE}": SCRIPT},
        SCRIPT: IMAGE,
    }
    action = {
        "executor": "command",
        "argv": ["rm", SCRIPT, f"a{TURNED}b", IMAGE],
        "cwd": SCRIPT,
        "pass_env": [IMAGE],
    }
    request_id = opened(
        task, agent_name=f"agent{IMAGE}", requested_by=SCRIPT, workflow_id=IMAGE, action=action
    )
    # No verb lets these through; a page must not trust that.
    unguarded(
        "UPDATE approval_requests SET pr_url = 'javascript:alert(1)', pr_number = 7,"
        " github_repo = %s, linear_issue_id = %s, linear_issue_url = 'data:text/html,<b>hello</b>'"
        " WHERE id = %s",
        [IMAGE, f"CHEF{IMAGE}", request_id],
    )
    Delivery.objects.filter(request_id=request_id).update(
        last_error=SCRIPT + TURNED, attempts=1, reference=IMAGE, url="javascript:alert(2)"
    )
    services.cast_vote(
        request_id, actor=manager("voter"), choice=Choice.APPROVE, comment=SCRIPT + IMAGE
    )
    return request_id


def queue(client: Client, _: object) -> Page:
    """The queue."""
    return read(client.get("/"))


def request(client: Client, request_id: object) -> Page:
    """The request's page."""
    return read(client.get(f"/approvals/{request_id}/"))


def history(client: Client, _: object) -> Page:
    """The history."""
    return read(client.get("/history/"))


def insights(client: Client, _: object) -> Page:
    """The insights."""
    return read(client.get("/insights/"))


def request_admin(client: Client, request_id: object) -> Page:
    """The request in the admin."""
    return read(client.get(f"/admin/approvals/approvalrequest/{request_id}/change/"))


def admin_list(model: str) -> Callable[[Client, object], Page]:
    """A list in the admin."""
    return lambda client, _: read(client.get(f"/admin/approvals/{model}/"))


def reason_page(client: Client, request_id: object) -> Page:
    """The page on which the admin asks for a reason."""
    return read(
        client.post(
            "/admin/approvals/approvalrequest/",
            {"action": "reject", "_selected_action": str(request_id)},
        )
    )


@pytest.mark.parametrize(
    "look",
    [
        queue,
        request,
        history,
        insights,
        request_admin,
        reason_page,
        *(
            admin_list(model)
            for model in ("approvalrequest", "delivery", "auditentry", "vote", "inboundwebhook")
        ),
    ],
)
def test_hostile_text_is_shown_inert(look: Callable[[Client, object], Page]) -> None:
    request_id = hostile()
    client = signed_in(person("root", "operators"), superuser=True)
    page = look(client, request_id)
    assert "Log out" in page.text
    assert list(page.faults()) == []
    assert not page.find("img", src="x")
    assert TURNED not in page.text


def test_markdown_and_template_tags_are_plain_words() -> None:
    page = request(signed_in(manager("maria")), hostile())
    assert "[click](javascript:alert(1)) **bold** {{ 7|add:7 }} {% now 'Y' %}" in page.text


def test_a_task_of_a_megabyte_is_shown_whole_and_inert() -> None:
    """No verb lets it through; a page must not trust that."""
    request_id = opened(DEPLOY)
    words = f"{SCRIPT}{TURNED}\N{COLLISION SYMBOL}" * 30_000
    unguarded(
        "UPDATE approval_requests SET task = jsonb_build_object('description', %s::text),"
        " action = jsonb_build_object('url', %s::text, 'body', %s::text) WHERE id = %s",
        [words, words, words, request_id],
    )
    assert len(words) > 800_000
    page = request(signed_in(manager("maria")), request_id)
    assert list(page.faults()) == []
    assert TURNED not in page.text
    assert page.text.count("\N{COLLISION SYMBOL}") >= 30_000
    for part in ("said", "exact", "exact-body"):
        (region,) = [one for one in page.elements if one.attributes.get("id") == part]
        assert region.attributes["role"] == "region"


def test_hostile_names_are_inert_where_they_are_to_be_typed_and_after_the_decision() -> None:
    request_id = hostile()
    client = signed_in(manager("maria"))
    answer = client.post(
        f"/approvals/{request_id}/approve/",
        {"approve-typed": SCRIPT + TURNED, "approve-words": IMAGE + TURNED},
    )
    assert answer.status_code == 422
    page = read(answer)
    assert list(page.faults()) == []
    assert not page.find("img", src="x")
    services.cast_vote(
        request_id, actor=manager("otto"), choice=Choice.REJECT, comment=SCRIPT + TURNED
    )
    services.record_event(
        request_id, EventName.EXECUTION_FINISHED, {"status": SCRIPT, "summary": IMAGE + TURNED}
    )
    late = read(
        client.post(
            f"/approvals/{request_id}/reject/", {"reject-preset": SCRIPT, "reject-words": IMAGE}
        )
    )
    for page in (late, request(client, request_id)):
        assert list(page.faults()) == []
        assert not page.find("img", src="x")
        assert TURNED not in page.text
    assert SCRIPT in late.text


def test_an_address_that_turns_itself_around_is_shown_as_it_is() -> None:
    request_id = opened(DEPLOY)
    # No verb lets it through; a page must not trust that.
    unguarded(
        "UPDATE approval_requests SET pr_url = %s WHERE id = %s",
        [f"https://github.com/a/{TURNED}shop/pull/7", request_id],
    )
    assert TURNED not in request(signed_in(manager("maria")), request_id).text


def test_only_web_addresses_become_links() -> None:
    request_id = hostile()
    page = request(signed_in(manager("maria")), request_id)
    assert [link for link in page.links() if not link.startswith(("/", "#"))] == []


def test_every_page_keeps_the_strict_policy() -> None:
    request_id = opened(DEPLOY)
    client = signed_in(person("root", "operators", "release-managers"), superuser=True)
    ours = ["/", "/?status=perhaps", f"/approvals/{request_id}/", "/approvals/nothing/"]
    admin = ["", "auth/user/", "auth/user/add/", "auth/group/", "approvals/approvalrequest/"]
    admin += ["approvals/apitoken/", "approvals/apitoken/add/", "approvals/delivery/"]
    admin += ["approvals/auditentry/", "approvals/approverprofile/", "approvals/heartbeat/"]
    admin += [f"approvals/approvalrequest/{request_id}/change/"]
    answers = [client.get(address) for address in [*ours, *(f"/admin/{part}" for part in admin)]]
    answers.append(Client().get("/accounts/login/"))
    for answer in answers:
        policy = answer["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer["X-Frame-Options"] == "DENY"
        assert list(read(answer).faults()) == []


@pytest.mark.parametrize("address", ["/", "/accounts/login/", "/approvals/{}/"])
def test_a_page_has_landmarks_a_skip_link_and_labelled_fields(address: str) -> None:
    request_id = opened(DEPLOY)
    client = Client() if "login" in address else signed_in(manager("maria"))
    page = read(client.get(address.format(request_id)))
    assert page.find("html", lang="en")
    assert page.find("a", href="#content")
    assert page.find("main", id="content")
    assert len(page.find("h1")) == 1
    labelled = {label.attributes["for"] for label in page.find("label")}
    for tag in ("input", "select", "textarea"):
        for element in page.find(tag):
            if element.attributes.get("type") != "hidden":
                assert element.attributes["id"] in labelled
