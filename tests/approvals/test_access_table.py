"""Who may do what, at every address of the gateway, is what `access_table.txt` says.

A route, an operation of the API, an action of the admin or a scope that the tables do not have
fails here, and so does a method without a row that does anything.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.contrib import admin
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import Settings

from approvals import live
from approvals.core.roles import SCOPES
from hitl_project.api import api
from tests.approvals.access_world import (
    ACCOUNTS,
    ACTIONS,
    METRICS_TOKEN,
    REMOVAL,
    TOKENS,
    WEBHOOK_SECRET,
    WEBHOOKS,
    Call,
    World,
)

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("channels")]

# The models that the admin only shows; `{record}` stands for each.
RECORDS = (
    *("agents/execution", "agents/run", "approvals/approvalrequest", "approvals/auditentry"),
    *("approvals/channelpause", "approvals/delivery", "approvals/heartbeat"),
    *("approvals/inboundwebhook", "approvals/vote"),
)
# OPTIONS tells which of these there are, HEAD is GET, and TRACE is refused everywhere.
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Table:
    """What is expected of each call, by who makes it."""

    columns: tuple[str, ...]
    rows: Mapping[Call, tuple[str, ...]]

    @classmethod
    def read(cls, section: str) -> "Table":
        """The table of a section: a line of columns that is indented, and the rows."""
        lines = section.splitlines()
        head = next(line for line in lines if line.startswith(" " * 10)).split()
        rows: dict[Call, tuple[str, ...]] = {}
        for line in lines:
            if not line.startswith(tuple(f"{method} " for method in METHODS)):
                continue
            method, route, *cells = line.split()
            path, _, verb = route.partition(":")
            assert len(cells) == len(head), route
            for record in RECORDS if "{record}" in path else ("",):
                call = Call(method, path.replace("{record}", record), verb)
                assert call not in rows, f"{call} stands there twice"
                rows[call] = tuple(cells)
        return cls(tuple(head), rows)


_DOCUMENT = Path(__file__).with_name("access_table.txt").read_text()
TABLES = {
    section.partition("\n")[0]: Table.read(section) for section in _DOCUMENT.split("\n== ")[1:]
}
PAGES = ("pages", "admin", "votes in the admin")
CALLS = {call for table in TABLES.values() for call in table.rows}


@pytest.fixture
def world(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> World:
    """A gateway with one of everything, whose metrics take a token and whose webhooks a secret."""
    settings.HITL_METRICS_TOKENS = [METRICS_TOKEN]
    settings.LINEAR_WEBHOOK_SECRETS = [WEBHOOK_SECRET]

    async def not_now(seconds: float) -> None:
        """Whether somebody may follow what changes is settled before it is."""

    monkeypatch.setattr(live, "watch_all", not_now)
    return World()


def routes() -> Iterator[str]:
    """Every route of the URL configuration, with its parameters as OpenAPI writes them."""

    def walk(resolver: URLResolver, before: str) -> Iterator[str]:
        for pattern in resolver.url_patterns:
            route = f"{before}{pattern.pattern}"
            if isinstance(pattern, URLPattern):
                yield route
            else:
                yield from walk(pattern, route)

    for route in walk(get_resolver(), "/"):
        plain = re.sub(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>", r"{\1\2}", route)
        yield re.sub(r"[$^]", "", plain)


def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert {call.route for call in CALLS} == set(routes())


def test_every_operation_of_the_api_has_a_row() -> None:
    operations = {
        (method.upper(), path)
        for path, methods in api.get_openapi_schema()["paths"].items()
        for method in methods
    }
    assert operations
    assert operations <= {(call.method, call.route) for call in TABLES["api"].rows}


def test_every_action_of_the_admin_has_a_row() -> None:
    registered: dict[str, set[str]] = {}
    for model, how in admin.site._registry.items():  # noqa: SLF001 - Django shows it in no other way
        place = f"{model._meta.app_label}/{model._meta.model_name}"
        registered[place] = {
            action if isinstance(action, str) else action.__name__ for action in how.actions or ()
        }
    assert {place: names for place, names in registered.items() if names} == {
        place: set(names) for place, names in ACTIONS.items()
    }
    assert {f"{place}:{name}" for place, names in ACTIONS.items() for name in names} == {
        f"{call.route[len('/admin/') : -1]}:{call.verb}"
        for call in CALLS
        if call.verb in ACTIONS.get(call.route[len("/admin/") : -1], ())
    }


def test_every_scope_has_a_column() -> None:
    assert {scope for _, scope in TOKENS.values()} == set(SCOPES)
    assert set(TOKENS) < set(TABLES["api"].columns)


@pytest.mark.parametrize("name", TABLES)
def test_everybody_gets_what_the_table_says(world: World, name: str) -> None:
    table = TABLES[name]
    found = {call: tuple(world.ask(call, who) for who in table.columns) for call in table.rows}
    assert found == table.rows


def test_a_token_a_signature_or_the_session_of_who_was_switched_off_opens_no_page(
    world: World,
) -> None:
    for name in PAGES:
        table = TABLES[name]
        for call, cells in table.rows.items():
            for who in ("approver:decide", "metrics", "signed:approver", "former"):
                assert (call, who, world.ask(call, who)) == (call, who, cells[0])


def test_a_session_a_metrics_token_or_a_signature_opens_nothing_of_the_api(world: World) -> None:
    for call, cells in TABLES["api"].rows.items():
        for who in (*ACCOUNTS, "metrics", *WEBHOOKS):
            assert (call, who, world.ask(call, who)) == (call, who, cells[0])


def test_no_form_of_a_page_counts_without_its_token(world: World) -> None:
    """So nothing that another site lets a browser send is taken for its owner's word."""
    for name in PAGES:
        for call in TABLES[name].rows:
            if call.method == "POST":
                assert (call, world.ask(call, "superuser", checks_forms=True)) == (call, "403")


@pytest.mark.parametrize(
    ("name", "who"),
    [
        *(("pages", "nobody"), ("pages", "superuser"), ("admin", "superuser")),
        *(("api", "approver:decide"), ("machines", "superuser")),
    ],
)
def test_a_method_without_a_row_is_refused_or_read_as_get(
    world: World, name: str, who: str
) -> None:
    calls = {Call(call.method, call.route) for call in TABLES[name].rows}
    # One kind of record stands for the others, whose pages are made by the same class.
    others = tuple(f"/admin/{record}/" for record in RECORDS[1:])
    for route in {call.route for call in calls if not call.route.startswith(others)}:
        get = {world.ask(Call("GET", route), whoever) for whoever in (who, "nobody")}
        for method in METHODS:
            if Call(method, route) not in calls:
                came = world.ask(Call(method, route), who)
                assert came in {"405", *get}, (method, route, came, get)


def test_nothing_of_the_admin_is_deleted(world: World) -> None:
    for call in TABLES["admin"].rows:
        if call.verb == "" and call.method == "POST" and call.route.endswith("/add/"):
            removal = Call("POST", call.route.removesuffix("add/"), REMOVAL)
            came = world.ask(removal, "superuser")
            assert came in {"ok", "led", "403"}, (removal, came)
