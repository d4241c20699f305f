"""Cursors of lists: the place of the last row that was shown, as an opaque text."""

import base64
from datetime import UTC, datetime

NOT_OURS = "The cursor is not one that this list gave out; begin at its first page, without one."


def packed(*parts: object) -> str:
    """The cursor that holds these."""
    return base64.urlsafe_b64encode(" ".join(map(str, parts)).encode()).decode()


def unpacked(cursor: str) -> list[str]:
    """The parts of a cursor; ValueError where there can be none."""
    return base64.urlsafe_b64decode(cursor.encode()).decode().split(" ")


def moment(text: str) -> datetime:
    """A time in a cursor; ValueError where it is none."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("a time beyond the calendar") from error
