"""Migrations leave a gateway at work: none keeps others waiting, and none needs to start anew."""

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest
from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint
from django.core.management import call_command
from django.db import connection, connections, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration
from django.db.models.functions import Now, Upper
from django.test.utils import isolate_apps

from approvals.models import ClockTimestamp
from approvals.online_ddl import AddIndexOnline, lock_timeout
from tests.migration_rules import faults

pytestmark = pytest.mark.django_db

# The last of those that made the tables, before anybody had rows in them.
FOUNDED = {"approvals": "0007", "agents": "0004"}
OURS = ("approvals", "agents", "integrations", "hitl_project")


def faults_in(migration: Migration, state: Any) -> list[str]:
    """What the migration would do to others, from a state of the models that it changes."""
    # A connection of its own, since within a test's transaction nothing is done concurrently.
    with closing(connections.create_connection("default")) as outside:
        editor = outside.schema_editor(collect_sql=True, atomic=migration.atomic)
        models = state.apps.get_models(include_auto_created=True)
        used = {
            model._meta.db_table: [field.column for field in model._meta.local_concrete_fields]
            for model in models
        }
        with editor:
            migration.apply(state, editor, collect_sql=True)
        code = any(isinstance(one, migrations.RunPython) for one in migration.operations)
        return faults(editor.collected_sql, atomic=migration.atomic, used=used, has_code=code)


def later() -> Sequence[tuple[str, str]]:
    """Every migration of ours after those that made the tables."""
    nodes = MigrationLoader(None).graph.nodes
    return sorted(
        (app, name) for app, name in nodes if app in OURS and name[:4] > FOUNDED.get(app, "")
    )


@pytest.mark.parametrize(("app", "name"), later())
def test_no_migration_keeps_others_waiting(app: str, name: str) -> None:
    loader = MigrationLoader(connection)
    state = loader.project_state((app, name), at_end=False)
    assert faults_in(loader.graph.nodes[app, name], state) == []


def test_the_models_are_what_the_migrations_make() -> None:
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)
    assert {app for app, _ in later()} >= {"approvals", "agents"}


