"""Equal JSON values have one spelling and one digest; different ones never share it."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from approvals.core.canonical import canonical_json, digest

Json = Any
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def shuffled(value: Json, order: random.Random) -> Json:
    if isinstance(value, dict):
        items = [(key, shuffled(item, order)) for key, item in value.items()]
        order.shuffle(items)
        return dict(items)
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


@settings(max_examples=40)
@given(JSON, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: Json, order: random.Random) -> None:
    assert canonical_json(value) == canonical_json(shuffled(value, order))


@settings(max_examples=40)
@given(JSON)
def test_reading_it_back_changes_nothing(value: Json) -> None:
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text
    assert text.isascii()


@settings(max_examples=40)
@given(JSON, JSON)
def test_two_values_share_a_digest_only_when_they_are_equal(one: Json, other: Json) -> None:
    same_json = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    if same_json:
        assert digest(one) == digest(other)
    elif digest(one) == digest(other):
        # What may differ is only how a whole number is written.
        assert one == other


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": None}, {}),
        ({"a": ""}, {"a": None}),
        (["a", "b"], ["b", "a"]),
        (["ab"], ["a", "b"]),
        ({"a": {"b": 1}}, {"a.b": 1}),
        ({"a": 1.5}, {"a": 1.25}),
        ("e\u0301", "\u00e9"),
        ("deploy ", "deploy"),
    ],
)
def test_values_that_differ_have_different_digests(one: Json, other: Json) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 2), [1, 2]),
        (1.0, 1),
        (-0.0, 0),
        (1e22, 10**22),
        (1.5e300, 15 * 10**299),
        ({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"d": 3, "c": 2}], "a": 1}),
    ],
)
def test_two_spellings_of_one_value_have_one_digest(one: Json, other: Json) -> None:
    assert digest(one) == digest(other)


def test_the_spelling_is_the_one_that_was_agreed() -> None:
    assert canonical_json({"b": [1, True, None], "a": "é"}) == '{"a":"\\u00e9","b":[1,true,null]}'
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        [float("inf")],
        {"a": -float("inf")},
        {1, 2},
        b"bytes",
        object(),
        {("a",): 1},
        {"a": 1, 2: 1},
    ],
)
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical_json(value)
