"""What nobody foresaw costs the row it happened to an attempt, and no other row its turn."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import django.db
import kombu
import psycopg
import pytest
import redis
from psycopg import errors

from approvals import outbox, tasks
from approvals.clock import clock
from approvals.core.events import Receipt
from approvals.models import AuditEntry, Delivery
from approvals.unexpected import is_outage
from hitl_project.logs import JsonLines, TextLines
from tests.approvals.channels import Answer, Notebook, meanwhile
from tests.approvals.scenes import (
    DEPLOY,
    delivery,
    due,
    entries,
    opened,
    row,
    vote,
    waits,
    write_policy_of_another_release,
    write_policy_of_this_release,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
Channels = Mapping[str, Notebook]
SECRET = "hunter2-hunter2"


def raises(error: BaseException) -> Answer:
    """An answer that nobody foresaw."""

    def answer(*_: object) -> Receipt:
        raise error

    return answer


def decided(number: int) -> UUID:
    """A decided request whose run waits for the verdict."""
    request_id = opened(interrupt_id=f"i-{number}")
    vote(request_id)
    return request_id


def test_what_this_release_cannot_read_holds_up_nothing_else(
    channels: Channels, caplog: pytest.LogCaptureFixture
) -> None:
    unreadable = [decided(number) for number in range(10)]
    write_policy_of_another_release(*unreadable)
    healthy = decided(10)
    Delivery.objects.filter(request_id=healthy).update(not_before=clock(), priority=9)
    tasks.deliver("workflow")
    assert [snapshot.id for snapshot, _ in channels["workflow"].calls] == [healthy]
    for request_id in unreadable:
        found = delivery(request_id, "workflow")
        assert (found.attempts, found.done, found.gave_up_at, found.lease_until) == (
            1,
            0,
            None,
            None,
        )
        assert "TypeError" in found.last_error
        assert "'of_tomorrow'" in found.last_error
        assert 0 < waits(request_id, "workflow") < 4
        assert entries(request_id)[-1] == "delivery.failed"
    tracebacks = [record.exc_text for record in caplog.records if record.exc_text]
    assert len(tracebacks) == len(unreadable)
    assert all("in frozen_policy" in text for text in tracebacks)
    # The other release, or the next one, has it back.
    write_policy_of_this_release(*unreadable)
    due(unreadable[0], "workflow")
    assert outbox.deliver_next("workflow")
    found = delivery(unreadable[0], "workflow")
    assert (found.attempts, found.last_error, found.done) == (0, "", found.wanted)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (raises(KeyError("issueCreate")), "KeyError: 'issueCreate'"),
        (raises(ValueError()), "ValueError"),
        (raises(ValueError("<html>\x00\ud800")), "ValueError"),
        (raises(ValueError("x" * 100_000)), "ValueError: xxx"),
        (lambda *_: Receipt(memory={"what": object()}), "not JSON serializable"),
        (lambda *_: Receipt("x" * 500), "too long"),
        (raises(errors.DeadlockDetected("deadlock detected")), "deadlock detected"),
    ],
)
def test_it_backs_off_like_a_failure_wherever_it_happens(
    channels: Channels, answer: Answer, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    request_id = opened()
    channels["linear"].answer = answer
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.attempts, found.done, found.lease_token, found.gave_up_at) == (1, 0, None, None)
    assert told in found.last_error
    assert len(found.last_error) <= 2000
    assert caplog.text.encode(), "a log file can hold it"
    assert 0 < waits(request_id) < 4
    assert not outbox.deliver_next("linear")
    (entry,) = AuditEntry.objects.filter(name="delivery.failed")
    assert entry.data == {"channel": "linear", "error": found.last_error}


def test_it_stops_visibly_after_the_bound(channels: Channels) -> None:
    request_id = opened()
    Delivery.objects.update(attempts=outbox.MAX_ATTEMPTS - 1)
    channels["linear"].answer = raises(KeyError("issueCreate"))
    assert outbox.deliver_next("linear")
    assert delivery(request_id, "linear").gave_up_at is not None
    assert entries(request_id) == ["request.opened", "delivery.gave_up"]


def test_it_tells_where_it_happened_and_no_secret(
    channels: Channels, caplog: pytest.LogCaptureFixture
) -> None:
    request_id = opened({**DEPLOY, "api_token": SECRET})
    channels["linear"].answer = raises(ValueError(f"no access with {SECRET}\nand more of it"))
    with caplog.at_level(logging.INFO):
        assert outbox.deliver_next("linear")
    for lines in (JsonLines(), TextLines()):
        written = "\n".join(lines.format(record) for record in caplog.records)
        assert SECRET not in written
        assert "raise error" in written
        assert "and more of it" in written
    kept = delivery(request_id, "linear").last_error
    assert "no access with" in kept
    assert "and more of it" not in kept
    assert SECRET not in kept
    assert SECRET not in str(list(AuditEntry.objects.values_list("data", flat=True)))


def test_a_secret_of_several_lines_is_not_told_by_its_first(
    channels: Channels, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as a private key, which an error quotes as it is, or as Python writes it."""
    key = f"-----BEGIN KEY-----\n{SECRET}\n-----END KEY-----\n"
    for number, error in enumerate((ValueError(f"bad {key}"), KeyError(key), ValueError([key]))):
        request_id = opened({**DEPLOY, "private_key": key}, interrupt_id=f"i-{number}")
        channels["linear"].answer = raises(error)
        assert outbox.deliver_next("linear")
        kept = delivery(request_id, "linear").last_error
        assert type(error).__name__ in kept
        assert "BEGIN KEY" not in kept
    written = "\n".join(JsonLines().format(record) for record in caplog.records)
    assert SECRET not in written