VOTE: Any = {"model_name": "vote"}
INDEX = models.Index(fields=["via"], name="idx_via")
CHECK = models.CheckConstraint(condition=~models.Q(via=""), name="vote_came_somehow")
UNIQUE = models.UniqueConstraint(fields=["via", "comment"], name="one_vote_a_way")
BAD: dict[str, tuple[list[Any], bool, str]] = {
    "index": ([migrations.AddIndex(**VOTE, index=INDEX)], True, "CONCURRENTLY"),
    "index in raw SQL": (
        [migrations.RunSQL("create index idx_via on approvals_vote (via)")],
        True,
        "CONCURRENTLY",
    ),
    "index dropped": ([migrations.RemoveIndex(**VOTE, name="idx_cast_at")], True, "CONCURRENTLY"),
    "index of a field": (
        [
            lock_timeout(),
            migrations.AlterField(**VOTE, name="via", field=models.CharField(db_index=True)),
        ],
        True,
        "CONCURRENTLY",
    ),
    "check": (
        [lock_timeout(), migrations.AddConstraint(**VOTE, constraint=CHECK)],
        True,
        "NOT VALID",
    ),
    "unique": (
        [lock_timeout(), migrations.AddConstraint(**VOTE, constraint=UNIQUE)],
        True,
        "builds its index",
    ),
    "no lock_timeout": (
        [AddConstraintNotValid(**VOTE, constraint=CHECK)],
        True,
        "no lock_timeout",
    ),
    "trigger without lock_timeout": (
        [
            migrations.RunSQL(
                "CREATE TRIGGER a BEFORE UPDATE ON approvals_vote EXECUTE FUNCTION b()"
            )
        ],
        True,
        "no lock_timeout",
    ),
    "validated at once": (
        [
            lock_timeout(),
            AddConstraintNotValid(**VOTE, constraint=CHECK),
            ValidateConstraint(**VOTE, name="vote_came_somehow"),
        ],
        True,
        "in the transaction of another",
    ),
    "type": (
        [
            lock_timeout(),
            migrations.AlterField(**VOTE, name="seconds_to_vote", field=models.IntegerField()),
        ],
        True,
        "rewritten",
    ),
    "not null": (
        [
            lock_timeout(),
            migrations.AlterField(
                **VOTE, name="seconds_to_vote", field=models.FloatField(default=0)
            ),
        ],
        True,
        "SET NOT NULL",
    ),
    "default that is a function": (
        [
            lock_timeout(),
            migrations.AddField(
                **VOTE, name="seen_at", field=models.DateTimeField(db_default=ClockTimestamp())
            ),
        ],
        True,
        "written to every row",
    ),
    "computed": (
        [
            lock_timeout(),
            migrations.AddField(
                **VOTE,
                name="way",
                field=models.GeneratedField(
                    expression=Upper("via"), output_field=models.CharField(), db_persist=True
                ),
            ),
        ],
        True,
        "rewrites the table",
    ),
    "foreign key": (
        [
            lock_timeout(),
            migrations.AddField(
                **VOTE,
                name="other",
                field=models.ForeignKey("approvals.Vote", models.PROTECT, null=True),
            ),
        ],
        True,
        "foreign key",
    ),
    "foreign key of its own": (
        [
            lock_timeout(),
            migrations.RunSQL(
                "ALTER TABLE approvals_vote ADD CONSTRAINT of_a_request"
                " FOREIGN KEY (request_id) REFERENCES approval_requests (id)"
            ),
        ],
        True,
        "NOT VALID",
    ),
    "unique field": (
        [
            lock_timeout(),
            migrations.AddField(
                **VOTE, name="code", field=models.CharField(null=True, unique=True)
            ),
        ],
        True,
        "unique column",
    ),
    "column dropped": (
        [lock_timeout(), migrations.RemoveField(**VOTE, name="comment")],
        True,
        "still uses the column",
    ),
    "column renamed": (
        [lock_timeout(), migrations.RenameField(**VOTE, old_name="comment", new_name="words")],
        True,
        "renamed",
    ),
    "table renamed": (
        [lock_timeout(), migrations.RenameModel("Vote", "Ballot")],
        True,
        "renamed",
    ),
    "table dropped": (
        [lock_timeout(), migrations.DeleteModel("RequestWords")],
        True,
        "still uses it",
    ),
    "view dropped": (
        [migrations.RunSQL("DROP VIEW hitl_waiting_requests")],
        True,
        "still uses it",
    ),
    "column that the release before does not fill": (
        [
            lock_timeout(),
            migrations.AddField(**VOTE, name="note", field=models.TextField(default="")),
        ],
        True,
        "the default goes",
    ),
    "column without any default": (
        [
            lock_timeout(),
            migrations.RunSQL("ALTER TABLE approvals_vote ADD COLUMN note text NOT NULL"),
        ],
        True,
        "writes no value",
    ),
    "code in one transaction": (
        [migrations.RunPython(migrations.RunPython.noop)],
        True,
        "in steps of its own",
    ),
    "rows copied": (
        [
            migrations.RunSQL(
                "INSERT INTO approvals_heartbeat SELECT via, cast_at FROM approvals_vote"
            )
        ],
        False,
        "added in one go",
    ),
    "locked": ([migrations.RunSQL("LOCK TABLE approvals_vote")], True, "is locked"),
    "no lock_timeout outside of a transaction": (
        [lock_timeout(), AddConstraintNotValid(**VOTE, constraint=CHECK)],
        False,
        "no lock_timeout",
    ),
    "lock_timeout that an index has taken back": (
        [
            migrations.RunSQL("SET lock_timeout = '5s'"),
            AddIndexOnline(**VOTE, index=INDEX),
            AddConstraintNotValid(**VOTE, constraint=CHECK),
        ],
        False,
        "no lock_timeout",
    ),
    "unlogged": (
        [lock_timeout(), migrations.RunSQL("ALTER TABLE approvals_vote SET UNLOGGED")],
        True,
        "rewritten",
    ),
    "rows at once": (
        [migrations.RunSQL("UPDATE approvals_vote SET via = 'web'")],
        False,
        "in steps",
    ),
    "rows at once in a block": (
        [
            migrations.RunSQL(
                "DO LANGUAGE plpgsql $body$ BEGIN\n"
                "  IF true THEN UPDATE approvals_vote SET via = 'web'; END IF;\n"
                "END $body$"
            )
        ],
        True,
        "in steps",
    ),
    "rows at once by a text in a block": (
        [migrations.RunSQL("DO $$ BEGIN EXECUTE 'DELETE FROM approvals_vote'; END $$")],
        True,
        "in steps",
    ),
    "index in a block": (
        [migrations.RunSQL("DO $$ BEGIN CREATE INDEX idx_via ON approvals_vote (via); END $$")],
        True,
        "CONCURRENTLY",
    ),
    "rows at once after a query": (
        [
            migrations.RunSQL(
                "WITH old AS (SELECT id FROM approvals_vote) UPDATE approvals_vote SET via = 'web'"
            )
        ],
        False,
        "in steps",
    ),
    "rows at once within a query": (
        [
            migrations.RunSQL(
                "WITH gone AS (DELETE FROM approvals_vote RETURNING id) SELECT count(*) FROM gone"
            )
        ],
        False,
        "in steps",
    ),
    "rows copied after a query": (
        [
            migrations.RunSQL(
                "WITH old AS (SELECT via, cast_at FROM approvals_vote)"
                " INSERT INTO approvals_heartbeat SELECT via, cast_at FROM old"
            )
        ],
        False,
        "added in one go",
    ),
}


