"""Clients that wait are answered at once when it happens, and cost nobody else anything."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
import pytest
from django.db import transaction
from pytest_django import Settings

from approvals import outbox, services
from approvals.actors import user_actor
from approvals.core.events import LINEAR
from approvals.core.lifecycle import Choice, Via
from approvals.models import ApiToken, ApprovalRequest
from hitl_project.embedded import SUPERUSER, Postgres
from tests.approvals.http.gateway import People, body
from tests.approvals.http.serving import connections, opened, polling
from tests.approvals.scenes import unguarded
from tests.waiting import eventually
from tests.web_server import WebServer

# The poller looks twice a second; the rest is a busy machine.
AT_ONCE_SECONDS = 5.0


@contextmanager
def waiting(
    server: WebServer, people: People, request_id: str, clients: int = 1, seconds: float = 30
) -> Iterator[list["Future[httpx.Response]"]]:
    """Clients that wait for the request, each on a connection of its own."""

    def wait() -> httpx.Response:
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            return client.get(
                f"/api/approvals/{request_id}?wait={seconds}",
                headers={"Authorization": f"Bearer {people.agent}"},
            )

    with ThreadPoolExecutor(clients) as pool:
        yield [pool.submit(wait) for _ in range(clients)]


@pytest.mark.parametrize("verb", ["approve", "reject", "cancel"])
def test_a_waiting_client_is_answered_as_soon_as_it_is_decided(
    web_server: WebServer, committed_people: People, verb: str
) -> None:
    people = committed_people
    request_id = opened(web_server, people)
    with waiting(web_server, people, request_id) as (answer,):
        eventually(polling, "the poller follows the changes")
        assert not answer.done()
        decided_at = time.monotonic()
        token = people.agent if verb == "cancel" else people.ana
        sent = {} if verb == "approve" else {"reason": "not today"}
        web_server.call(token, "POST", f"/approvals/{request_id}/{verb}", sent)
        item = answer.result(20).json()
        assert time.monotonic() - decided_at < AT_ONCE_SECONDS
    expected = {"approve": "approved", "reject": "rejected", "cancel": "cancelled"}[verb]
    assert (item["request_id"], item["status"]) == (request_id, expected)


def test_a_decision_made_in_another_process_wakes_the_client(
    web_server: WebServer, committed_people: People
) -> None:
    request_id = opened(web_server, committed_people)
    with waiting(web_server, committed_people, request_id) as (answer,):
        eventually(polling, "the poller follows the changes")
        ana = user_actor(ApiToken.objects.get(user__username="ana").user, Via.COMMAND)
        services.cast_vote(UUID(request_id), actor=ana, choice=Choice.APPROVE)
        assert answer.result(20).json()["status"] == "approved"


def test_a_client_that_asks_after_the_decision_does_not_wait(
    web_server: WebServer, committed_people: People
) -> None:
    request_id = opened(web_server, committed_people)
    web_server.call(committed_people.ana, "POST", f"/approvals/{request_id}/approve")
    began_at = time.monotonic()
    with waiting(web_server, committed_people, request_id) as (answer,):
        assert answer.result(20).json()["status"] == "approved"
    assert time.monotonic() - began_at < AT_ONCE_SECONDS


def test_the_wait_ends_with_the_request_as_it_is(
    web_server: WebServer, committed_people: People
) -> None:
    request_id = opened(web_server, committed_people)
    began_at = time.monotonic()
    with waiting(web_server, committed_people, request_id, seconds=1.2) as (answer,):
        assert answer.result(20).json()["status"] == "pending"
    assert 1.2 <= time.monotonic() - began_at < 1.2 + AT_ONCE_SECONDS


def test_a_vote_that_does_not_decide_lets_the_client_wait_on(
    web_server: WebServer, committed_people: People
) -> None:
    people = committed_people
    task = {"operation": "delete_bucket", "environment": "production"}
    request_id = opened(web_server, people, task=task)
    with waiting(web_server, people, request_id, seconds=20) as (answer,):
        eventually(polling, "the poller follows the changes")
        web_server.call(people.ana, "POST", f"/approvals/{request_id}/approve")
        second = web_server.call(people.agent, "GET", f"/approvals/{request_id}?wait=1.5")
        assert (second.json()["status"], second.json()["approvals"]) == ("pending", 1)
        assert not answer.done()
        web_server.call(people.ben, "POST", f"/approvals/{request_id}/approve")
        assert answer.result(20).json()["approvals"] == 2


def test_a_deadline_that_passes_answers_although_no_sweep_has_come(
    web_server: WebServer, committed_people: People
) -> None:
    request_id = opened(web_server, committed_people)
    unguarded(
        "UPDATE approval_requests SET expires_at = clock_timestamp() + interval '2 seconds'",
    )
    with waiting(web_server, committed_people, request_id) as (answer,):
        assert answer.result(20).json()["status"] == "expired"


def test_a_hundred_waiting_clients_slow_nobody_else_down(
    web_server: WebServer, committed_people: People
) -> None:
    people = committed_people
    request_id = opened(web_server, people)
    waiters = 100
    with waiting(web_server, people, request_id, waiters) as answers:
        eventually(lambda: _open_gets(web_server) >= waiters, "a hundred clients wait", 60)
        times = []
        for _ in range(20):
            began_at = time.monotonic()
            assert web_server.call(people.agent, "GET", "/approvals").status_code == 200
            times.append(time.monotonic() - began_at)
        assert sorted(times)[10] < 0.5, times
        # The pool's, and the poller's own.
        assert len(connections()) <= 21
        assert "idle in transaction" not in connections()
        assert not any(answer.done() for answer in answers)
        web_server.call(people.ana, "POST", f"/approvals/{request_id}/approve")
        statuses = {answer.result(30).json()["status"] for answer in answers}
    assert statuses == {"approved"}


def _open_gets(server: WebServer) -> int:
    """How many connections clients have to the server, from the kernel's table of sockets."""
    port = f":{int(server.url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[1].endswith(port) and row[3] == "01")


