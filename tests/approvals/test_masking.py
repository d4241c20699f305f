"""The values of secret-looking keys are shown nowhere."""

import json
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from approvals import masking
from approvals.masking import MASK, is_secret, masked, masked_action, masked_text


@pytest.mark.parametrize(
    "key",
    [
        *("password", "PASSWORD", "db_password", "passwordFile", "passwd", "client_secret"),
        *("token", "accessToken", "GITHUB_TOKEN", "api_key", "apikey", "apiKey", "API-KEY"),
        *("X-Api-Key", "api key", "api.key", "aws_credentials", "private_key", "privateKey"),
        *("private-key", "authorization", "Authorization"),
    ],
)
def test_a_secret_looking_key_hides_its_value(key: str) -> None:
    assert masked({key: "hunter2"}) == {key: MASK}


@pytest.mark.parametrize("key", ["operation", "key", "pass", "monkey", "authorized_by", "tok", ""])
def test_other_keys_are_shown(key: str) -> None:
    assert masked({key: "value"}) == {key: "value"}


@pytest.mark.parametrize("value", [None, 7, ["a", "b"], {"user": "x", "value": "y"}, ""])
def test_whatever_stands_under_a_secret_key_is_hidden_whole(value: object) -> None:
    assert masked({"secret": value}) == {"secret": MASK}


def test_masks_reach_any_depth() -> None:
    task: Any = {"token": "deep", "name": "kept"}
    for _ in range(18):
        task = {"list": [1, [task]], "tuple": (task,)} if isinstance(task, str) else {"in": [task]}
    shown = masked({"operation": "deploy", "arguments": task})
    value: Any = shown["arguments"]
    for _ in range(18):
        (value,) = value["in"]
    assert value == {"token": MASK, "name": "kept"}
    assert "deep" not in str(shown)


def test_lists_in_lists_and_tuples_are_searched() -> None:
    task = {"env": [[{"api_key": "a"}], ({"password": "b"},), "text", 3]}
    assert masked(task) == {"env": [[{"api_key": MASK}], [{"password": MASK}], "text", 3]}


def test_the_task_itself_stays_as_it_was() -> None:
    task = {"arguments": {"password": "hunter2"}}
    masked(task)
    assert task == {"arguments": {"password": "hunter2"}}


def test_what_repeats_a_secret_is_hidden_wherever_it_stands() -> None:
    task = {
        "description": "Use hunter2-hunter2 once",
        "arguments": {"password": "hunter2-hunter2", "url": ["https://x/?k=hunter2-hunter2"]},
    }
    assert masked(task) == {
        "description": f"Use {MASK} once",
        "arguments": {"password": MASK, "url": [f"https://x/?k={MASK}"]},
    }
    assert masked_text(task, "hunter2-hunter2!") == f"{MASK}!"
    action = {"argv": ["--key", "hunter2-hunter2"], "timeout_seconds": 5}
    assert masked_action(task, action) == {"argv": ["--key", MASK], "timeout_seconds": 5}


def test_a_secret_in_an_address_is_hidden_in_the_form_that_it_has_there() -> None:
    task = {"arguments": {"token": "hunter/2 \N{LATIN SMALL LETTER U WITH DIAERESIS}?"}}
    action = {"url": "https://ops/keys/hunter%2F2%20%C3%BC%3F/renew", "body": {}}
    assert masked_action(task, action) == {"url": f"https://ops/keys/{MASK}/renew", "body": {}}
    said = "No key hunter%2F2%20%C3%BC%3F"
    assert masked_text(task, said) == f"No key {MASK}"
    # Half of a character has no such form.
    assert masked({"token": "hunter\ud800"}) == {"token": MASK}


def test_a_secret_is_hidden_without_the_white_space_around_it() -> None:
    assert masked_text({"token": "hunter2\n"}, "bad hunter2: hunter2\n") == f"bad {MASK}: {MASK}\n"


@pytest.mark.parametrize("write", [repr, json.dumps, partial(json.dumps, ensure_ascii=False)])
def test_a_secret_is_hidden_as_python_and_json_write_it(write: Callable[[Any], str]) -> None:
    key = 'line "one" \N{LATIN SMALL LETTER U WITH DIAERESIS}\nline\\two'
    said = write({"what": key})
    assert masked_text({"private_key": key}, said) == write({"what": "-"}).replace("-", MASK)


def test_what_stands_deep_in_a_secret_is_hidden_elsewhere_too() -> None:
    task = {"credentials": {"user": "root-user", "pins": [123456, None, True, "abc"]}}
    shown = "root-user 123456 None True abc"
    assert masked_text(task, shown) == f"{MASK} {MASK} None True abc"
    assert masked_action(task, {"pin": 123456, "on": True}) == {"pin": MASK, "on": True}


def test_a_longer_secret_is_hidden_before_one_that_is_part_of_it() -> None:
    task = {"token": "hunter2", "other_token": "hunter2-hunter2"}
    assert masked_text(task, "hunter2-hunter2, hunter2") == f"{MASK}, {MASK}"


def test_a_secret_key_is_one_as_long_as_it_may_be_and_however_often_it_is_asked() -> None:
    long = "x" * 5_000 + "password" + "y" * 5_000
    for _ in range(2):
        assert is_secret(long)
        assert not is_secret(long.replace("password", "pass"))
        assert is_secret("a\npassword\nb")


def test_a_configuration_without_secret_keys_masks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "masked_keys", lambda: ())
    assert masked({"password": "x", "": 1}) == {"password": "x", "": 1}
    monkeypatch.setattr(masking, "masked_keys", lambda: ("a?c", "[xy]*z"))
    assert [key for key in ("abc", "A-B-C", "abcd", "xz", "y__z", "wz") if is_secret(key)] == [
        *("abc", "A-B-C", "xz", "y__z")
    ]


def test_a_task_of_many_keys_is_masked_in_little_time() -> None:
    task = {f"key_{number}": "value" for number in range(1_500)}
    masked(task)
    took = min(timeit.repeat(lambda: masked(task), number=1, repeat=5))
    assert took < 0.01


def test_a_task_of_many_secrets_is_masked_in_little_time() -> None:
    """Whoever may ask for an approval must not make the lists that show it wait."""
    secrets = [f's"{number:04d}\N{LATIN SMALL LETTER U WITH DIAERESIS}' for number in range(1_500)]
    task = {"token": secrets, "said": secrets, "more": list(range(10_000, 13_000))}
    shown = masked(task)
    assert shown == {"token": MASK, "said": [MASK] * 1_500, "more": task["more"]}
    took = min(timeit.repeat(lambda: masked(task), number=1, repeat=3))
    assert took < 0.3


def test_what_nothing_stored_can_hold_hides_no_less() -> None:
    task = {"token": "hunter2", "said": ["\x00", "\x00hunter2", "hunter\x002", "kept"]}
    assert masked(task)["said"] == ["\x00", f"\x00{MASK}", "hunter\x002", "kept"]
    task = {"token": "hunter\x002", "said": ["hunter", "2", "kept"]}
    assert masked(task)["said"] == ["hunter", "2", "kept"]
