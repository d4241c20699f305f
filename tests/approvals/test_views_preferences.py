"""What somebody chose for this browser: kept in it, and obeyed."""

from datetime import UTC, datetime
from zoneinfo import available_timezones

import pytest
from django.test import Client
from django.utils import timezone

from approvals import preferences
from approvals.preferences import COOKIE, ZONE_COOKIE, Preferences, Theme
from approvals.templatetags.pages import moment
from tests.approvals.pages import read, signed_in
from tests.approvals.scenes import DEPLOY, manager, opened

pytestmark = pytest.mark.django_db
CHOSEN = {"theme": "dark", "zone": "Asia/Kathmandu", "notify": "on"}


def test_what_was_chosen_is_kept_by_this_browser_alone() -> None:
    client = signed_in(manager("maria"))
    assert client.post("/preferences/", CHOSEN)["Location"] == "/preferences/"
    cookie = client.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    kept = preferences.read({COOKIE: cookie.value})
    assert kept == Preferences(Theme.DARK, "Asia/Kathmandu", keys=False, notify=True)
    page = read(client.get("/"))
    assert page.find("html")[0].attributes["data-theme"] == "dark"
    assert read(signed_in(manager("maria")).get("/")).find("html", **{"data-theme": "system"})


def test_the_page_shows_what_is_chosen() -> None:
    client = signed_in(manager("maria"))
    client.post("/preferences/", CHOSEN)
    page = read(client.get("/preferences/"))
    assert page.find("input", name="theme", value="dark", checked="")
    assert page.find("option", value="Asia/Kathmandu", selected="")
    assert not page.find("input", name="keys", checked="")
    assert page.find("input", name="notify", checked="")
    assert list(page.faults()) == []


@pytest.mark.parametrize("changes", [{"theme": "pink"}, {"zone": "Moon/Tycho"}, {"theme": ""}])
def test_what_cannot_be_chosen_is_refused_in_place(changes: dict[str, str]) -> None:
    client = signed_in(manager("maria"))
    answer = client.post("/preferences/", {**CHOSEN, **changes})
    assert answer.status_code == 422
    assert COOKIE not in client.cookies


@pytest.mark.parametrize("text", ["", "theme=pink&zone=Moon/Tycho", "%%%", "theme", "x" * 9000])
def test_a_cookie_that_nobody_wrote_is_no_choice(text: str) -> None:
    assert preferences.read({COOKIE: text}) == Preferences()


@pytest.mark.parametrize(
    ("cookies", "zone"),
    [
        ({}, "UTC"),
        ({ZONE_COOKIE: "Europe/Berlin"}, "Europe/Berlin"),
        ({ZONE_COOKIE: "../../etc/passwd"}, "UTC"),
        ({ZONE_COOKIE: "Europe/Berlin", COOKIE: "zone=Asia/Tokyo"}, "Asia/Tokyo"),
    ],
)
def test_the_zone_is_the_chosen_one_else_the_browser_s(cookies: dict[str, str], zone: str) -> None:
    assert preferences.zone_of(cookies).key == zone


def test_times_are_shown_in_the_viewer_s_zone() -> None:
    at = datetime(2026, 7, 1, 23, 30, tzinfo=UTC)
    with timezone.override("Asia/Kathmandu"):
        shown = moment(at, at)
    assert shown["iso"] == "2026-07-01T23:30:00+00:00"
    assert shown["short"] == "02 Jul, 05:15 +0545"
    assert shown["full"] == "Thursday, 02 July 2026, 05:15:00 +0545"
    client, request_id = signed_in(manager("maria")), opened(DEPLOY)
    client.cookies[ZONE_COOKIE] = "Asia/Kathmandu"
    assert "+0545" in read(client.get(f"/approvals/{request_id}/")).text
    assert "UTC" in read(signed_in(manager("maria")).get(f"/approvals/{request_id}/")).text


def test_every_zone_can_be_chosen() -> None:
    assert "UTC" in preferences.zones() == available_timezones() - {"Factory", "localtime"}


def test_who_is_not_logged_in_is_asked_to() -> None:
    assert Client().get("/preferences/")["Location"] == "/accounts/login/?next=/preferences/"
