"""A migration that was interrupted goes on, and who ran one as it was before ends up the same."""

import importlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import pytest_django
from django.apps import apps
from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg.conninfo import conninfo_to_dict

from approvals import search
from approvals.models import ApprovalRequest
from hitl_project.embedded import OWNER, SUPERUSER, Postgres

BEFORE = ("approvals", "0007_traceparent")
VALIDATE = ("approvals", "0011_votes_by_time")
FILL = ("approvals", "0012_fill_words")
_SCHEMA = """
SELECT indexdef, indisvalid::text FROM pg_indexes
JOIN pg_index ON indexrelid = indexname::regclass WHERE schemaname = 'public'
UNION ALL
SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid), convalidated::text
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


@pytest.fixture
def database(
    create_database: Callable[[str], str],
    postgres_server: Postgres,
    django_db_blocker: pytest_django.DjangoDbBlocker,
) -> Iterator[BaseDatabaseWrapper]:
    """An empty database beside the tests' own, for Django under the name of `migrating`."""
    address = conninfo_to_dict(postgres_server.url(OWNER, create_database("migrating")))
    settings = connections.settings["default"]
    connections.settings["migrating"] = {
        **settings,
        "NAME": address["dbname"],
        "USER": address["user"],
        "PASSWORD": address["password"],
        "HOST": address["host"],
    }
    with django_db_blocker.unblock():
        yield connections["migrating"]
    connections["migrating"].close()
    del connections["migrating"]
    del connections.settings["migrating"]


def migrate(database: BaseDatabaseWrapper, *targets: tuple[str, str]) -> Any:
    """Migrate there, and return the models as they are then."""
    executor = MigrationExecutor(database)
    newest = [node for node in executor.loader.graph.leaf_nodes() if node[0] != "agents"]
    return executor.migrate(list(targets) or newest).apps


def fill(models: Any, number: int) -> None:
    """Requests of before the search."""
    now = timezone.now()
    rows = models.get_model("approvals", "ApprovalRequest").objects.using("migrating")
    for i in range(number):
        rows.create(
            workflow_id=f"w-{i}",
            thread_id="t-1",
            task={
                "operation": "deploy",
                "arguments": {"version": f"v{i}", "api_key": f"swordfish{i}", "count": i},
                "list": [True, None, 1.5, "ÄPFEL"],
            },
            digest="d",
            operation="deploy",
            agent_name="cicd",
            requested_by="Ines Straße\t",
            risk_level="high",
            matches=[],
            policy={},
            eligible=1,
            pr_number=i or None,
            created_at=now,
            expires_at=now + timedelta(days=1),
        )


def lexemes(database: BaseDatabaseWrapper) -> dict[Any, str]:
    """The words of each request."""
    with database.cursor() as cursor:
        cursor.execute("SELECT request_id, lexemes::text FROM approvals_requestwords")
        return dict(cursor.fetchall())


