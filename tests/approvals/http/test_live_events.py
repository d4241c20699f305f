"""`/events` tells open pages what changed, and the reader behind it misses nothing."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from approvals import live, stream
from hitl_project.embedded import OWNER, Postgres
from tests.approvals.http.gateway import People, body
from tests.approvals.http.serving import connections, opened, polling
from tests.waiting import eventually
from tests.web_server import WebServer


@contextmanager
def listening(server: WebServer) -> Iterator[httpx.Response]:
    """The open stream of somebody who is logged in."""
    browser = Client()
    browser.force_login(User.objects.get(username="dev"))
    cookies = {"sessionid": browser.cookies["sessionid"].value}
    with (
        httpx.Client(base_url=server.url, timeout=30, trust_env=False, cookies=cookies) as client,
        client.stream("GET", "/events") as response,
    ):
        assert response.status_code == 200
        yield response


def changed(response: httpx.Response) -> Iterator[str]:
    """The request ids of the stream's `changed` events."""
    event = ""
    for line in response.iter_lines():
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: ") and event == "changed":
            told = json.loads(line.removeprefix("data: "))["request_id"]
            # The accounts of a test, made just before, have streams too, with ids of version 5.
            if UUID(told).version == 4:
                yield told


def test_a_change_reaches_an_open_page(web_server: WebServer, committed_people: People) -> None:
    with listening(web_server) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        told = changed(response)
        first = opened(web_server, committed_people)
        assert next(told) == first
        second = opened(web_server, committed_people)
        assert next(told) == second
        web_server.call(committed_people.ana, "POST", f"/approvals/{first}/approve")
        assert next(told) == first


def test_many_open_pages_are_asked_to_come_back_in_turns(
    web_server: WebServer, committed_people: People
) -> None:
    def within_ms(response: httpx.Response) -> int:
        lines = (line for line in response.iter_lines() if line.startswith("data: "))
        return int(json.loads(next(lines).removeprefix("data: "))["within_ms"])

    with listening(web_server) as alone:
        opened(web_server, committed_people)
        assert within_ms(alone) == 0
    with ExitStack() as pages:
        streams = [pages.enter_context(listening(web_server)) for _ in range(stream.FEW_PAGES + 4)]
        opened(web_server, committed_people)
        # The one that was left may still be counted.
        assert {within_ms(page) for page in streams} <= {16, 20}


def test_without_a_session_there_is_no_stream(
    web_server: WebServer, committed_people: People
) -> None:
    for headers in ({}, {"Authorization": f"Bearer {committed_people.agent}"}):
        answer = web_server.client.get("/events", headers=headers)
        assert (answer.status_code, list(answer.json())) == (401, ["detail"])


def test_open_pages_hold_no_connection_of_the_pool(
    web_server: WebServer, committed_people: People
) -> None:
    with ExitStack() as pages:
        # More pages than the pool has connections.
        responses = [pages.enter_context(listening(web_server)) for _ in range(25)]
        assert len(connections()) <= 21
        answer = web_server.call(committed_people.agent, "POST", "/approvals", body(), timeout=20)
        assert answer.status_code == 201
        assert {next(changed(response)) for response in responses} == {answer.json()["request_id"]}


def test_a_page_that_is_left_ends_the_polling(
    web_server: WebServer, committed_people: People
) -> None:
    with listening(web_server):
        eventually(polling, "the poller follows the changes")
    eventually(lambda: not polling(), "the poller stops")


def test_a_server_that_stops_ends_the_stream(
    launch_web_server: Callable[..., WebServer], committed_people: People
) -> None:
    server = launch_web_server()
    with listening(server) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("retry:")
        server.stop()
        assert [line for line in lines if line and not line.startswith(":")] == []


def test_a_quiet_stream_sends_a_comment_now_and_then(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)

    async def lines() -> list[str]:
        watching = await live.watch_all(20)
        assert watching is not None
        source = stream._lines(watching)  # noqa: SLF001 - a real server beats every 15 s
        return [await anext(source) for _ in range(3)]

    assert asyncio.run(lines()) == [stream.RETRY, ": nothing new\n\n", ": nothing new\n\n"]


def test_a_stream_ends_after_its_lifetime_so_that_the_session_is_looked_at_again(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(stream, "LIFETIME_SECONDS", 0.12)

    async def count() -> int:
        watching = await live.watch_all(20)
        assert watching is not None
        return len([line async for line in stream._lines(watching)])  # noqa: SLF001

    assert 2 <= asyncio.run(count()) <= 5


def test_an_entry_that_commits_after_a_later_one_is_not_missed(
    transactional_db: None, postgres_server: Postgres
) -> None:
    url = postgres_server.url(OWNER, str(connection.settings_dict["NAME"]))
    insert = (
        "INSERT INTO approvals_auditentry"
        " (stream, number, name, actor, actor_key, via, data, at, digest)"
        " VALUES (%s, 1, 'vote.cast', '', '', '', '{}', now(), '')"
    )
    early, late = uuid4(), uuid4()

    async def heard(watching: live.Watch, wanted: UUID) -> None:
        async with asyncio.timeout(20):
            while wanted not in await watching.changes(20):
                pass

    async def story() -> None:
        watching = await live.watch_all(20)
        assert watching is not None
        async with (
            await psycopg.AsyncConnection.connect(url) as slow,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as quick,
        ):
            await slow.execute(insert, [early])
            await quick.execute(insert, [late])
            await heard(watching, late)
            await slow.commit()
            await heard(watching, early)

    asyncio.run(story())


A, B, C = (UUID(int=number) for number in (1, 2, 3))


def test_the_reader_asks_again_for_gaps_until_they_were_surely_rolled_back() -> None:
    reader = live.Reader(10, [*range(1, 8), 9, 10], now=0)
    assert reader.gaps(now=1) == [8]
    assert reader.take([(8, A), (13, B)], now=2) == {A, B}
    assert (reader.highest, sorted(reader.gaps(now=3))) == (13, [11, 12])
    assert reader.take([(12, C)], now=4) == {C}
    assert reader.gaps(now=5) == [11]
    assert reader.gaps(now=2 + live.GAP_SECONDS) == []


def test_the_reader_bounds_what_a_leap_of_the_numbers_costs() -> None:
    reader = live.Reader(0, [], now=0)
    assert reader.gaps(now=0) == []
    reader.take([(10**9, A)], now=1)
    assert len(reader.gaps(now=1)) == live.BATCH