def test_who_lost_the_claim_writes_nothing(channels: Channels) -> None:
    request_id = opened()
    stolen = {"lease_token": UUID(int=7), "lease_until": clock() + timedelta(hours=1)}
    channels["linear"].answer = meanwhile(
        lambda _: Delivery.objects.update(**stolen), raises(KeyError("issueCreate"))
    )
    assert outbox.deliver_next("linear")
    found = delivery(request_id, "linear")
    assert (found.lease_token, found.attempts, found.last_error) == (UUID(int=7), 0, "")
    assert entries(request_id) == ["request.opened"]


def from_django(cause: psycopg.Error, kind: type[django.db.Error]) -> django.db.Error:
    """An error of the database as Django passes it on."""
    error = kind(*cause.args)
    error.__cause__ = cause
    return error


OUTAGES: list[BaseException] = [
    from_django(psycopg.OperationalError("the connection is closed"), django.db.OperationalError),
    from_django(errors.AdminShutdown("terminating connection"), django.db.OperationalError),
    from_django(errors.TooManyConnections("too many clients"), django.db.OperationalError),
    from_django(errors.DiskFull("no space left on device"), django.db.OperationalError),
    from_django(errors.IdleInTransactionSessionTimeout("idle"), django.db.InternalError),
    django.db.InterfaceError("connection already closed"),
    psycopg.OperationalError("server closed the connection unexpectedly"),
    redis.ConnectionError("refused"),
    redis.TimeoutError("timed out"),
    kombu.exceptions.OperationalError("refused"),
]
OF_THE_ROW: list[BaseException] = [
    TypeError("unexpected keyword"),
    ConnectionError("nobody said of whom"),
    redis.ResponseError("wrong type"),
    from_django(errors.UniqueViolation("CHEF-1"), django.db.IntegrityError),
    from_django(errors.StringDataRightTruncation("too long"), django.db.DataError),
    from_django(psycopg.DataError("cannot contain NUL"), django.db.DataError),
    from_django(errors.ProgramLimitExceeded("too long for tsvector"), django.db.OperationalError),
    from_django(errors.DeadlockDetected("deadlock"), django.db.OperationalError),
    from_django(errors.LockNotAvailable("lock timeout"), django.db.OperationalError),
    from_django(errors.QueryCanceled("statement timeout"), django.db.OperationalError),
]


@pytest.mark.parametrize(
    ("error", "outage"),
    [*((error, True) for error in OUTAGES), *((error, False) for error in OF_THE_ROW)],
    ids=repr,
)
def test_a_server_that_is_gone_is_told_from_a_row_that_fails(
    error: Exception, outage: bool
) -> None:
    assert is_outage(error) is outage


@pytest.mark.parametrize("error", [*OUTAGES, SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_what_is_nobodys_fault_ends_the_task_and_costs_no_attempt(
    channels: Channels, error: BaseException
) -> None:
    request_id = opened()
    channels["linear"].answer = raises(error)
    with pytest.raises(type(error)):
        tasks.deliver("linear")
    found = delivery(request_id, "linear")
    assert (found.attempts, found.last_error) == (0, "")
    assert found.lease_token is not None
    assert entries(request_id) == ["request.opened"]


def test_an_identifier_that_linear_gives_again_names_the_request_that_has_it_now(
    channels: Channels,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: Any,
) -> None:
    """As after a move to another workspace, where issues are counted from 1 again."""
    ended, pending, newer, newest = (opened(pr_number=n, github_repo="a/b") for n in range(1, 5))
    names = {ended: "CHEF-1", pending: "CHEF-2", newer: "CHEF-1", newest: "CHEF-2"}
    channels["linear"].answer = lambda request, _: Receipt(names[request.id], "https://l/1")
    Delivery.objects.filter(request_id__in=[newer, newest]).update(wanted=0)
    tasks.deliver("linear")
    vote(ended)
    tasks.deliver("linear")
    assert row(ended).linear_issue_id == "CHEF-1"
    for request_id in (newer, newest):
        outbox.nudge(request_id, "linear")
        with django_capture_on_commit_callbacks(execute=True):
            assert outbox.deliver_next("linear")
    for request_id in (newer, newest):
        found = delivery(request_id, "linear")
        assert (found.attempts, found.last_error, found.done) == (0, "", found.wanted)
        assert row(request_id).linear_issue_id == names[request_id]
    # Where their links lead now, other requests are shown.
    for request_id in (ended, pending):
        assert (row(request_id).linear_issue_id, row(request_id).linear_issue_url) == (None, None)
    told = [vars(record)["facts"].get("error", "") for record in caplog.records]
    assert [text.partition(",")[0] for text in filter(None, told)] == [
        f"CHEF-1 was the issue of the request {ended}",
        f"CHEF-2 was the issue of the request {pending}",
    ]
    # Only for who still waits it matters whether there is an issue at all: it is looked for.
    assert delivery(ended, "linear").done == delivery(ended, "linear").wanted
    assert delivery(pending, "linear").done < delivery(pending, "linear").wanted