def test_words_are_filled_in_where_it_stopped(
    database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("approvals.migrations.0012_fill_words")
    fill(migrate(database, BEFORE), 25)
    monkeypatch.setattr(module, "STEP", 4)
    whole, seen = module.lexemes, []

    def interrupted(row: Any, patterns: Any) -> Any:
        seen.append(row.pk)
        if len(seen) == 10:
            raise KeyboardInterrupt
        return whole(row, patterns)

    monkeypatch.setattr(module, "lexemes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        migrate(database, FILL)
    assert seen == sorted(seen)
    assert set(lexemes(database)) == set(seen[:8])
    models = migrate(database, FILL)
    # Those that had theirs are not read again.
    assert not set(seen[:8]) & set(seen[10:])
    assert len(seen) == 10 + 25 - 8
    found = lexemes(database)
    assert len(found) == 25
    with database.schema_editor() as editor:
        module.fill(models, editor)
    assert lexemes(database) == found


def test_they_are_the_words_that_a_new_request_gets(database: BaseDatabaseWrapper) -> None:
    fill(migrate(database, BEFORE), 3)
    migrate(database)
    for row in ApprovalRequest.objects.using("migrating"):
        now = search.lexemes_of(row)
        made = ApprovalRequest.objects.using("migrating").annotate(made=now).get(pk=row.pk)
        assert lexemes(database)[row.pk] == made.made
        assert "swordfish" not in made.made


def test_who_asked_is_filled_in_where_it_is_still_compared(
    database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("approvals.migrations.0015_fill_askers")
    monkeypatch.setattr(module, "STEP", 4)
    fill(migrate(database, BEFORE), 10)
    rows = ApprovalRequest.objects.using("migrating").order_by("status")
    first = rows.values_list("pk", flat=True)[0]
    rows.filter(pk=first).update(status="rejected", decided_at=timezone.now())
    migrate(database)
    askers = [row.asker for row in rows]
    assert askers == [*["ines strasse"] * 9, ""]
    with database.schema_editor() as editor:
        module.fill(apps, editor)


def schema(database: BaseDatabaseWrapper) -> list[tuple[str, str]]:
    """Every index and constraint, and whether it holds."""
    with database.cursor() as cursor:
        cursor.execute(_SCHEMA)
        return sorted(cursor.fetchall())


def test_who_had_run_them_as_they_were_ends_up_the_same(database: BaseDatabaseWrapper) -> None:
    fill(migrate(database, BEFORE), 3)
    migrate(database, FILL)
    new, words = schema(database), lexemes(database)
    with database.cursor() as cursor:
        # 0010 made the index and checked all votes, and 0008 filled in the words.
        names = [FILL[1], VALIDATE[1]]
        cursor.execute("DELETE FROM django_migrations WHERE name = ANY(%s)", [names])
    migrate(database, FILL)
    assert (schema(database), lexemes(database)) == (new, words)


def test_an_index_that_was_left_unfinished_is_made_anew(
    database: BaseDatabaseWrapper, postgres_server: Postgres
) -> None:
    made = {"approvals": "0009_admin_indexes", "agents": "0005_runs_newest_first"}
    migrate(database, *made.items())
    new = schema(database)
    with psycopg.connect(postgres_server.url(SUPERUSER, "migrating"), autocommit=True) as server:
        for index in ("idx_requested_by", "idx_run_asked_by"):
            server.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [index]
            )
        server.execute("DELETE FROM django_migrations WHERE name = ANY(%s)", [[*made.values()]])
    assert schema(database) != new
    migrate(database, *made.items())
    assert schema(database) == new


@pytest.mark.parametrize("newest", ["0007_traceparent", "0016_audit_indexes"])
@pytest.mark.parametrize("restored", [False, True])
def test_a_dump_of_before_the_database_knew_itself_is_not_taken_for_the_original(
    database: BaseDatabaseWrapper, *, newest: str, restored: bool
) -> None:
    migrate(database, ("approvals", newest))
    if restored:
        with database.cursor() as cursor:
            # As pg_restore fills a table: all rows by one transaction.
            cursor.execute("CREATE TEMPORARY TABLE dump AS TABLE django_migrations")
            cursor.execute("DELETE FROM django_migrations")
            cursor.execute("INSERT INTO django_migrations OVERRIDING SYSTEM VALUE TABLE dump")
    migrate(database, ("approvals", "0017_database_identity"))
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM approvals_databaseidentity")
        assert cursor.fetchone() == (0 if restored else 1,)


def test_migrating_brings_langgraphs_own_tables_up_to_the_installed_library(
    database: BaseDatabaseWrapper,
) -> None:
    call_command("migrate", database="migrating", verbosity=0)
    new = schema(database)
    newest = len(PostgresSaver.MIGRATIONS) - 1
    with database.cursor() as cursor:
        # As an older library left them, whose last migration this was.
        cursor.execute("ALTER TABLE checkpoint_writes DROP COLUMN task_path")
        cursor.execute("DROP INDEX checkpoint_writes_thread_id_idx")
        cursor.execute("DELETE FROM checkpoint_migrations WHERE v > 7")
    call_command("migrate", database="migrating", verbosity=0)
    assert schema(database) == new
    with database.cursor() as cursor:
        cursor.execute("SELECT task_path FROM checkpoint_writes")
        cursor.execute("SELECT max(v) FROM checkpoint_migrations")
        assert cursor.fetchone() == (newest,)
    # And again, as a second release with the same library does.
    call_command("migrate", database="migrating", verbosity=0)


def test_a_release_from_before_goes_on_writing_while_the_new_one_migrates(
    database: BaseDatabaseWrapper,
) -> None:
    before = migrate(database, BEFORE)
    fill(before, 2)
    migrate(database)
    fill(before, 3)
    rows = before.get_model("approvals", "ApprovalRequest").objects.using("migrating")
    rows.filter(status="pending").update(status="rejected", decided_at=timezone.now())
    assert rows.filter(status="rejected").count() == 5
    assert ApprovalRequest.objects.using("migrating").count() == 5
