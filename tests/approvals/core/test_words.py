"""The words by which people find a text again."""

import pytest

from approvals.core.words import LONGEST_WORD, MOST_WORDS, values, words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Deploy v2.5.0 to production", ["deploy", "v2", "5", "0", "to", "production"]),
        ("CHEF-271", ["chef", "271"]),
        ("terraform_apply", ["terraform", "apply"]),
        ("https://github.com/acme/shop/pull/7", ["https", "github", "com", "acme", "shop"]),
        ("Größe GRÖSSE grösse", ["grösse"]),
        ("東京 🚀 naïve", ["東京", "naïve"]),
        ("ﬁne ①", ["fine", "1"]),
        ("one, one; ONE", ["one"]),
        ("' & | ! :* <-> \\ \x00\u202e", []),
        ("", []),
    ],
)
def test_a_text_has_these_words(text: str, found: list[str]) -> None:
    assert words([text])[: len(found)] == found
    assert bool(words([text])) == bool(found)


def test_words_and_their_number_have_a_bound() -> None:
    assert words(["x" * 5000]) == ["x" * LONGEST_WORD]
    many = words([" ".join(f"w{number}" for number in range(5000))])
    assert len(many) == MOST_WORDS


def test_a_json_value_gives_its_texts_and_numbers() -> None:
    thing = {"a": "one", "b": [2, {"c": "three", "d": None}, True], "e": 4.5}
    assert list(values(thing)) == ["one", "2", "three", "4.5"]
