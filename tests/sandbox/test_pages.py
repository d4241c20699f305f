"""The pages show what happened, let people act, and let nobody's text do more than be read."""

from html.parser import HTMLParser

import httpx
import pytest

from tests.sandbox.linear_calls import DONE_ID, create_issue
from tests.sandbox.receiver import Receiver
from tests.sandbox_process import Sandbox

HOSTILE = (
    "<script>alert(1)</script> <img src=x onerror=alert(2)> "
    "[click](javascript:alert(3)) ![x](https://example.com/x.png) \"'><b>bold</b> {{ 7 * 7 }}"
)


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def hostile(linear: httpx.Client, github: httpx.Client, sandbox: Sandbox) -> Sandbox:
    """A sandbox in which every text that others write is hostile."""
    issue = create_issue(linear, HOSTILE, description=HOSTILE)
    comment = sandbox.comment(issue["id"], HOSTILE, "nora")
    sandbox.react(issue["id"], "<i>x</i>", comment_id=comment["id"])
    sandbox.move(issue["id"], "In Review")
    attach = """mutation ($input: AttachmentCreateInput!) {
      attachmentCreate(input: $input) { success }
    }"""
    values = {"issueId": issue["id"], "url": "javascript:alert(4)", "title": HOSTILE}
    linear.post("/linear/graphql", json={"query": attach, "variables": {"input": values}})
    sandbox.add_pull(99, HOSTILE)
    github.post("/repos/acme/shop/issues/99/comments", json={"body": HOSTILE})
    dispatch = {"ref": "main", "inputs": {"note": HOSTILE}}
    github.post("/repos/acme/shop/actions/workflows/deploy.yml/dispatches", json=dispatch)
    httpx.post(f"{sandbox.hooks_url}/migrate", json={"note": HOSTILE})
    return sandbox


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/linear",
        "/linear/issue/CHEF-1",
        "/linear/webhooks",
        "/github/acme/shop",
        "/github/acme/shop/pull/99",
        "/github/acme/shop/actions",
        "/hooks",
        "/linear/issue/CHEF-404",
        "/github/acme/shop/pull/404",
    ],
)
def test_pages_render_and_hostile_text_stays_text(hostile: Sandbox, path: str) -> None:
    answer = httpx.get(hostile.url + path)
    assert answer.status_code == (404 if path.endswith("404") else 200)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    page = Page(answer.text)
    assert [attrs for tag, attrs in page.tags if tag == "script"] == [
        {"src": "/static/live.js", "defer": None}
    ]
    assert {tag for tag, _ in page.tags}.isdisjoint({"img", "iframe", "b", "i", "style"})
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert not str(attributes.get("href", "")).strip().lower().startswith("javascript:")
    for tag, attributes in page.tags:
        if tag in {"input", "textarea"} and attributes.get("type") != "hidden":
            assert (
                attributes.get("type") == "checkbox" or f'for="{attributes["id"]}"' in answer.text
            )


def test_the_markers_in_githubs_comments_are_not_shown(
    github: httpx.Client, sandbox: Sandbox
) -> None:
    body = {"body": "<!-- hitl:550e8400 -->\nApproval **required**"}
    github.post("/repos/acme/shop/issues/7/comments", json=body)
    page = httpx.get(f"{sandbox.url}/github/acme/shop/pull/7").text
    assert "<strong>required</strong>" in page
    assert "hitl:550e8400" not in page


def test_a_person_moves_comments_and_reacts_by_forms(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    issue = create_issue(linear)
    with httpx.Client(base_url=sandbox.url, follow_redirects=True) as browser:
        browser.get("/linear/issue/CHEF-1?as=ben")
        page = browser.get("/linear/issue/CHEF-1").text
        assert 'name="actor" value="ben"' in page
        moved = browser.post("/linear/issue/CHEF-1/move", data={"actor": "ben", "state": DONE_ID})
        assert moved.status_code == 200
        browser.post("/linear/issue/CHEF-1/comment", data={"actor": "nora", "body": "/approve"})
        browser.post("/linear/issue/CHEF-1/react", data={"actor": "bot", "emoji": "-1"})
        shown = browser.get("/linear/issue/CHEF-1").text
    assert "moved it from Todo to <strong>Done</strong>" in shown
    found = sandbox.issue(issue["id"])
    assert (found["state"], found["history"][0]["actor"]) == ("Done", "ben")
    assert [(c["author"], c["body"]) for c in found["comments"]] == [("nora", "/approve")]
    assert [(r["author"], r["emoji"]) for r in found["reactions"]] == [("bot", "-1")]
    events = {received.headers["Linear-Event"] for received in receiver.wait_for(4)}
    assert events == {"Issue", "Comment", "Reaction"}


def test_a_move_can_lose_its_webhook_and_send_it_later(
    linear: httpx.Client, sandbox: Sandbox, receiver: Receiver
) -> None:
    create_issue(linear)
    receiver.wait_for(1)
    form = {"actor": "ada", "state": DONE_ID, "lose": "1"}
    httpx.post(f"{sandbox.url}/linear/issue/CHEF-1/move", data=form)
    [lost] = sandbox.webhooks("Issue", "update")
    assert lost["state"] == "lost"
    httpx.post(f"{sandbox.url}/linear/webhooks/{lost['id']}/send")
    assert receiver.wait_for(2)[-1].headers["Linear-Delivery"] == lost["delivery"]


def test_addresses_with_a_uuid_or_a_slug_lead_to_the_issue(
    linear: httpx.Client, sandbox: Sandbox
) -> None:
    issue = create_issue(linear)
    assert issue["url"] == f"{sandbox.url}/linear/issue/CHEF-1/deploy-v2-5-0"
    for address in (issue["url"], f"{sandbox.url}/linear/issue/{issue['id']}"):
        answer = httpx.get(address, follow_redirects=True)
        assert answer.status_code == 200
        assert "CHEF-1" in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "elsewhere.example"}, 421),
    ],
)
def test_other_sites_cannot_press_the_buttons(
    linear: httpx.Client, sandbox: Sandbox, headers: dict[str, str], status: int
) -> None:
    issue = create_issue(linear)
    form = {"actor": "ada", "state": DONE_ID}
    page = f"{sandbox.url}/linear/issue/CHEF-1/move"
    assert httpx.post(page, data=form, headers=headers).status_code == status
    assert sandbox.issue(issue["id"])["state"] == "Todo"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"actor": "ada", "state": "nowhere"}, 404),
        ({"actor": "gateway", "state": DONE_ID}, 404),
        ({}, 404),
    ],
)
def test_a_form_that_makes_no_sense_says_why(
    linear: httpx.Client, sandbox: Sandbox, form: dict[str, str], status: int
) -> None:
    create_issue(linear)
    answer = httpx.post(f"{sandbox.url}/linear/issue/CHEF-1/move", data=form)
    assert answer.status_code == status
    assert "That did not work" in answer.text
    assert sandbox.issues()[0]["state"] == "Todo"