def test_nobody_polls_when_nobody_waits(web_server: WebServer, committed_people: People) -> None:
    request_id = opened(web_server, committed_people)
    with waiting(web_server, committed_people, request_id, seconds=1):
        eventually(polling, "the poller follows the changes")
    eventually(lambda: not polling(), "the poller stops")


def test_a_client_that_goes_away_leaves_nothing_behind(
    web_server: WebServer, committed_people: People
) -> None:
    request_id = opened(web_server, committed_people)
    headers = {"Authorization": f"Bearer {committed_people.agent}"}
    with pytest.raises(httpx.ReadTimeout):
        web_server.client.get(f"/api/approvals/{request_id}?wait=30", headers=headers, timeout=1)
    eventually(lambda: not polling(), "the poller stops")


def test_clients_that_go_away_in_the_middle_of_a_view_keep_no_connection(
    web_server: WebServer, committed_people: People
) -> None:
    """What they asked for is done to its end, in the threads that their requests had."""
    people = committed_people
    request_id = opened(web_server, people)
    headers = {"Authorization": f"Bearer {people.ana}"}

    def approve(_: int) -> None:
        with (
            httpx.Client(base_url=web_server.url, trust_env=False) as client,
            pytest.raises(httpx.ReadTimeout),
        ):
            client.post(f"/api/approvals/{request_id}/approve", headers=headers, json={}, timeout=1)

    # More than the pool has connections.
    with transaction.atomic(), ThreadPoolExecutor(25) as pool:
        ApprovalRequest.objects.select_for_update().get(pk=request_id)
        list(pool.map(approve, range(25)))
    eventually(lambda: set(connections()) <= {"idle"}, "all of them are given back")
    item = web_server.call(people.agent, "GET", f"/approvals/{request_id}").json()
    assert (item["status"], item["decided_by"]) == ("approved", "ana")


def test_a_lost_connection_is_replaced_and_nothing_is_missed(
    web_server: WebServer, committed_people: People, postgres_server: Postgres
) -> None:
    people = committed_people
    request_id = opened(web_server, people)
    with waiting(web_server, people, request_id) as (answer,):
        eventually(polling, "the poller follows the changes")
        kill = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'hitl-live'"
        )
        with psycopg.connect(postgres_server.url(SUPERUSER, "postgres"), autocommit=True) as root:
            assert root.execute(kill).fetchall() == [(True,)]
        web_server.call(people.ana, "POST", f"/approvals/{request_id}/approve")
        assert answer.result(20).json()["status"] == "approved"


def test_opening_waits_for_the_linear_issue_where_linear_is_on(
    launch_web_server: Callable[..., WebServer], committed_people: People, settings: Settings
) -> None:
    linear = "tests.approvals.channels.Linear"
    settings.HITL_CHANNELS = [linear]
    outbox.channels.cache_clear()
    server = launch_web_server(HITL_TEST_CHANNELS=linear)
    agent = committed_people.agent
    began_at = time.monotonic()
    answer = server.call(agent, "POST", "/approvals?wait=0.8", body())
    assert (answer.status_code, answer.json()["linear_issue_id"]) == (201, None)
    assert time.monotonic() - began_at >= 0.8
    assert outbox.deliver_next(LINEAR)
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(server.call, agent, "POST", "/approvals?wait=20", body())
        eventually(lambda: outbox.deliver_next(LINEAR), "the issue is made")
        told = opening.result(20).json()
    row = ApprovalRequest.objects.get(pk=told["request_id"])
    assert told["linear_issue_id"] == row.linear_issue_id is not None
    assert told["linear_issue_url"] == row.linear_issue_url


def test_opening_does_not_wait_for_linear_where_it_is_off(
    web_server: WebServer, committed_people: People
) -> None:
    began_at = time.monotonic()
    answer = web_server.call(committed_people.agent, "POST", "/approvals?wait=30", body())
    assert (answer.status_code, answer.json()["linear_issue_id"]) == (201, None)
    assert time.monotonic() - began_at < AT_ONCE_SECONDS


def test_a_server_that_stops_answers_those_who_wait(
    launch_web_server: Callable[..., WebServer], committed_people: People
) -> None:
    server = launch_web_server()
    request_id = opened(server, committed_people)
    with waiting(server, committed_people, request_id) as (answer,):
        eventually(polling, "the poller follows the changes")
        began_at = time.monotonic()
        server.stop()
        assert time.monotonic() - began_at < AT_ONCE_SECONDS
        assert answer.result(20).json()["status"] == "pending"