@pytest.mark.parametrize("kind", BAD)
@isolate_apps()
def test_what_keeps_others_waiting_is_found(kind: str) -> None:
    operations, atomic, fault = BAD[kind]
    bad: Any = Migration("bad", "approvals")
    bad.operations, bad.atomic = operations, atomic
    found = faults_in(bad, MigrationLoader(connection).project_state())
    assert any(fault in text for text in found), found


@isolate_apps()
def test_what_lets_others_work_is_let_through() -> None:
    state = MigrationLoader(connection).project_state()
    good: Any = Migration("good", "approvals")
    good.operations = [
        lock_timeout(),
        migrations.AddField(**VOTE, name="note", field=models.TextField(db_default="")),
        AddConstraintNotValid(**VOTE, constraint=CHECK),
        # What the models of the release before have not had any more.
        migrations.RunSQL("ALTER TABLE approvals_vote DROP COLUMN long_forgotten"),
        # What a function does is done when it is called; a look changes nothing.
        migrations.RunSQL(
            "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " UPDATE approvals_vote SET via = 'web'; RETURN NULL; END $$"
        ),
        migrations.RunSQL(
            "DO $$ BEGIN PERFORM 1 FROM approvals_vote; END $$;"
            " WITH one AS (SELECT id FROM approvals_vote FOR UPDATE) SELECT * FROM one"
        ),
        migrations.CreateModel(
            "Fresh",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("at", models.DateTimeField(db_default=Now(), db_index=True)),
                ("vote", models.ForeignKey("approvals.Vote", models.PROTECT)),
            ],
        ),
    ]
    assert faults_in(good, state) == []
    beside: Any = Migration("beside", "approvals")
    beside.atomic = False
    beside.operations = [
        migrations.RunPython(migrations.RunPython.noop),
        AddIndexOnline(**VOTE, index=INDEX),
        ValidateConstraint(**VOTE, name="vote_follows_showing"),
    ]
    assert faults_in(beside, MigrationLoader(connection).project_state()) == []
