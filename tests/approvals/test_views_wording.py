"""What the pages' words are made of."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approvals import wording
from approvals.core.events import EventName
from approvals.masking import masked_action
from approvals.templatetags.pages import web_address

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (119, "1 min 59 s"),
        (3600, "1 h"),
        (3600 * 3 + 60 * 20 + 5, "3 h 20 min"),
        (86_400, "1 d"),
        (86_400 * 2 + 3600 * 5 + 60, "2 d 5 h"),
    ],
)
def test_a_span_is_told_in_its_two_largest_units(seconds: int, words: str) -> None:
    assert wording.duration(seconds) == words


def test_a_moment_is_told_from_now() -> None:
    assert wording.relative(NOW + timedelta(hours=2), NOW) == "in 2 h"
    assert wording.relative(NOW - timedelta(minutes=5), NOW) == "5 min ago"
    assert wording.relative(NOW, NOW) == "now"
    assert wording.relative(NOW + timedelta(seconds=119), NOW) == "in 1 min"
    assert (
        wording.relative(NOW - timedelta(hours=3, minutes=20, seconds=5), NOW) == "3 h 20 min ago"
    )
    assert wording.relative(NOW + timedelta(seconds=59), NOW) == "in 59 s"


def test_a_limit_is_told_to_the_second_where_people_approve_by_it() -> None:
    shown = wording.work({}, {"argv": ["true"], "timeout_seconds": 119})
    assert shown is not None
    assert ("Time limit", "1 min 59 s") in shown.facts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, ünïcode 漢字", "plain words, ünïcode 漢字"),
        ("a\u202eb", "a\\u202eb"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("bell\x07 and delete\x7f", "bell\\u0007 and delete\\u007f"),
        ("tag\U000e0041", "tag\\udb40\\udc41"),
        ("no\uffff character", "no\\uffff character"),
        ("blank\u3164\u2800", "blank\\u3164\\u2800"),
        ("heart \u2764\ufe0f Việt Nam", "heart \u2764\ufe0f Việt Nam"),
        ("z" + "\u0301" * 6, "z" + "\u0301" * 4 + "\\u0301" * 2),
    ],
)
def test_what_is_invisible_is_shown_by_its_number(text: str, shown: str) -> None:
    assert wording.plain(text) == shown


def test_every_event_has_words_even_with_nothing_else_known_of_it() -> None:
    for name in EventName:
        assert wording.told(name, {}, "ada").phrase != name
    assert wording.told("later.invented", {"reason": "x"}, "ada") == wording.Told(
        "later.invented", "x"
    )


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        (EventName.RUN_ENDED, {"status": "rejected"}, ("ended the run as rejected", "")),
        (
            EventName.NOT_REQUIRED,
            {"operation": "run_tests", "environment": "staging"},
            ("let run_tests in staging run: the rules ask for no approval", ""),
        ),
        (
            EventName.RUN_SETTLED,
            {"outcome": "retry", "reason": "Nothing had changed."},
            ("settled the run as retry", "Nothing had changed."),
        ),
        (
            EventName.EXECUTION_FINISHED,
            {"status": "succeeded", "summary": "exited 0"},
            ("carried the operation out", "exited 0"),
        ),
        (
            EventName.EXECUTION_FINISHED,
            {"status": "failed", "summary": "exited 3"},
            ("tried to carry the operation out, and it failed", "exited 3"),
        ),
        (
            EventName.EXECUTION_FINISHED,
            {"status": "unknown", "summary": "The reply was lost."},
            ("cannot tell whether the operation was carried out", "The reply was lost."),
        ),
        (
            EventName.EXECUTION_FINISHED,
            {"status": "held", "summary": "The call was not begun: nobody listens."},
            ("could not begin the operation", "The call was not begun: nobody listens."),
        ),
    ],
)
def test_what_became_of_a_run_or_an_action_is_told(
    name: EventName, data: dict[str, str], told: tuple[str, str]
) -> None:
    assert wording.told(name, data, "ada") == wording.Told(*told)


@pytest.mark.parametrize(
    ("secret", "argument", "shown"),
    [
        ("sk-12345", "--token=sk-12345", "--token=••••••"),
        # Masking every 1 or yes would hide what runs and hardly a secret.
        ("1", "--replicas=1", "--replicas=1"),
    ],
)
def test_a_masked_value_is_masked_where_it_was_filled_in(
    secret: str, argument: str, shown: str
) -> None:
    task = {"arguments": {"token": secret, "list": [{"password": secret}]}}
    action: dict[str, Any] = {"argv": ["run", argument], "body": {"deep": [argument]}}
    masked = masked_action(task, action)
    assert masked == {"argv": ["run", shown], "body": {"deep": [shown]}}


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "//host/x", "http://", "x", "", None]
)
def test_only_http_addresses_become_links(address: str | None) -> None:
    assert web_address(address) == ""
    assert web_address("https://example.com/a") == "https://example.com/a"
