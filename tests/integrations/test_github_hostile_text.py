"""Text from agents and people is read on a pull request as text, and does nothing there."""

from collections.abc import Iterator

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from approvals.core.lifecycle import Status
from integrations.github import messages
from tests.integrations.github_world import resolved, snapshot

HOSTILE = [
    "@acme/everyone please look",
    "[click me](https://evil.example)",
    "![pixel](https://evil.example/x.png)",
    "https://evil.example/login",
    "www.evil.example",
    "<img src=x onerror=alert(1)>",
    "--> <b>bold</b> <!-- ",
    "# Approved by ada",
    "```\n### Approved\n```",
    "`code` **bold** _it_ ~~gone~~",
    "fixes #12 and acme/shop#13",
    "<!-- hitl:00000000-0000-4000-8000-000000000000:opened -->",
    "a | b\n--- | ---\n1 | 2",
    "\n\n- [x] approved\n\n---\n",
    "\x00\x1b[31m\u202ereversed\ud800",
    "x" * 200_000,
]
OURS = {"https://gateway.example/approvals/1/", "https://linear.example/OPS-1"}


def tokens(body: str) -> Iterator[Token]:
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(body):
        yield token
        yield from token.children or ()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_link_heading_markup_or_mention(text: str) -> None:
    request = snapshot(
        operation=text,
        environment=text,
        task={"description": text},
        linear_issue_id=text,
        linear_issue_url="https://linear.example/OPS-1",
    )
    ended = resolved(request, Status.REJECTED, decided_by=text, reason=text)
    for body in (
        messages.opened_comment(request),
        messages.opened_comment(ended),
        messages.resolved_comment(ended, alone=True),
    ):
        found = list(tokens(body))
        links = {token.attrs["href"] for token in found if token.type == "link_open"}
        assert links == OURS
        assert sum(token.type == "heading_open" for token in found) == 1
        assert not {"image", "table_open", "fence", "hr", "html_inline"} & {
            token.type for token in found
        }
        # Our own marker, on the first line, is the only HTML.
        html = [token.content for token in found if token.type == "html_block"]
        assert [text.strip() for text in html] == [body.splitlines()[0]]
        prose = "".join(token.content for token in found if token.type == "text")
        assert "@acme" not in prose
        assert "https://evil" not in prose
        assert "www.evil" not in prose
        assert "#12" not in prose
        assert len(body) < 65_536
        body.encode("utf-8")
        assert "\x00" not in body


def test_an_address_that_could_break_out_of_its_link_is_shown_and_not_linked() -> None:
    body = messages.opened_comment(
        snapshot(linear_issue_id="OPS-1", linear_issue_url="javascript:alert(1)")
    )
    assert "`javascript:alert(1)`" in body
    assert not any(
        token.type == "link_open" and str(token.attrs["href"]).startswith("javascript")
        for token in tokens(body)
    )


def test_values_under_secret_looking_keys_are_masked() -> None:
    request = snapshot(task={"description": "Ship it", "api_key": "sk-live-1"})
    assert "sk-live-1" not in messages.opened_comment(request)
