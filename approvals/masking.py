"""Hide the values of secret-looking keys, and what repeats them, wherever it is shown or sent."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from fnmatch import translate
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote

from approvals.policy import masked_keys

MASK = "••••••"
# A shorter text is too common a part of others to be hidden wherever it stands.
_SHORTEST_SECRET = 4
_APART = "\x00"
_SEPARATORS = re.compile(r"[-_.\s]")
# Tasks use the same keys again and again; longer ones than that are seldom, and would fill memory.
_KEYS_KNOWN, _LONGEST_KNOWN = 4_096, 100


def masked(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without what stands under a secret-looking key, at any depth, and whatever repeats it.

    For the other functions, what was asked stands beside what may repeat its secrets.
    """
    return dict(masked_beside({}, value))


def masked_beside(given: Mapping[str, Any], value: Any) -> Any:
    """JSON or text without what is masked in what was given, wherever something repeats it."""
    secret, found = _secrets(masked_keys()), set[str]()
    _by_key(given, secret, found)
    shown = _by_key(value, secret, found)
    return _without(shown, found) if found else shown


def masked_action(task: Mapping[str, Any], action: Mapping[str, Any]) -> dict[str, Any]:
    """The action without the values that are masked in its task, wherever they were filled in."""
    return dict(masked_beside(task, action))


def masked_text(task: Mapping[str, Any], text: str) -> str:
    """The text without the values that are masked in the task, wherever something repeats them."""
    return str(masked_beside(task, text))


class Given(Protocol):
    """A request, a run, or what belongs to one: `given` is what was asked, secrets and all."""

    @property
    def given(self) -> Mapping[str, Any]:
        """The JSON whose secrets nothing shows."""
        ...


def quiet(row: Given, text: str) -> str:
    """A text that people, channels or actions left with the row, without the row's secrets."""
    return masked_text(row.given, text)


def quiet_json(row: Given, value: Mapping[str, Any]) -> dict[str, Any]:
    """JSON that was left with the row, without the row's secrets."""
    return masked_action(row.given, value)


def is_secret(key: str) -> bool:
    """Whether the values under a key are never shown."""
    return _secrets(masked_keys())(key)


@lru_cache(maxsize=8)
def _secrets(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Tells secret keys by these patterns, compiled once; remembers what it told of short ones."""
    any_of = re.compile("|".join(translate(_bare(pattern)) for pattern in patterns) or "(?!)")

    def matches(key: str) -> bool:
        return any_of.match(_bare(key)) is not None

    known = lru_cache(maxsize=_KEYS_KNOWN)(matches)
    return lambda key: known(key) if len(key) <= _LONGEST_KNOWN else matches(key)


def _bare(text: str) -> str:
    """A key as compared: api_key, X-Api-Key and apiKey are one word."""
    return _SEPARATORS.sub("", text.casefold())


def _by_key(value: Any, secret: Callable[[str], bool], found: set[str]) -> Any:
    """A copy with a mask under every key that is secret; what those hide is added to `found`."""
    if isinstance(value, Mapping):
        shown = {}
        for key, item in value.items():
            if secret(key):
                found.update(_texts(item))
                shown[key] = MASK
            else:
                shown[key] = _by_key(item, secret, found)
        return shown
    if isinstance(value, (list, tuple)):
        return [_by_key(item, secret, found) for item in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    """Every text and number in what is hidden that is long enough to be looked for elsewhere."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif value is None or isinstance(value, bool):
        # True, False and null keep no secret, and stand everywhere.
        return
    # What reads a secret, or tells of it, may cut off the line break at its end.
    elif len(text := str(value).strip()) >= _SHORTEST_SECRET:
        yield text
        # As it stands in the path of an action's address.
        yield quote(text, safe="", errors="replace")
        # As errors and programs quote it, without the line breaks of a key of several lines.
        yield repr(text)[1:-1]
        yield json.dumps(text)[1:-1]
        yield json.dumps(text, ensure_ascii=False)[1:-1]


def _without(value: Any, secrets: Collection[str]) -> Any:
    """A copy in which none of the secrets stands.

    All texts are searched as one: however many there are, a secret costs no more than their length.
    """
    texts = list(_every_text(value))
    parts = _hidden(_APART.join(texts), secrets).split(_APART)
    if len(parts) != len(texts):
        # Something holds what stands between them here, which nothing that is stored can.
        parts = [_hidden(text, secrets) for text in texts]
    return _filled(value, iter(parts), secrets)


def _hidden(text: str, secrets: Collection[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _every_text(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = value.values()
    elif isinstance(value, str):
        yield value
        return
    elif not isinstance(value, (list, tuple)):
        return
    for item in value:
        yield from _every_text(item)


def _filled(value: Any, texts: Iterator[str], secrets: Collection[str]) -> Any:
    """A copy with these texts, one after the other, in the place of its own."""
    if isinstance(value, Mapping):
        return {key: _filled(item, texts, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_filled(item, texts, secrets) for item in value]
    if isinstance(value, str):
        return next(texts)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return MASK if number and str(value) in secrets else value
