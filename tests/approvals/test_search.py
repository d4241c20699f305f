"""Requests are found by their words and the beginnings of those, and by nothing that is masked."""

from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from approvals import search
from approvals.clock import clock
from approvals.selectors.history import list_ended
from approvals.selectors.queue import list_requests
from tests.approvals.history import fill
from tests.approvals.plans import rows_read
from tests.approvals.scenes import DEPLOY, MIGRATE, opened, unguarded

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]


def found(text: str) -> set[UUID]:
    """The ids of the requests that the text finds."""
    return {row.pk for row in list_requests({"text": text}, clock()).rows}


@pytest.fixture
def deploy() -> UUID:
    """A request with all that people look for."""
    task = {
        **DEPLOY,
        "description": "Roll out the Größe fix",
        "arguments": {"version": "v2.5.0", "api_token": "swordfish-4711", "count": 17},
    }
    return opened(
        task,
        workflow_id="nightly-42",
        requested_by="ines",
        github_repo="acme/shop",
        pr_number=412,
        pr_url="https://github.com/acme/shop/pull/412",
    )


@pytest.mark.parametrize(
    "text",
    [
        *("deploy", "DEPLOY production", "prod", "v2.5", "größe", "GRÖSSE", "roll out fix", "17"),
        *("nightly-42", "acme/shop", "412", "acme/shop#412", "ines", "cicd nigh", "nigh 42"),
        "https://github.com/acme/shop/pull/412",
    ],
)
def test_its_words_and_their_beginnings_find_it(deploy: UUID, text: str) -> None:
    opened(MIGRATE)
    assert found(text) == {deploy}


def test_its_id_finds_it_whole_or_begun(deploy: UUID) -> None:
    opened(MIGRATE)
    assert found(str(deploy)) == {deploy}
    assert deploy in found(str(deploy)[:8])


def test_a_word_that_others_follow_without_a_space_is_whole(deploy: UUID) -> None:
    assert found("nightly-4") == found("acme/sh") == {deploy}
    assert found("nigh-42") == found("acm/shop") == set()


def test_of_a_long_text_the_first_twelve_different_words_count(deploy: UUID) -> None:
    twelve = "deploy cicd production ines roll out the größe fix 17 v2 5"
    assert found(f"deploy {twelve} absent") == {deploy}
    assert found(f"{twelve.removesuffix(' 5')} absent") == set()


@pytest.mark.parametrize("text", ["swordfish", "4711", "deploy staging", "eploy", "api", "token"])
def test_what_is_masked_or_not_in_it_finds_nothing(deploy: UUID, text: str) -> None:
    assert found(text) == set()


@pytest.mark.parametrize("text", ["'", "' & !", ":*", "  ", "\\", "a' | 'b", "🚀"])
def test_what_has_no_word_or_is_no_query_breaks_nothing(deploy: UUID, text: str) -> None:
    assert found(text) in ({deploy}, set())


def test_the_issue_finds_it_once_there_is_one(deploy: UUID) -> None:
    assert found("CHEF-271") == set()
    search.add_words(deploy, "CHEF-271")
    assert found("chef-271") == found("chef 27") == {deploy}
    assert found("v2.5.0") == {deploy}


def test_old_requests_are_found_when_they_are_asked_for(deploy: UUID) -> None:
    unguarded(
        "UPDATE approval_requests SET created_at = clock_timestamp() - interval '91 days'",
    )
    assert found("deploy") == set()
    older = list_requests({"text": "deploy", "older": "1"}, clock())
    assert [row.pk for row in older.rows] == [deploy]


def test_a_task_of_any_size_can_be_opened() -> None:
    words = " ".join(f"word{number}" for number in range(3000))
    request_id = opened({**DEPLOY, "description": words, "more": ["x" * 9000, "é" * 3000]})
    assert found("word7 deploy") == {request_id}


def test_a_search_reads_little_however_often_its_words_occur() -> None:
    fill(20_000)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO approvals_requestwords (request_id, lexemes)"
            " SELECT id, array_to_tsvector("
            "    ARRAY['deploy', 'nightly', 'n' || substr(workflow_id, 3)]"
            " ) FROM approval_requests"
        )
        cursor.execute("ANALYZE approval_requests, approvals_requestwords")
        # Tables of this size are read from end to end, or joined as a whole, within no time.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            cursor.execute(f"SET LOCAL enable_{way} = off")

    tables = "approval_requests", "approvals_requestwords"
    one, some, all_of_them = ("n17123", "nightly-n17123", "deploy n17123"), "n1712", "depl"
    for text, number in (*((text, 1) for text in one), (some, 11), (all_of_them, 50)):
        before = rows_read(*tables)
        page = list_ended({"text": text}, clock())
        assert len(page.rows) == number, text
        assert number <= rows_read(*tables) - before < 1_000, text


@pytest.mark.parametrize(
    ("tasks", "named"),
    [([DEPLOY, MIGRATE], True), ([DEPLOY] * 3, False), ([*[DEPLOY] * 3, MIGRATE, MIGRATE], False)],
    ids=["few", "many of the latest", "many of those before"],
)
def test_it_finds_the_same_whether_requests_are_named_or_looked_for(
    monkeypatch: pytest.MonkeyPatch, tasks: list[dict[str, Any]], named: bool
) -> None:
    for name, number in (("LATEST", 3), ("OFTEN", 3), ("FEW", 2)):
        monkeypatch.setattr(search, name, number)
    ids = [opened(task) for task in tasks]
    deploys = {pk for pk, task in zip(ids, tasks, strict=True) if task is DEPLOY}
    assert set(search.named("deploy") or ()) == (deploys if named else set())
    assert found("deploy") == deploys
