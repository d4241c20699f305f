"""What PostgreSQL, a checkpoint or a reader could choke on is refused with a sentence."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.core.intake import (
    MAX_DEPTH,
    MAX_TASK_BYTES,
    harmless,
    json_fault,
    pull_request_fault,
    task_fault,
    text_fault,
)

UNSTORABLE = ["\x00", "a\x00b", "\ud800", "\udfff", "ok\udc80"]
STORABLE = ["", "deploy", "é", "\U0001f680", "\ufffd", "a\tb\nc", "\x1f", "\u202e"]


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("text", UNSTORABLE)
def test_a_nul_or_a_lone_surrogate_is_refused_wherever_it_stands(text: str) -> None:
    assert text_fault(text, 100) == "contains a NUL or a lone surrogate"
    task = {"operation": "deploy", "environment": "test"}
    for bad in (
        {**task, "operation": f"deploy{text}"},
        {**task, "environment": f"test{text}"},
        {**task, "description": text},
        {**task, "arguments": {"list": [1, {"deep": text}]}},
        {**task, "arguments": {f"key{text}": 1}},
    ):
        fault = task_fault(bad)
        assert fault is not None
        assert fault.endswith("contains a NUL or a lone surrogate")


@pytest.mark.parametrize("text", STORABLE)
def test_every_other_text_is_taken(text: str) -> None:
    assert text_fault(text, 100) is None
    assert json_fault({text: [text]}) is None


@settings(max_examples=40)
@given(st.text(st.characters(), max_size=50))
def test_a_text_is_taken_exactly_when_it_can_be_encoded(text: str) -> None:
    storable = "\x00" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        storable = False
    assert (text_fault(text, 50) is None) == storable


_ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner)
    ),
    max_leaves=15,
)


@settings(max_examples=40)
@given(_ODD)
def test_whatever_was_made_harmless_is_taken(value: object) -> None:
    made = harmless(value)
    assert json_fault(made) is None
    assert harmless(made) == made


@settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00")))
def test_a_text_that_does_no_harm_is_not_changed(text: str) -> None:
    assert harmless({text: [text]}) == {text: [text]}


def test_a_text_is_refused_one_character_over_the_limit() -> None:
    assert text_fault("x" * 10, 10) is None
    assert text_fault("x" * 11, 10) == "is longer than 10 characters"


@pytest.mark.parametrize(
    ("task", "fault"),
    [
        ({}, "needs an operation"),
        ({"operation": ""}, "needs an operation"),
        ({"operation": " \t"}, "needs an operation"),
        ({"operation": None}, "needs an operation"),
        ({"operation": 5}, "needs an operation"),
        ({"operation": ["deploy"]}, "needs an operation"),
        ({"operation": "x" * 201}, "has an operation that is longer than 200 characters"),
        ({"operation": "deploy", "environment": 3}, "has an environment that is not a text"),
        ({"operation": "deploy", "environment": ["test"]}, "has an environment that is not a text"),
        (
            {"operation": "deploy", "environment": "x" * 201},
            "has an environment that is longer than 200 characters",
        ),
        ({"operation": "deploy", "ratio": float("nan")}, "is not plain JSON"),
        ({"operation": "deploy", "ratio": float("inf")}, "is not plain JSON"),
        ({"operation": "deploy", "names": {"a", "b"}}, "is not plain JSON"),
        ({"operation": "deploy", "body": b"bytes"}, "is not plain JSON"),
        ({"operation": "deploy", ("a",): 1}, "is not plain JSON"),
        ({"operation": "deploy", "big": 10**5000}, "is not plain JSON"),
        ({"operation": "deploy", "text": "x" * MAX_TASK_BYTES}, "is larger than 64 KiB as JSON"),
        ({"operation": "deploy", "list": nested(MAX_DEPTH)}, "is nested deeper than 20 levels"),
        ({"operation": "deploy", "list": nested(100_000)}, "is not plain JSON"),
    ],
)
def test_a_task_that_cannot_be_taken_says_why(task: dict[Any, Any], fault: str) -> None:
    assert task_fault(task) == fault


@pytest.mark.parametrize(
    "task",
    [
        {"operation": "deploy"},
        {"operation": "deploy", "environment": None},
        {"operation": "deploy", "environment": ""},
        {"operation": "x" * 200, "environment": "y" * 200},
        {"operation": "deploy", "list": nested(MAX_DEPTH - 1)},
        {"operation": "deploy", "anything": {"else": [1, 2.5, None, True, "text"]}},
    ],
)
def test_a_plain_task_is_taken(task: dict[str, Any]) -> None:
    assert task_fault(task) is None


def test_a_value_that_holds_itself_is_refused() -> None:
    ring: list[Any] = []
    ring.append(ring)
    assert json_fault({"ring": ring}) == "is not plain JSON"


def test_the_size_counts_what_the_escapes_take() -> None:
    room = MAX_TASK_BYTES - len(json.dumps({"t": ""}, separators=(",", ":")))
    assert json_fault({"t": "x" * room}) is None
    assert json_fault({"t": "x" * (room + 1)}) == "is larger than 64 KiB as JSON"
    assert json_fault({"t": "é" * (room // 2)}) == "is larger than 64 KiB as JSON"


HOSTS = {"github.com", "git.example.com", "127.0.0.1:8010"}
GOOD = "https://github.com/acme/shop/pull/12"


@pytest.mark.parametrize(
    ("number", "url", "repository"),
    [
        (None, "", ""),
        (12, "", "acme/shop"),
        (12, GOOD, "acme/shop"),
        (12, f"{GOOD}/", "acme/shop"),
        (None, GOOD, ""),
        (12, GOOD, "Acme/SHOP"),
        (12, "https://git.example.com/hub/acme/shop/pull/12", "acme/shop"),
        (12, "http://127.0.0.1:8010/acme/shop/pull/12", "acme/shop"),
        (2**31 - 1, "", "acme/.github"),
        (1, "", "acme/a.b"),
        (1, "", "acme/..."),
    ],
)
def test_three_facts_that_name_one_pull_request_are_taken(
    number: int | None, url: str, repository: str
) -> None:
    assert pull_request_fault(number, url, repository, HOSTS) is None


@pytest.mark.parametrize(
    ("number", "url", "repository", "field"),
    [
        (0, "", "", "pr_number"),
        (-1, "", "", "pr_number"),
        (2**31, "", "", "pr_number"),
        (13, GOOD, "acme/shop", "pr_url"),
        (12, GOOD, "acme/other", "pr_url"),
        (12, GOOD, "evil/shop", "pr_url"),
        (None, "javascript:alert(1)", "", "pr_url"),
        (None, "ftp://github.com/acme/shop/pull/1", "", "pr_url"),
        (None, "//github.com/acme/shop/pull/1", "", "pr_url"),
        (None, "https://github.com/acme/shop/issues/12", "", "pr_url"),
        (None, "https://github.com/acme/shop/pull/12/files", "", "pr_url"),
        (None, f"{GOOD}?next=https://evil.example", "", "pr_url"),
        (None, f"{GOOD}#fragment", "", "pr_url"),
        (None, f"{GOOD}\n", "", "pr_url"),
        (None, f" {GOOD}", "", "pr_url"),
        (None, "https://github.com/acme/shop/pull/\u0661", "", "pr_url"),
        # What turns the text around, or shows nothing of itself.
        (None, "https://github.com/a/\u202eemca/shop/pull/12", "", "pr_url"),
        (None, "https://github.com/ac\x07me/shop/pull/12", "", "pr_url"),
        (12, "https://evil.example/acme/shop/pull/12", "acme/shop", "pr_url"),
        (12, "https://github.com@evil.example/acme/shop/pull/12", "acme/shop", "pr_url"),
        (None, "", "acme", "github_repo"),
        (None, "", "acme/shop/extra", "github_repo"),
        (None, "", "/shop", "github_repo"),
        (None, "", "acme/", "github_repo"),
        (None, "", "acme/sh op", "github_repo"),
        (None, "", "acme/shop\n", "github_repo"),
        (None, "", "-acme/shop", "github_repo"),
        (None, "", "acme/..", "github_repo"),
        (None, "", "acme/.", "github_repo"),
        (None, "", "../acme", "github_repo"),
        (None, "", "acme/shop%2f..", "github_repo"),
        (None, "", "https://github.com/acme/shop", "github_repo"),
    ],
)
def test_three_facts_that_do_not_name_one_pull_request_are_refused_by_field(
    number: int | None, url: str, repository: str, field: str
) -> None:
    fault = pull_request_fault(number, url, repository, HOSTS)
    assert fault is not None
    assert fault[0] == field
