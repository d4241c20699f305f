"""The words by which people find a text again."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MOST_WORDS = 1_000
LONGEST_WORD = 64
# Letters, digits and what belongs to them; an underscore joins no words here.
_WORD = re.compile(r"[^\W_]+")


def words(texts: Iterable[str]) -> list[str]:
    """The different words of the texts, in lower case, in order: "CHEF-271" is chef and 271.

    Long words are cut, and only so many are kept.
    """
    found: dict[str, None] = {}
    for text in texts:
        for match in _WORD.finditer(unicodedata.normalize("NFKC", text).casefold()):
            found[match[0][:LONGEST_WORD]] = None
            if len(found) == MOST_WORDS:
                return list(found)
    return list(found)


def values(thing: Any) -> Iterator[str]:
    """Every text and number in a JSON value, without the names they stand under."""
    if isinstance(thing, Mapping):
        for value in thing.values():
            yield from values(value)
    elif isinstance(thing, (list, tuple)):
        for value in thing:
            yield from values(value)
    elif isinstance(thing, str):
        yield thing
    elif isinstance(thing, (int, float)) and not isinstance(thing, bool):
        yield str(thing)
