"""One spelling of a JSON value, so that equal values have equal digests."""

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """The value as JSON, keys sorted, no spaces; TypeError or ValueError when it is not JSON."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def digest(value: Any) -> str:
    """sha256 of the canonical JSON, as 64 lowercase hex digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()
