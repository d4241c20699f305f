"""What lists and look-ups show, at a cost that does not grow with what they show."""

import base64
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import outbox, services
from approvals.audit import SYSTEM
from approvals.clock import clock
from approvals.core.events import Snapshot
from approvals.core.lifecycle import Actor, Choice, Reason, Status, Via
from approvals.errors import InvalidInput, RequestNotFound
from approvals.models import ApprovalRequest, Delivery
from approvals.selectors import history, queue, request, waiting
from approvals.selectors.cursors import packed
from approvals.selectors.filters import Filters
from approvals.selectors.health import heartbeats
from tests.approvals.channels import Notebook
from tests.approvals.history import FINAL, fill
from tests.approvals.plans import read_in_vain
from tests.approvals.scenes import (
    DELETE,
    DEPLOY,
    MIGRATE,
    manager,
    opened,
    pass_deadline,
    person,
    row,
    unguarded,
)

# Fixed, so that every process that runs tests calls them the same.
NOBODY = "5f7c2f0e-6a57-4b1b-9d3c-0c9a7f1e2d34"

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]
ODD = {"operation": "launch", "environment": "staging"}


def ids(rows: Any) -> list[UUID]:
    return [found.pk for found in rows]


def waiting_ids(filters: Filters, **more: Any) -> list[UUID]:
    """What waits, in the order in which somebody who may decide none of it sees it."""
    page = waiting.Desk(person("nobody"), clock()).page(filters, **more)
    return [item.row.pk for item in page.items]


def decided(task: dict[str, Any] | None = None) -> UUID:
    request_id = opened(task)
    services.withdraw_request(request_id, actor=SYSTEM, reason="no")
    return request_id


def filled(count: int) -> None:
    """As many requests as asked for, each with votes, half of them decided."""
    voters = [manager("grace"), manager("linus")]
    for number in range(count):
        request_id = opened(DELETE, thread_id=f"t-{number}", actor=person("ada"))
        services.cast_vote(request_id, actor=voters[0], choice=Choice.APPROVE)
        if number % 2:
            services.cast_vote(request_id, actor=voters[1], choice=Choice.APPROVE)


GRACE = Actor("grace", Via.WEB, user_id=1, groups=frozenset({"release-managers"}))
LISTS: dict[str, Callable[[], object]] = {
    "all": lambda: queue.list_requests({}, clock()).rows,
    "a page further": lambda: queue.list_requests(
        {}, clock(), cursor=queue.list_requests({}, clock(), limit=1).next_cursor
    ),
    "waiting for me": lambda: waiting.Desk(GRACE, clock()).page({}),
    "counts of what waits": lambda: waiting.Desk(GRACE, clock()).count({}),
    "decided": lambda: queue.list_decided({}, clock()),
    "seen": queue.recently_seen,
    "statuses of a workflow": lambda: request.statuses_of_workflow("w-1"),
    "current for a channel": lambda: [
        read()
        for read in request.current_for_channel(
            "linear", 100, None, ended_within=timedelta(minutes=1)
        ).values()
    ],
    "one": lambda: request.get_request(ApprovalRequest.objects.values_list("pk", flat=True)[0]),
}


def test_a_list_of_thirty_takes_as_many_queries_as_a_list_of_one() -> None:
    counts: dict[str, list[int]] = {name: [] for name in LISTS}
    for more in (2, 28):
        filled(more)
        Delivery.objects.update(told=1)
        for name, read in LISTS.items():
            with CaptureQueriesContext(connection) as captured:
                read()
            counts[name].append(len(captured))
    for name, (few, many) in counts.items():
        # The desk looks along two indexes, and once at the votes of whoever sits there.
        assert few == many <= (6 if name == "waiting for me" else 4), name


def test_the_newest_come_first_and_pages_join_without_gaps_or_repeats() -> None:
    made = [opened(thread_id=f"t-{number}") for number in range(7)]
    seen: list[UUID] = []
    cursor, pages = "", 0
    while True:
        page = queue.list_requests({}, clock(), cursor=cursor, limit=3)
        seen += ids(page.rows)
        pages += 1
        if not page.next_cursor:
            break
        cursor = page.next_cursor
        # What opens while somebody reads does not shift the pages.
        opened(thread_id=f"later-{pages}")
    assert seen == made[::-1]
    assert pages == 3


