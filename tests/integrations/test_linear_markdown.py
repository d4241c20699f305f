"""Untrusted text does nothing in Markdown; markdown-it reads it as an independent witness."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from integrations import markdown

ZERO_WIDTH = "\u200b"
HOSTILE = [
    "@ada and @acme/team and ada@example.com",
    "[text](https://evil.example) ![i](https://evil.example/i.png)",
    "<https://evil.example> https://evil.example www.evil.example evil.example",
    "<b>bold</b><script>x()</script><!-- c -->&lt;&#64;",
    "# head",
    "> quote",
    "- list",
    "* list",
    "+ list",
    "1. list",
    "2) list",
    "---",
    "===",
    "```\ncode",
    "`a` ``b``",
    "**a** _b_ ~~c~~ ==d==",
    "| a | b |\n|---|---|",
    "[ref]: https://evil.example",
    "    indented",
    "$x$ #12 GH-1 CHEF-271 acme/shop#3",
    "\\`a\\` \\[b](c)",
    "+++ hidden",
    "a\r\n\r\n# b\u2028c",
]


def tokens(text: str) -> set[str]:
    """The kinds of everything that Markdown makes of a text."""
    found: set[str] = set()
    for token in MarkdownIt("gfm-like", {"linkify": False}).parse(text):
        found.add(token.type)
        found.update(child.type for child in token.children or ())
    return found


def shown(text: str) -> str:
    """What a reader sees of a text without any formatting."""
    (_, inline, _) = MarkdownIt("commonmark").parse(text)
    return "".join(child.content for child in inline.children or ())


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_nothing_but_text(text: str) -> None:
    for place in ("{}", "- {}", "> {}", "before {} after"):
        escaped = place.format(markdown.escape(text))
        plain = tokens(place.format("text"))
        assert tokens(escaped) <= plain | {"text_special"}


@given(st.text(max_size=200))
def test_whatever_is_escaped_reads_as_it_was(text: str) -> None:
    escaped = markdown.escape(text)
    assert "\n" not in escaped
    if not escaped:
        return
    expected = markdown.plain(text, 10_000)
    assert shown(f"x{escaped}").replace(ZERO_WIDTH, "") == f"x{expected}".replace(ZERO_WIDTH, "")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("@ada", r"@\w"),
        ("ada@example.com", r"@\w"),
        ("https://evil.example", r"https?:/"),
        ("mailto:ada@example.com", r"mailto:\w"),
        ("www.evil.example", r"www\.\w"),
        ("#12", r"#\d"),
        ("CHEF-271", r"CHEF-\d"),
        ("GH-26", r"GH-\d"),
    ],
)
def test_what_is_found_in_rendered_text_finds_nothing(text: str, pattern: str) -> None:
    assert re.search(pattern, text)
    assert not re.search(pattern, shown(f"see {markdown.escape(text)}"))


def test_versions_and_times_stay_as_they_are() -> None:
    for text in ("v2.5.0", "10:15", "3.11", "a - b", "release 1.2"):
        assert markdown.escape(text) == text


@given(st.text(max_size=200))
def test_no_text_leaves_its_code_block(text: str) -> None:
    rendered = MarkdownIt("commonmark").parse(f"before\n\n{markdown.fence(text)}\n\nafter")
    kinds = [token.type for token in rendered]
    paragraph = ["paragraph_open", "inline", "paragraph_close"]
    assert kinds == [*paragraph, "fence", *paragraph]


@given(st.text(max_size=200))
def test_no_text_leaves_its_inline_code(text: str) -> None:
    (_, inline, _) = MarkdownIt("commonmark").parse(f"a {markdown.code(text)} b")
    kinds = [child.type for child in inline.children or ()]
    assert kinds == (["text", "code_inline", "text"] if text else ["text"])


def test_what_would_hide_or_turn_text_is_shown_by_number() -> None:
    for shown_by in (markdown.code, markdown.fence, markdown.plain):
        assert "\\u202e" in shown_by("safe\u202edangerous")
        assert "\\u0000" in shown_by("a\x00b")
        assert "\\ud800" in shown_by("a\ud800b")


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    assert markdown.escape("x" * 30, 10) == "x" * 10 + " … (20 more characters)"
    assert markdown.fence("x" * 30, 10).endswith("… (20 more characters)")


def test_no_template_shows_a_value_without_a_filter() -> None:
    folder = Path(__file__).parents[2] / "templates" / "messages"
    templates = sorted(folder.glob("linear_*.md"))
    assert templates
    for template in templates:
        for value in re.findall(r"\{\{(.*?)\}\}", template.read_text()):
            filtered = "|md" in value or "|pluralize" in value
            assert filtered, f"{template.name} shows{value}as it is"
