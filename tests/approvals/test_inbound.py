"""What the outside says is kept, whatever it holds, and recognised when it comes again."""

import hashlib

import pytest

from approvals import services
from approvals.core.events import Hearing
from approvals.models import InboundWebhook
from approvals.services.inbound import MAX_KEPT_BODY
from tests.approvals.scenes import opened

pytestmark = pytest.mark.django_db


def record(
    delivery_id: str = "d-1", body: bytes = b'{"a":1}', source: str = "linear"
) -> int | None:
    return services.record_webhook(source=source, delivery_id=delivery_id, body=body)


def test_the_first_is_kept_and_the_same_again_is_not() -> None:
    kept = record()
    assert kept is not None
    assert record() is None
    found = InboundWebhook.objects.get()
    assert (found.pk, found.source, found.delivery_id) == (kept, "linear", "d-1")
    assert (found.body, found.body_digest) == ('{"a":1}', hashlib.sha256(b'{"a":1}').hexdigest())
    assert (found.outcome, found.reason, found.request_id) == ("", "", None)


def test_the_same_id_or_the_same_body_is_the_same() -> None:
    record()
    assert record(body=b"other") is None
    assert record(delivery_id="d-2") is None
    assert record(delivery_id="d-2", body=b"other") is not None


def test_two_sources_do_not_meet() -> None:
    assert record() is not None
    assert record(source="linear_history") is not None


def test_messages_without_an_id_are_known_by_their_body() -> None:
    assert record(delivery_id="") is not None
    assert record(delivery_id="", body=b"other") is not None
    assert record(delivery_id="") is None


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"", ""),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"a\x00b", "a\ufffdb"),
        (b"\xed\xa0\x80", "\ufffd" * 3),
        (b"x" * (MAX_KEPT_BODY + 10), "x" * MAX_KEPT_BODY),
    ],
)
def test_any_bytes_can_be_kept(body: bytes, kept: str) -> None:
    assert record(body=body) is not None
    assert InboundWebhook.objects.get().body == kept


def test_two_long_bodies_that_begin_alike_are_two() -> None:
    long = b"x" * (MAX_KEPT_BODY + 10)
    assert record(body=long + b"1") is not None
    assert record(delivery_id="d-2", body=long + b"2") is not None


@pytest.mark.parametrize("delivery_id", ["d" * 5000, "a\x00b", "\ud800"])
def test_any_delivery_id_can_be_kept(delivery_id: str) -> None:
    assert record(delivery_id=delivery_id) is not None
    assert record(delivery_id=delivery_id, body=b"other") is None


@pytest.mark.usefixtures("channels")
@pytest.mark.parametrize("reason", ["", "not linked", "Mal\x00lory", "\ud800", "x" * 5000])
def test_what_became_of_it_is_noted(reason: str) -> None:
    request_id = opened()
    kept = record()
    assert kept is not None
    services.finish_webhook(kept, outcome=Hearing.REFUSED, reason=reason, request_id=request_id)
    found = InboundWebhook.objects.get()
    assert (found.outcome, found.request_id) == ("refused", request_id)
    assert len(found.reason) == min(len(reason), 300)