def test_a_page_that_is_exactly_full_is_the_last() -> None:
    made = [opened(thread_id=f"t-{number}") for number in range(3)]
    page = queue.list_requests({}, clock(), limit=3)
    assert (ids(page.rows), page.next_cursor) == (made[::-1], "")
    assert queue.list_requests({"status": "approved"}, clock()).rows == []


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "é",
        "====",
        base64.urlsafe_b64encode(b"\xff\xfe x").decode(),
        base64.urlsafe_b64encode(b"2026-01-01T00:00:00+00:00").decode(),
        base64.urlsafe_b64encode(b"2026-01-01T00:00:00+00:00 nobody").decode(),
        base64.urlsafe_b64encode(f"2026-01-01T00:00:00 {NOBODY}".encode()).decode(),
        base64.urlsafe_b64encode(f"0001-01-01T00:00:00+14:00 {NOBODY}".encode()).decode(),
        base64.urlsafe_b64encode(f"9999-12-31T23:59:59-14:00 {NOBODY}".encode()).decode(),
    ],
)
def test_a_cursor_that_was_not_given_out_is_refused(cursor: str) -> None:
    opened()
    with pytest.raises(InvalidInput) as caught:
        queue.list_requests({}, clock(), cursor=cursor)
    assert caught.value.field == "cursor"


def test_a_cursor_for_any_moment_is_harmless() -> None:
    opened()
    far = base64.urlsafe_b64encode(f"0001-01-01T00:00:00+00:00 {uuid4()}".encode()).decode()
    assert queue.list_requests({}, clock(), cursor=far).rows == []


def test_filters_narrow_the_list() -> None:
    deploy = opened(DEPLOY)
    migrate = opened(MIGRATE, agent_name="infrastructure", workflow_id="w-2")
    gone = decided(ODD)
    for filters, expected in (
        ({}, [gone, migrate, deploy]),
        ({"status": "pending"}, [migrate, deploy]),
        ({"status": "cancelled"}, [gone]),
        ({"risk_level": "critical"}, [deploy]),
        ({"agent": "infrastructure"}, [migrate]),
        ({"environment": "staging"}, [gone, migrate]),
        ({"operation": "launch"}, [gone]),
        ({"workflow_id": "w-2"}, [migrate]),
        ({"status": "pending", "environment": "staging"}, [migrate]),
        ({"status": None, "agent": ""}, [gone, migrate, deploy]),
        ({"environment": "stag%"}, []),
    ):
        assert ids(queue.list_requests(filters, clock()).rows) == expected, filters


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"status": "done"}, "status"),
        ({"status": "PENDING"}, "status"),
        ({"risk_level": "deadly"}, "risk_level"),
        ({"agent": "a\x00"}, "agent"),
        ({"environment": "\ud800"}, "environment"),
        ({"operation": "\x00"}, "operation"),
        ({"workflow_id": "x" * 201}, "workflow_id"),
    ],
)
def test_a_filter_that_cannot_be_is_refused_by_name(filters: dict[str, str], field: str) -> None:
    for read in (queue.list_requests, queue.list_decided):
        with pytest.raises(InvalidInput) as caught:
            read(filters, clock())
        assert caught.value.field == field


def test_what_is_overdue_reads_as_expired_before_the_sweep_has_been() -> None:
    overdue, open_still = opened(interrupt_id="i-1"), opened(interrupt_id="i-2")
    pass_deadline(overdue)
    assert row(overdue).status == "pending"
    assert request.status_at(row(overdue), clock()) is Status.EXPIRED
    assert request.status_at(row(open_still), clock()) is Status.PENDING
    assert ids(queue.list_requests({"status": "pending"}, clock()).rows) == [open_still]
    assert ids(queue.list_requests({"status": "expired"}, clock()).rows) == [overdue]
    assert waiting_ids({}) == [open_still]
    assert ids(queue.list_decided({}, clock())) == [overdue]
    assert [found["status"] for found in request.statuses_of_workflow("w-1")] == [
        *("expired", "pending")
    ]
    refused = request.why_not(row(overdue), manager("grace"), clock())
    assert refused is not None
    assert refused.reason is Reason.EXPIRED


