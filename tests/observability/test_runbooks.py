"""The runbooks hold: every statement runs, and every command, panel and button is there."""

import re
import shlex
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.apps import apps
from django.contrib import admin
from django.core.management import get_commands, load_command_class
from django.db import connection, transaction
from django.test import Client

from approvals import outbox
from hitl_project.embedded import Postgres
from tests.application_role import as_application
from tests.approvals import scenes
from tests.observability import prometheus_files as files
from tests.observability.board import panels

TEXT = files.RUNBOOKS.read_text()
SECTIONS = {
    part.partition("\n")[0]: part.partition("\n")[2]
    for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
}
ATTENTION = "A run that needs attention"
FURTHER = {
    "A lost webhook",
    "Redis lost",
    "Restore from backup",
    "A login that has to wait",
    "Rotate secrets",
    "Upgrade with runs waiting",
    ATTENTION,
}
# In italics as panels and the admin's lists are: filters of the latter, and pages of others.
ON_OTHER_SCREENS = {
    *("Needs attention", "given up", "state"),
    *("Settings → API → Webhooks", "Targets"),
}
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
STATEMENTS = [
    (heading, statement)
    for heading, body in SECTIONS.items()
    for _, language, statement in _BLOCK.findall(body)
    if language == "sql"
]


def commands() -> Iterator[str]:
    """Everything that follows `manage.py` in a line of a command block or between backticks."""
    for _, language, block in _BLOCK.findall(TEXT):
        if language == "sh":
            yield from re.findall(r"manage\.py (.+)", block)
    yield from re.findall(r"`manage\.py ([^`]+)`", TEXT)


def lists() -> dict[str, Any]:
    """What the admin shows, by the name of the list."""
    return {
        str(model._meta.verbose_name_plural).capitalize(): admin.site.get_model_admin(model)
        for model in apps.get_models()
        if admin.site.is_registered(model)
    }


def buttons(shown: Any) -> set[str]:
    """What a list of the admin offers to do with the chosen rows."""
    actions = [getattr(shown, one) if isinstance(one, str) else one for one in shown.actions or ()]
    return {action.short_description for action in actions}


def test_every_alert_has_a_section_and_so_has_what_else_happens() -> None:
    assert set(SECTIONS) == set(files.alerts()) | FURTHER
    for name in files.alerts():
        for question in (
            "What it means",
            "How to see it",
            "What to do",
            "What to do afterwards",
        ):
            assert f"**{question}.**" in SECTIONS[name], (name, question)


def test_there_is_a_statement_for_every_alert() -> None:
    assert set(files.alerts()) <= {heading for heading, _ in STATEMENTS}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("heading", "statement"), STATEMENTS)
def test_every_statement_reads_the_tables_as_the_application_may(
    heading: str, statement: str, postgres_server: Postgres
) -> None:
    del heading
    with (
        as_application(postgres_server),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute(statement)
        assert cursor.description


@pytest.mark.django_db
def test_the_statement_about_a_stuck_request_names_it_and_how_many_votes_it_needs() -> None:
    request_id = scenes.opened(scenes.DELETE)
    scenes.manager("ada")
    statement = next(text for name, text in STATEMENTS if name == "CriticalApprovalStuck")
    with connection.cursor() as cursor:
        cursor.execute(statement)
        names = [column.name for column in cursor.description or ()]
        (row,) = [dict(zip(names, values, strict=True)) for values in cursor]
    assert (row["id"], row["operation"], row["has"]) == (request_id, "delete_bucket", 0)
    assert (row["may_decide"], row["needs"]) == ('["release-managers"]', "2")


def test_every_command_exists_and_takes_what_it_is_given() -> None:
    known = get_commands()
    given = list(commands())
    assert len(given) > 15
    for text in given:
        name, *arguments = shlex.split(text.replace("WORKFLOW_ID", str(uuid4())), comments=True)
        assert name in known, text
        found: Any = known[name]
        command = load_command_class(found, name) if isinstance(found, str) else found
        # Raises where an option or a choice is unknown, or something is missing.
        if arguments:
            command.create_parser("manage.py", name).parse_args(arguments)


def test_the_panels_named_are_those_of_the_dashboard() -> None:
    prose = _BLOCK.sub("", "".join(SECTIONS.values()))
    named = set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", prose))
    assert named - set(lists()) - ON_OTHER_SCREENS == set(panels())


def test_every_list_and_button_of_the_admin_is_there() -> None:
    steps = re.findall(r"[Aa]dmin, \*([^*]+)\*([^\n]*)", TEXT)
    assert len(steps) > 5
    for name, rest in steps:
        assert set(re.findall(r'"([^"]+)"', rest)) <= buttons(lists()[name]), (name, rest)


def test_what_a_run_says_when_it_needs_attention_is_what_the_runbook_quotes() -> None:
    section = SECTIONS[ATTENTION]
    table = section[section.index("| `attention` says |") : section.index("**What to do.**")]
    phrases = [
        phrase
        for row in table.splitlines()[2:]
        for phrase in re.findall(r"`([^`]+)`", row.split("|")[1] if row else "")
    ]
    assert len(phrases) > 10
    sources = "".join(
        path.read_text()
        for pattern in ("agents/*.py", "integrations/executors/*.py", "approvals/unexpected.py")
        for path in sorted(files.ROOT.glob(pattern))
    )
    assert [phrase for phrase in phrases if phrase not in sources] == []


def test_how_long_is_tried_again_is_what_the_runbook_says() -> None:
    delivering, running = SECTIONS["IntegrationDeliveryFailing"], SECTIONS[ATTENTION]
    wait, pause = outbox.MAX_WAIT_SECONDS / 60, outbox.MAX_PAUSE_SECONDS / 3600
    assert f"of about {wait:g} minutes at most" in delivering
    assert f"up to {pause:g} hours, {outbox.MAX_ATTEMPTS} times" in delivering
    assert f"asked for silence, {pause:g} hours at most" in delivering
    (died,) = re.findall(r"^\| `died every time` \| (.+?) \|", running, re.MULTILINE)
    assert died.endswith(f" killed, {outbox.MAX_ATTEMPTS} times")


@pytest.mark.django_db
def test_a_webhook_with_a_wrong_signature_is_counted_where_the_runbook_looks() -> None:
    (pattern,) = re.findall(r"/metrics \| grep '([^']+)'", SECTIONS["A lost webhook"])

    def counted() -> float:
        lines = Client().get("/metrics").content.decode().splitlines()
        found = [line for line in lines if re.search(pattern, line) and 'status="401"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    before = counted()
    answer = Client().post(
        "/resume", b"{}", content_type="application/json", headers={"Linear-Signature": "0" * 64}
    )
    assert (answer.status_code, counted()) == (401, before + 1)


def test_every_metric_that_is_named_is_documented() -> None:
    named = {files.metric(name) for name in re.findall(r"`(hitl_\w+)`", TEXT)}
    assert len(named) > 3
    assert named <= set(files.documented_metrics())


def test_every_anchor_leads_to_a_heading() -> None:
    for page, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", TEXT):
        target = files.RUNBOOKS.parent / page if page else files.RUNBOOKS
        assert anchor in files.anchors(target.read_text()), (page, anchor)
