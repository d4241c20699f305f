"""What an action printed or answered, bounded and harmless."""

import re

OUTPUT_BYTES = 64 * 1024
# A terminal would act on these, and PostgreSQL refuses NUL; tab and line feed are ordinary text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Tail:
    """The last bytes of a stream: the end of an output tells more than its beginning."""

    def __init__(self, limit: int = OUTPUT_BYTES) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._cut = 0

    def add(self, chunk: bytes) -> None:
        """Keep the chunk, and let go of what no longer fits before it."""
        self._kept += chunk
        surplus = len(self._kept) - self._limit
        if surplus > 0:
            del self._kept[:surplus]
            self._cut += surplus

    def text(self) -> str:
        """The kept bytes as text, with a note of how many are missing."""
        note = f"[the first {self._cut} bytes were cut]\n" if self._cut else ""
        return note + harmless(bytes(self._kept))


def harmless(data: bytes) -> str:
    """The bytes as text, whatever they are: nothing in it is invalid or acts on a terminal."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