def test_the_moment_of_the_deadline_reads_as_expired() -> None:
    found = row(opened())
    just = timedelta(microseconds=1)
    assert request.status_at(found, found.expires_at - just) is Status.PENDING
    assert request.status_at(found, found.expires_at) is Status.EXPIRED


def test_what_waits_is_ordered_by_harm_and_then_by_deadline() -> None:
    medium, high, critical, delete = (
        *(opened(MIGRATE), opened(ODD), opened(DEPLOY)),
        opened(DELETE),
    )
    assert waiting_ids({}) == [critical, delete, high, medium]
    assert waiting_ids({"risk_level": "high"}) == [high]
    assert waiting_ids({}, limit=1) == [critical]
    assert waiting_ids({"status": "approved"}) == [critical, delete, high, medium]


def test_what_was_decided_last_comes_first() -> None:
    first, second, third = decided(), opened(), decided()
    services.withdraw_request(second, actor=SYSTEM, reason="no")
    opened()
    assert ids(queue.list_decided({}, clock())) == [second, third, first]
    assert ids(queue.list_decided({}, clock(), limit=1)) == [second]


def test_each_person_sees_what_waits_for_them() -> None:
    asked, voted, free = (
        *(opened(DELETE, actor=manager("grace")), opened(DELETE)),
        opened(DELETE),
    )
    grace = manager("grace")
    services.cast_vote(voted, actor=grace, choice=Choice.APPROVE)
    page = waiting.Desk(grace, clock()).page({})
    seen = {found.row.pk: found for found in page.items}
    assert [seen[request_id].needs_me for request_id in (asked, voted, free)] == [
        *(False, False, True)
    ]
    refused = seen[asked].refused
    assert refused is not None
    assert refused.reason is Reason.REQUESTER
    assert (seen[voted].voted, seen[voted].approvals) == (Choice.APPROVE, 1)


def test_a_request_is_found_by_uuid_and_by_the_name_people_see(
    channels: Mapping[str, Notebook],
) -> None:
    request_id = opened()
    assert request.linear_link(request_id).linear_issue_id is None
    while outbox.deliver_next("linear"):
        pass
    link = request.linear_link(request_id)
    assert link.linear_issue_id is not None
    assert link.linear_issue_url == "https://l/1"
    for reference in (
        str(request_id),
        str(request_id).upper(),
        request_id.hex,
        link.linear_issue_id,
        link.linear_issue_id.lower(),
    ):
        assert request.find_request(reference).pk == request_id
        assert request.find_for_linear(reference) == request_id


@pytest.mark.parametrize(
    "reference",
    ["", " ", "CHEF-1", "chef", "None", "a\x00", "\ud800", "x" * 5000, "%", NOBODY, "'; --"],
)
def test_a_reference_that_names_nothing_finds_nothing(reference: str) -> None:
    opened()
    assert request.find_for_linear(reference) is None
    with pytest.raises(RequestNotFound, match="There is no request"):
        request.find_request(reference)


def test_what_a_channel_was_told_of_and_is_not_long_over_comes_page_by_page() -> None:
    def page(after: UUID | None, channel: str = "linear", minutes: int = 1) -> list[Snapshot]:
        within = timedelta(minutes=minutes)
        found = request.current_for_channel(channel, 2, after, ended_within=within)
        assert [read().id for read in found.values()] == list(found)
        return [read() for read in found.values()]

    made = {opened(thread_id=f"t-{number}") for number in range(5)}
    untold, over = opened(), opened()
    services.withdraw_request(over, actor=SYSTEM, reason="no")
    Delivery.objects.filter(channel="linear").exclude(request_id=untold).update(
        told=1, memory={"issue": "i"}
    )
    pages = [page(None)]
    while pages[-1]:
        pages.append(page(pages[-1][-1].id))
    assert [len(found) for found in pages] == [2, 2, 2, 0]
    found = [snapshot for each in pages for snapshot in each]
    assert [snapshot.id for snapshot in found] == sorted(made | {over})
    assert all(snapshot.memory == {"issue": "i"} for snapshot in found)
    assert page(None, "chat") == []
    assert [snapshot.id for snapshot in page(sorted(made)[3], minutes=0)] == sorted(made)[4:]


