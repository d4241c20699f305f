"""What an action printed or answered: bounded, harmless, and without its credentials."""

import re
from collections.abc import Iterable

from approvals.masking import MASK

OUTPUT_BYTES = 64 * 1024
# A terminal would act on these, and PostgreSQL refuses NUL; tab and line feed are ordinary text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What is shorter is a region or a name, and part of many words.
_SHORTEST_CREDENTIAL = 8


class Credentials:
    """The values of variables that an action is given; nothing keeps them of what it says."""

    def __init__(self, values: Iterable[str]) -> None:
        # Of "Bearer abc" the second word is the credential.
        words = {word for value in values for word in (value, value.partition(" ")[2])}
        secret = {word.encode() for word in words if len(word) >= _SHORTEST_CREDENTIAL}
        self._secret = sorted(secret, key=len, reverse=True)
        self.longest = max(map(len, secret), default=0)

    def text(self, data: bytes, start: int = 0, end: int | None = None) -> str:
        """That part of the data as text, without credentials, not even a half of one."""
        end = len(data) if end is None else end
        for secret in self._secret:
            for edge in (start, end):
                at = data.find(secret, max(0, edge - len(secret) + 1), edge + len(secret) - 1)
                if 0 <= at < edge:
                    start, end = (at + len(secret), end) if edge == start else (start, at)
        part = data[start:end]
        for secret in self._secret:
            part = part.replace(secret, MASK.encode())
        return _harmless(part)


class Tail:
    """The last bytes of a stream: the end of an output tells more than its beginning."""

    def __init__(self, credentials: Credentials, limit: int = OUTPUT_BYTES) -> None:
        self._credentials = credentials
        self._limit = limit
        self._kept = bytearray()
        self._cut = 0

    def add(self, chunk: bytes) -> None:
        """Keep the chunk, and let go of what no longer fits before it."""
        self._kept += chunk
        surplus = len(self._kept) - self._limit - self._credentials.longest
        if surplus > 0:
            del self._kept[:surplus]
            self._cut += surplus

    def text(self) -> str:
        """The kept bytes as text, with a note of how many are missing."""
        start = max(0, len(self._kept) - self._limit)
        cut = self._cut + start
        note = f"[the first {cut} bytes were cut]\n" if cut else ""
        return note + self._credentials.text(bytes(self._kept), start)


def _harmless(data: bytes) -> str:
    """The bytes as text, whatever they are: nothing in it is invalid or acts on a terminal."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
