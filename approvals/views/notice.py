"""What a page says after somebody pressed a button."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """What came of the last press of a button; `typed` is what the person had written."""

    text: str
    refused: bool = False
    typed: str = ""
