"""The log is a chain: it holds as written, and shows every place where somebody changed it."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from approvals import audit, services
from approvals.audit import SYSTEM, Fact, broken_links
from approvals.clock import clock
from approvals.core.events import EventName
from approvals.core.intake import harmless
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.models import AuditEntry
from tests.approvals.scenes import DELETE, manager, opened, row, unguarded

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
TABLE = "approvals_auditentry"
NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def fact(stream: UUID, name: EventName = EventName.RUN_STARTED, **data: Any) -> Fact:
    return Fact(stream, name, SYSTEM, NOW, data)


def busy_request() -> UUID:
    """A request with a refusal, two votes and an end."""
    request_id = opened(DELETE)
    services.cast_vote(request_id, actor=manager("grace"), choice=Choice.APPROVE)
    services.cast_vote(request_id, actor=manager("linus"), choice=Choice.APPROVE, comment="ok")
    return request_id


def tamper(statement: str, *parameters: Any) -> None:
    unguarded(statement, parameters)


def test_entries_of_a_stream_are_numbered_without_gaps() -> None:
    one, other = uuid4(), uuid4()
    audit.append([fact(one), fact(other), fact(one)])
    audit.append([fact(other), fact(one), fact(one)])
    for stream, count in ((one, 4), (other, 2)):
        numbers = AuditEntry.objects.filter(stream=stream).values_list("number", flat=True)
        assert sorted(numbers) == list(range(1, count + 1))
    assert list(broken_links()) == []


def test_nothing_to_append_is_nothing() -> None:
    audit.append([])
    assert not AuditEntry.objects.exists()


def test_appending_many_takes_two_queries(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(2):
        audit.append([fact(uuid4()) for _ in range(30)])


def test_a_whole_life_holds() -> None:
    for _ in range(3):
        busy_request()
    assert AuditEntry.objects.count() == 12
    assert list(broken_links()) == []


CHANGES: dict[str, Any] = {
    "name": "request.rejected",
    "actor": "mallory",
    "actor_key": "user:99",
    "via": "api",
    "data": '{"choice": "reject"}',
    "at": "2020-01-01T00:00:00Z",
    "digest": "0" * 64,
}


def test_a_change_of_any_column_of_any_entry_is_found() -> None:
    request_id = busy_request()
    busy_request()
    for column, value in CHANGES.items():
        for number in (1, 2, 4):
            with transaction.atomic():
                tamper(
                    f"UPDATE {TABLE} SET {column} = %s"  # noqa: S608
                    " WHERE stream = %s AND number = %s",
                    value,
                    request_id,
                    number,
                )
                told = [line for line in broken_links() if "no entry says" not in line]
                transaction.set_rollback(True)
            assert told[0].startswith(f"{request_id}: entry {number} ("), column
            assert told[0].endswith(" was changed"), column
            # A wrong digest also breaks the link to the entry after it.
            assert len(told) == (2 if column == "digest" and number < 4 else 1)
    assert list(broken_links()) == []


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_entry_that_was_taken_out_is_found(number: int) -> None:
    request_id = busy_request()
    tamper(f"DELETE FROM {TABLE} WHERE stream = %s AND number = %s", request_id, number)  # noqa: S608
    assert f"{request_id}: entry {number} is missing" in list(broken_links())


def test_an_entry_that_was_taken_out_is_found_even_after_renumbering() -> None:
    request_id = busy_request()
    tamper(f"DELETE FROM {TABLE} WHERE stream = %s AND number = 2", request_id)  # noqa: S608
    for number in (3, 4):
        tamper(
            f"UPDATE {TABLE} SET number = number - 1 WHERE stream = %s AND number = %s",  # noqa: S608
            request_id,
            number,
        )
    assert next(iter(broken_links())).endswith("entry 2 (vote.cast) was changed")


def test_two_entries_that_changed_places_are_found() -> None:
    request_id = busy_request()
    for old, new in ((2, 100), (3, 2), (100, 3)):
        tamper(
            f"UPDATE {TABLE} SET number = %s WHERE stream = %s AND number = %s",  # noqa: S608
            new,
            request_id,
            old,
        )
    assert AuditEntry.objects.get(stream=request_id, number=2).actor == "linus"
    assert len(list(broken_links())) == 3


def test_an_entry_moved_to_another_stream_is_found() -> None:
    one, other = busy_request(), busy_request()
    tamper(
        f"UPDATE {TABLE} SET stream = %s, number = 5 WHERE stream = %s AND number = 4",  # noqa: S608
        other,
        one,
    )
    told = list(broken_links())
    assert f"{other}: entry 5 (request.approved) was changed" in told
    assert f"{one}: no entry says how it was opened or became approved" in told


@pytest.mark.parametrize("numbers", [(4,), (1, 2, 3, 4)])
def test_an_end_that_was_cut_off_is_found_by_the_request(numbers: tuple[int, ...]) -> None:
    request_id = busy_request()
    tamper(f"DELETE FROM {TABLE} WHERE stream = %s AND number = ANY(%s)", request_id, list(numbers))  # noqa: S608
    assert list(broken_links()) == [
        f"{request_id}: no entry says how it was opened or became approved"
    ]


def test_a_decision_that_nobody_made_is_found() -> None:
    request_id = opened()
    unguarded(
        "UPDATE approval_requests SET status = 'approved', decided_at = now() WHERE id = %s",
        [request_id],
    )
    assert row(request_id).status == "approved"
    assert list(broken_links()) == [
        f"{request_id}: no entry says how it was opened or became approved"
    ]


def test_two_writers_cannot_take_one_number() -> None:
    stream = uuid4()
    audit.append([fact(stream)])
    twin = AuditEntry.objects.get(stream=stream)
    twin.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save(force_insert=True)


def test_an_entry_keeps_everything_it_was_given() -> None:
    actor = Actor(name="Grace", via=Via.LINEAR_MOVE, key="linear:u-1")
    stream = uuid4()
    audit.append([Fact(stream, EventName.VOTE_REFUSED, actor, NOW, {"to": "Done", "n": 1.5})])
    entry = AuditEntry.objects.get(stream=stream)
    assert (entry.name, entry.actor, entry.actor_key) == ("vote.refused", "Grace", "linear:u-1")
    assert (entry.via, entry.at, entry.data) == ("linear_move", NOW, {"to": "Done", "n": 1.5})


def test_the_zone_of_a_time_does_not_break_the_chain() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=45)))
    audit.append([Fact(uuid4(), EventName.RUN_ENDED, SYSTEM, elsewhere)])
    assert list(broken_links()) == []


def test_a_longer_name_is_cut_and_the_chain_still_holds() -> None:
    actor = Actor(name="n\x00" * 300, via=Via.LINEAR_COMMENT, key="k" * 300)
    audit.append([Fact(uuid4(), EventName.VOTE_REFUSED, actor, clock())])
    assert len(AuditEntry.objects.get().actor) == 200
    assert list(broken_links()) == []


_DATA = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.text(max_size=10)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    ),
    max_size=4,
)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(_DATA)
def test_no_data_that_the_database_keeps_reads_back_as_changed(data: dict[str, Any]) -> None:
    stream = uuid4()
    audit.append([Fact(stream, EventName.VOTE_CAST, SYSTEM, NOW, harmless(data))])
    entry = AuditEntry.objects.get(stream=stream)
    assert entry.digest == audit.chained(entry, "")


def test_checking_the_log_reads_it_in_pieces() -> None:
    for _ in range(5):
        busy_request()
    with connection.execute_wrapper(_no_writes):
        assert list(broken_links()) == []


def _no_writes(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    assert sql.lstrip().upper().startswith(("SELECT", "DECLARE", "FETCH")), sql
    return execute(sql, params, many, context)
