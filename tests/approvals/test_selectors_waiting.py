"""The queue's order is the verbs' judgement: what a query says needs somebody, they may decide."""

import itertools
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from psycopg.types.json import Jsonb

from approvals import services
from approvals.clock import clock
from approvals.core import lifecycle
from approvals.core.lifecycle import Actor, Choice, Via
from approvals.errors import InvalidInput
from approvals.models import ApprovalRequest
from approvals.selectors.waiting import Counts, Desk, Sort, Waiting
from tests.approvals.history import FINAL, fill
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

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def walked(actor: Actor, sort: Sort = Sort.URGENT, limit: int = 2) -> list[Waiting]:
    """Every page, one after the other."""
    items: list[Waiting] = []
    cursor = ""
    for _ in range(50):
        page = Desk(actor, clock()).page({}, sort=sort, cursor=cursor, limit=limit)
        items += page.items
        if not (cursor := page.next_cursor):
            return items
    raise AssertionError("The pages have no end.")


def ids(items: list[Waiting]) -> list[UUID]:
    return [item.row.pk for item in items]


def test_what_needs_somebody_is_exactly_what_the_core_would_let_them_decide() -> None:
    people = [
        manager("maria"),
        person("dora", "developers"),
        person("both", "developers", "release-managers"),
        person("nobody"),
    ]
    account = person("Ines Example", "release-managers", "developers")
    people.append(account)
    askers = ("somebody", "maria", " MARIA ", "maria@example.com", "ines example", "both")
    for task, asker in itertools.product((DEPLOY, MIGRATE, DELETE), askers):
        opened(task, requested_by=asker)
    voted = opened(DELETE)
    services.cast_vote(voted, actor=manager("maria"), choice=Choice.APPROVE)
    own = opened(MIGRATE)
    opened_by(own, people[1])
    allowed = opened(DEPLOY, requested_by="maria")
    unguarded(
        "UPDATE approval_requests SET policy = policy || '{\"requester_may_decide\": true}'"
        " WHERE id = %s",
        [allowed],
    )
    pass_deadline(opened(DEPLOY))
    rows = ApprovalRequest.objects.prefetch_related("votes")
    for actor in people:
        now = clock()
        expected = {
            row.pk
            for row in rows.filter(status="pending")
            if lifecycle.refusal(row.standing(), actor, now) is None
            and actor.user_id not in row.standing().votes
        }
        items = walked(actor, limit=7)
        assert {item.row.pk for item in items if item.needs_me} == expected, actor.name
        assert len(items) == len(set(ids(items))) == 21
        counts = Counts(len(expected), 21 - len(expected))
        assert Desk(actor, clock()).count({}) == counts


@pytest.mark.parametrize(
    ("name", "asked_by"),
    [
        ("straße", "STRASSE"),
        ("STRASSE", "straße"),
        ("ines", "\tInes\u00a0"),
        ("σίσυφος", "ΣΊΣΥΦΟΣ"),
    ],
)
def test_whoever_asked_is_known_by_one_rule_to_queries_and_to_votes(
    name: str, asked_by: str
) -> None:
    actor = manager(name)
    opened(DEPLOY, requested_by=asked_by)
    opened(DEPLOY, requested_by="else")
    needed = {item.row.requested_by: item.needs_me for item in walked(actor)}
    assert needed == {asked_by.strip(): False, "else": True}
    assert [item.refused is None for item in walked(actor)] == [True, False]


def opened_by(request_id: UUID, actor: Actor) -> None:
    unguarded(
        "UPDATE approval_requests SET opened_by_id = %s WHERE id = %s",
        [actor.user_id, request_id],
    )


