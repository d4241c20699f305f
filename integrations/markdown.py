"""Untrusted text for Markdown: it is read as plain text and does nothing, in Linear and in GitHub.

A backslash stops what Markdown itself would do. It does not stop what is found in the rendered
text afterwards, such as mentions and bare addresses: a zero width space breaks those, which looks
the same to a reader.
"""

import re
import unicodedata

_BREAK = "\u200b"
_JOINERS = frozenset("\u200c\u200d")  # Persian, Indic scripts and emoji cannot be spelt without

_ACTIVE = re.compile(r"[\\`*_\[\]<>&~|!$]")
_LEADING_MARK = re.compile(r"^([#+=\-])")
_LEADING_NUMBER = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_FOUND_LATER = re.compile(
    r"@(?=\S)"  # a mention or an e-mail address
    r"|(?<=[A-Za-z]):(?=\S)"  # the scheme of an address
    r"|(?<=\w)\.(?=[^\W\d_]{2})"  # the dot of a host name
    r"|\#(?=\d)"  # an issue or a pull request by number
    r"|\b(?:[A-Z][A-Z0-9_]*|[Gg][Hh])-(?=\d)"  # an issue by its identifier
)
_BACKTICKS = re.compile(r"`+")


def plain(text: str, limit: int = 200) -> str:
    """The text on one line for a place that knows no Markdown, such as a title or a name."""
    shown = _visible(" ".join(text.split()), keep=_JOINERS)
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def escape(text: str, limit: int = 1000) -> str:
    """The text on one line, with nothing in it that Markdown, Linear or GitHub would act on.

    No formatting, link, image, HTML, mention or reference comes of it, wherever in a line it is
    put. At most `limit` characters of the text are kept; what is missing is counted.
    """
    kept, rest = _cut(" ".join(text.split()), limit)
    broken = _FOUND_LATER.sub(lambda found: found[0] + _BREAK, _visible(kept, keep=_JOINERS))
    escaped = _ACTIVE.sub(r"\\\g<0>", broken)
    escaped = _LEADING_NUMBER.sub(r"\1\\\2", _LEADING_MARK.sub(r"\\\1", escaped))
    return escaped + rest


def quote(text: str, limit: int = 2000) -> str:
    """The text as a block quotation, its lines kept; to be put at the start of a line."""
    kept, rest = _cut(text.strip(), limit)
    lines = [escape(line, limit) for line in kept.splitlines() if line.strip()]
    return "\n>\n".join(f"> {line}" for line in [*lines, rest.strip()] if line) or ">"


def code(text: str, limit: int = 1000) -> str:
    """The text as inline code, exactly as it is; line ends and invisible characters are shown."""
    kept, rest = _cut(text, limit)
    shown = _visible(kept)
    if not shown:
        return f"(empty){rest}"
    ticks = "`" * (_longest_run(shown) + 1)
    padding = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{ticks}{padding}{shown}{padding}{ticks}{rest}"


def fence(text: str, limit: int = 8000) -> str:
    """The text as a code block that it cannot leave; to be put at the start of a line.

    Line feeds and tabs stay, every other invisible character is shown by its number.
    """
    kept, rest = _cut(text, limit)
    shown = _visible(kept, keep=frozenset("\n\t"))
    ticks = "`" * max(3, _longest_run(shown) + 1)
    return f"{ticks}\n{shown}\n{ticks}" + (f"\n\n{rest.strip()}" if rest else "")


def _cut(text: str, limit: int) -> tuple[str, str]:
    """The text's beginning, and a remark on how much of it is missing."""
    missing = len(text) - limit
    if missing <= 0:
        return text, ""
    return text[:limit], f" … ({missing} more characters)"


def _visible(text: str, keep: frozenset[str] = frozenset()) -> str:
    """The text with control, format, surrogate and private characters written as numbers.

    So no character can hide text, turn its direction around or be refused by a database.
    """
    return "".join(
        char
        if char in keep or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
        else f"\\u{ord(char):04x}"
        for char in text
    )


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)
