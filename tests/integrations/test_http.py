"""What other parties say about when to come back, in whatever words."""

import httpx
import pytest

from integrations.http import retry_after


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("40", 40.0),
        (" 0 ", 0.0),
        ("Mon, 01 Jan 2024 00:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
    ],
)
def test_a_retry_after_header_is_read_or_counts_as_none(said: str, seconds: float | None) -> None:
    response = httpx.Response(503, headers={"Retry-After": said})
    assert retry_after(response) == seconds