def test_a_snapshot_tells_channels_everything_as_it_is_now() -> None:
    request_id = opened(DELETE, interrupt_id="i-1", pr_number=3, github_repo="a/b")
    services.cast_vote(request_id, actor=manager("grace"), choice=Choice.APPROVE)
    services.cast_vote(request_id, actor=manager("linus"), choice=Choice.REJECT, comment="no")
    now = request.get_snapshot(request_id)
    assert (now.status, now.decided_by, now.reason) == (Status.REJECTED, "linus", "no")
    assert request.count_approvals(request_id) == 1
    assert (now.title, now.task, now.action) == ("delete_bucket to production", DELETE, None)
    assert (now.policy.quorum, now.policy.groups) == (2, ("release-managers",))
    assert (now.interrupt_id, now.pr_number, now.github_repo) == ("i-1", 3, "a/b")
    assert (now.linear_issue_id, now.linear_issue_url, now.memory) == ("", "", {})
    assert now.matches[0].rule == "destructive"
    assert now.url.endswith(f"/approvals/{request_id}/")
    assert [found.id for found in request.snapshots_of_thread("t-1")] == [request_id]


def test_the_timeline_is_in_order() -> None:
    request_id = opened()
    services.withdraw_request(request_id, actor=SYSTEM, reason="no")
    assert [entry.number for entry in request.timeline(request_id)] == [1, 2]
    assert request.timeline(uuid4()) == []


def test_heartbeats_are_seconds_since_each_was_seen() -> None:
    assert heartbeats() == {}
    services.beat_heart("runs")
    services.beat_heart("runs")
    services.beat_heart("channels")
    found = heartbeats()
    assert set(found) == {"runs", "channels"}
    assert all(0 <= age < 60 for age in found.values())


def plans_of(read: Callable[[], object], *, ordered: bool) -> list[str]:
    """How PostgreSQL reads requests for this, where no index may be passed over."""
    plans: list[str] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith(("SELECT", "(SELECT")) and 'FROM "approval_requests"' in sql:
            execute(f"EXPLAIN {sql}", params, many, context)
            plans.append("\n".join(line for (line,) in context["cursor"].fetchall()))
        return execute(sql, params, many, context)

    with connection.cursor() as cursor:
        # As if the table were new: what earlier tests left in the statistics decides nothing.
        cursor.execute("SELECT pg_clear_relation_stats('public', 'approval_requests')")
        # Small tables are read whole; with that made dear, the plan shows which index could serve.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"SET LOCAL enable_sort = {'off' if ordered else 'on'}")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
    with connection.execute_wrapper(explain):
        read()
    return plans


def test_what_was_decided_is_read_along_its_indexes() -> None:
    opened()
    (plan,) = plans_of(lambda: queue.list_decided({}, clock()), ordered=True)
    assert "idx_pending_expiry" in plan, plan
    assert "idx_decided_at" in plan, plan
    # The few that were found are put together.
    assert plan.count("->  Sort  (") == 1, plan


@pytest.mark.parametrize(
    ("read", "indexes", "ordered"),
    [
        (lambda: queue.list_requests({}, clock()), ["idx_created_at"], True),
        (lambda: queue.list_requests({"status": "approved"}, clock()), ["idx_status"], True),
        (
            lambda: queue.list_requests({"risk_level": "low"}, clock()),
            ["idx_risk_level"],
            True,
        ),
        (lambda: request.snapshots_of_thread("t-1"), ["idx_thread_id"], False),
        (lambda: request.statuses_of_workflow("w-1"), ["idx_workflow_id"], False),
        (services.expire_overdue, ["idx_pending_expiry"], True),
    ],
)
def test_what_is_read_often_has_an_index_that_serves_it(
    read: Callable[[], object], indexes: list[str], ordered: bool
) -> None:
    for number in range(3):
        opened(thread_id=f"t-{number}")
    for plan, index in zip(plans_of(read, ordered=ordered), indexes, strict=True):
        assert index in plan, plan
        assert ("Sort" in plan) != ordered, plan