def test_nobody_who_is_switched_off_or_unknown_is_needed() -> None:
    opened(DEPLOY)
    maria = manager("maria")
    for actor in (
        Actor("maria", Via.WEB, user_id=maria.user_id, groups=maria.groups, active=False),
        Actor("stranger", Via.LINEAR_MOVE, groups=maria.groups),
    ):
        assert Desk(actor, clock()).count({}) == Counts(0, 1)


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
@pytest.mark.parametrize("sort", list(Sort))
def test_pages_go_on_where_the_last_one_ended_in_every_order(sort: Sort, limit: int) -> None:
    made = [opened(task) for task in (MIGRATE, DEPLOY, MIGRATE, DELETE, DEPLOY, MIGRATE)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
    moments = {pk: n for n, pk in enumerate(made)}
    for pk, number in moments.items():
        # Two at a time share both moments, so that the id decides.
        unguarded(
            "UPDATE approval_requests SET created_at = date_trunc('day', now()) - %s,"
            " expires_at = date_trunc('day', now()) + interval '2 days' + %s WHERE id = %s",
            [timedelta(minutes=number // 2), timedelta(minutes=5 - number // 2), pk],
        )
    maria = manager("maria")
    items = walked(maria, sort, limit)

    def key(item: Waiting) -> tuple[object, ...]:
        row = item.row
        severity = {"critical": 0, "high": 1, "medium": 2, "low": 3}[row.risk_level]
        created = row.created_at.timestamp()
        return {
            Sort.URGENT: (not item.needs_me, severity, row.expires_at, row.pk.hex),
            Sort.EXPIRING: (not item.needs_me, row.expires_at, row.pk.hex),
            Sort.NEWEST: (not item.needs_me, -created, -int(row.pk)),
            Sort.OLDEST: (not item.needs_me, created, row.pk.hex),
        }[sort]

    assert set(ids(items)) == set(made)
    assert items == sorted(items, key=key)


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "b2xkZXN0IDAgMjAyNi0wMS0wMSB4"])
def test_a_cursor_that_was_not_given_out_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        Desk(manager("maria"), clock()).page({}, cursor=cursor)


def test_a_cursor_of_another_order_is_refused() -> None:
    maria = manager("maria")
    for _ in range(2):
        opened(DEPLOY)
    page = Desk(maria, clock()).page({}, limit=1)
    with pytest.raises(InvalidInput):
        Desk(maria, clock()).page({}, sort=Sort.NEWEST, cursor=page.next_cursor)


def test_filters_narrow_what_waits_and_what_is_counted() -> None:
    maria = manager("maria")
    deploy, migrate = opened(DEPLOY), opened(MIGRATE, agent_name="feature_dev")
    now = clock()
    for filters, found in (
        ({"group": "release-managers"}, {deploy, migrate}),
        ({"group": "developers"}, {migrate}),
        ({"agent": "feature_dev"}, {migrate}),
        ({"text": "prod depl"}, {deploy}),
        ({"risk_level": "critical", "text": "staging"}, set()),
    ):
        assert set(ids(list(Desk(maria, now).page(filters).items))) == found, filters
        counts = Desk(maria, now).count(filters)
        assert counts.mine + counts.others == len(found)


def test_a_page_reads_no_more_of_what_waits_than_it_shows() -> None:
    # Of all requests those that wait are few, and of them alone the deadline is to come.
    fill(20_000, statuses=(*FINAL * 4, "pending"))
    maria = manager("maria")
    hers, others = (row(opened(task)).policy for task in (DEPLOY, MIGRATE))
    others["groups"] = ["developers"]
    unguarded(
        "UPDATE approval_requests SET policy = CASE WHEN risk_level = 'low' THEN %s ELSE %s END,"
        " expires_at = expires_at + (status = 'pending')::integer * interval '3000 days'",
        [Jsonb(others), Jsonb(hers)],
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE approval_requests")
    desk = Desk(maria, clock())
    critical = ApprovalRequest.objects.filter(risk_level="critical").order_by("expires_at", "pk")
    top, last = critical[0], critical.reverse()[0]
    reads: list[Callable[[], object]] = [lambda: desk.page({})]
    reads += [partial(desk.next_after, place, {}) for place in (top, last)]
    for read in reads:
        with CaptureQueriesContext(connection) as captured:
            read()
        asked = [query["sql"] for query in captured if "ORDER BY CASE" in query["sql"]]
        assert len(asked) == 1
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {asked[0]}")
            ((plan,),) = cursor.fetchall()
        (reading,) = plan[0]["Plan"]["Plans"]
        assert reading["Index Name"] == "idx_pending_urgent"
        assert reading["Actual Rows"] + reading.get("Rows Removed by Filter", 0) < 100