def test_the_deadline_s_index_is_searched_and_not_walked() -> None:
    with CaptureQueriesContext(connection) as captured:
        services.expire_overdue()
    (found,) = [query["sql"] for query in captured if "expires_at" in query["sql"]]
    assert "clock_timestamp" not in found


def test_a_rare_value_is_found_by_an_index_and_not_looked_for_to_the_end() -> None:
    fill(20_000, statuses=FINAL)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE approval_requests")
    reads: dict[str, Callable[[datetime], object]] = {
        "idx_agent": lambda now: queue.list_requests({"agent": "rare"}, now),
        "idx_environment": lambda now: queue.list_requests({"environment": "rare"}, now),
        "idx_operation": lambda now: history.list_ended({"operation": "rare"}, now),
        "idx_decided_by": lambda now: history.list_ended({"decided_by": "rare"}, now),
        "idx_policy_groups": lambda now: queue.list_decided({"group": "rare"}, now),
    }
    for index, read in reads.items():
        with CaptureQueriesContext(connection) as captured:
            read(clock())
        last = captured[-1]["sql"]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {last}")
            plan = "\n".join(line for (line,) in cursor.fetchall())
        assert index in plan, plan
        assert "clock_timestamp" not in last


def test_a_page_far_down_begins_where_the_last_one_ended() -> None:
    fill(20_000, statuses=FINAL)
    middle = ApprovalRequest.objects.order_by("-created_at", "-pk")[15_000]
    cursor = packed(middle.created_at.isoformat(), middle.pk)
    with CaptureQueriesContext(connection) as captured:
        page = queue.list_requests({}, clock(), cursor=cursor)
    assert page.rows[0].created_at < middle.created_at
    with connection.cursor() as database:
        database.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {captured[-1]['sql']}")
        ((plan,),) = database.fetchall()
    node = plan[0]["Plan"]["Plans"][0]
    assert node["Index Name"] == "idx_created_at"
    assert node.get("Rows Removed by Filter", 0) <= 1


def most_waits(number: int) -> None:
    """Many requests, of which three in four wait."""
    fill(number, statuses=("approved", *["pending"] * 3))
    unguarded(
        "UPDATE approval_requests SET expires_at = clock_timestamp() + interval '1 day'"
        " WHERE status = 'pending'",
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE approval_requests")


def test_what_was_decided_is_read_without_what_waits() -> None:
    most_waits(20_000)
    with CaptureQueriesContext(connection) as captured:
        assert len(queue.list_decided({}, clock())) == 25
    for asked in captured:
        assert not {name for name in ("action", "matches", "policy") if f'"{name}"' in asked["sql"]}
        assert read_in_vain(asked["sql"], "approval_requests") == 0


def test_whether_anything_happened_is_told_without_reading_what_waits() -> None:
    """Every open page asks it each time."""
    most_waits(2_000)
    with CaptureQueriesContext(connection) as captured:
        queue.newest()
    assert read_in_vain(captured[0]["sql"], "approval_requests") == 0


def test_a_thread_with_much_open_hides_nothing_of_another() -> None:
    first = opened(DEPLOY, thread_id="t-quiet", interrupt_id="i-0")
    many = [opened(MIGRATE, thread_id="t-busy", interrupt_id=f"i-{n}") for n in range(4)]
    asked = request.asked_by_threads(["t-quiet", "t-busy"], clock(), pending=True, limit=3)
    assert [found.id for found in asked] == [first, *many[1:]]
    assert request.asked_by_threads([], clock()) == []


def test_the_issue_of_a_request_that_is_not_there_is_not_found() -> None:
    with pytest.raises(RequestNotFound):
        request.linear_link(uuid4())
