"""What browsers are told on every kind of answer, and how long a login lasts."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.cookies import Morsel, SimpleCookie
from pathlib import Path

import httpx
import pytest
from django.conf import settings as configured
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from hitl_project.sessions import USED
from tests.approvals.pages import HTMX
from tests.hitl_project.test_settings import manage
from tests.web_server import WebServer

pytestmark = pytest.mark.django_db

RIGHT = "correct horse battery"
FORM = {"username": "maria", "password": RIGHT}
SAFE = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.fixture(autouse=True)
def maria(db: None) -> User:
    """Somebody who has a password, and may use the admin."""
    return User.objects.create_user("maria", password=RIGHT, is_staff=True, is_superuser=True)


@pytest.fixture
def served(
    transactional_db: None, launch_web_server: Callable[..., WebServer]
) -> Iterator[httpx.Client]:
    """A browser at a gateway with the settings of production, behind a proxy that ends TLS."""
    server = launch_web_server(
        DJANGO_SETTINGS_MODULE="hitl_project.settings",
        HITL_PUBLIC_URL="https://approvals.example.com",
        HITL_BEHIND_TLS_PROXY="1",
    )
    told = {"X-Forwarded-Proto": "https", "Host": "approvals.example.com"}
    with httpx.Client(base_url=server.url, headers=told, timeout=30, trust_env=False) as browser:
        yield browser


def cookies(answer: httpx.Response) -> dict[str, "Morsel[str]"]:
    """The cookies that an answer sets."""
    return {
        name: morsel
        for line in answer.headers.get_list("Set-Cookie")
        for name, morsel in SimpleCookie(line).items()
    }


def flags(cookie: "Morsel[str]") -> tuple[bool, bool, str]:
    """Whether a cookie is for https alone, whether hidden from scripts, and its SameSite."""
    return bool(cookie["secure"]), bool(cookie["httponly"]), cookie["samesite"]


def test_every_kind_of_answer_says_what_browsers_must_not_do(served: httpx.Client) -> None:
    page = served.get("/accounts/login/")
    answers = {
        "page": (200, page),
        "admin": (200, served.get("/admin/login/")),
        "redirect": (302, served.get("/")),
        "api": (401, served.get("/api/approvals")),
        "api's page": (200, served.get("/api/docs")),
        "static": (200, served.get("/static/hitl.css")),
        "stream": (401, served.get("/events")),
        "metrics": (200, served.get("/metrics")),
        "health": (200, served.get("/healthz")),
        "not found": (404, served.get("/nothing/")),
        "nothing static": (404, served.get("/static/nothing.css")),
        "form without token": (403, served.post("/accounts/login/", data=FORM)),
        "webhook": (401, served.post("/resume", content=b"{}")),
        "wrong host": (400, served.get("/", headers={"Host": "elsewhere.example"})),
    }
    for kind, (status, answer) in answers.items():
        assert (kind, answer.status_code) == (kind, status)
        assert {name: answer.headers.get(name) for name in SAFE} == SAFE, kind
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"], kind
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], kind
        assert "unsafe" not in answer.headers["Content-Security-Policy"], kind
        policy = answer.headers["Permissions-Policy"]
        for feature in ("camera", "microphone", "geolocation", "payment", "usb"):
            assert f"{feature}=()" in policy, kind
        assert "Server" not in answer.headers, kind


def test_what_stands_in_files_is_served_without_a_warning(
    transactional_db: None, launch_web_server: Callable[..., WebServer]
) -> None:
    server = launch_web_server()
    assert httpx.get(f"{server.url}/static/hitl.css", trust_env=False).status_code == 200
    assert "py.warnings" not in server.log.read_text()


def test_who_asks_for_a_websocket_is_answered_as_without_and_nothing_fails(
    transactional_db: None, launch_web_server: Callable[..., WebServer]
) -> None:
    server = launch_web_server()
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for path, status in (("/healthz", 200), ("/events", 401), ("/nothing/", 404)):
        answer = server.client.get(path, headers=asked)
        assert (path, answer.status_code) == (path, status)
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    server.stop()
    log = server.log.read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_plain_http_is_sent_to_https_and_cookies_are_for_it_alone(
    served: httpx.Client, maria: User
) -> None:
    # Production knows nothing of the quick hashes that tests use.
    maria.password = make_password(RIGHT, hasher="pbkdf2_sha256")
    maria.save()
    plain = served.get("/accounts/login/", headers={"X-Forwarded-Proto": "http"})
    assert plain.status_code == 301
    assert plain.headers["Location"] == "https://approvals.example.com/accounts/login/"
    token = cookies(served.get("/accounts/login/"))["csrftoken"]
    assert flags(token) == (True, True, "Lax")
    # The client keeps cookies that are for https to itself, as it speaks http to the server.
    headers = {"Cookie": f"csrftoken={token.value}", "Origin": "https://approvals.example.com"}
    data = {**FORM, "csrfmiddlewaretoken": token.value}
    answer = served.post("/accounts/login/", data=data, headers=headers)
    assert answer.status_code == 302
    session = cookies(answer)["sessionid"]
    assert flags(session) == (True, True, "Lax")
    assert session["max-age"] in {"43200", "43199"}
    assert (session["path"], session["domain"]) == ("/", "")


def test_no_script_reads_a_cookie_but_the_one_it_wrote_itself() -> None:
    client = log_in()
    client.get("/preferences/")
    assert client.post("/preferences/", {"theme": "dark", "zone": ""}).status_code == 302
    known = {"csrftoken", "sessionid", "messages", "hitl_preferences"}
    assert client.cookies.keys() == known
    assert {flags(cookie)[1:] for cookie in client.cookies.values()} == {(True, "Lax")}
    static = Path(configured.BASE_DIR, "static")
    named = [file.name for file in static.glob("*.js") if "cookie" in file.read_text()]
    assert named == ["zone.js"]


def log_in() -> Client:
    """A browser in which maria has logged in."""
    client = Client()
    assert client.post("/accounts/login/", FORM).status_code == 302
    return client


def may_look(client: Client) -> bool:
    """Whether a page is shown, and not the question who one is."""
    return bool(client.get("/").status_code == 200)


def unused(client: Client, minutes: float) -> None:
    """Let the login lie for so long."""
    session = client.session
    session[USED] -= int(minutes * 60)
    session.save()


def key(client: Client) -> str:
    """The session's key."""
    return client.cookies["sessionid"].value


def test_a_login_gets_a_new_key_and_leaves_nothing_of_the_old_session() -> None:
    client = Client()
    planted = client.session
    planted.save()
    client.cookies["sessionid"] = str(planted.session_key)
    assert client.post("/accounts/login/", FORM).status_code == 302
    assert key(client) != planted.session_key
    assert not Session.objects.filter(pk=planted.session_key).exists()
    stale = Client()
    stale.cookies["sessionid"] = str(planted.session_key)
    assert not may_look(stale)


def test_a_new_password_changes_the_key_and_ends_every_other_login() -> None:
    here, elsewhere = log_in(), log_in()
    before = key(here)
    new = "another horse battery"
    words = {"old_password": RIGHT, "new_password1": new, "new_password2": new}
    assert here.post("/admin/password_change/", words).status_code == 302
    assert key(here) != before
    assert (may_look(here), may_look(elsewhere)) == (True, False)


def test_whose_password_a_superuser_changes_has_to_log_in_anew(maria: User) -> None:
    client = log_in()
    maria.set_password("another horse battery")
    maria.save()
    assert not may_look(client)


def test_who_is_switched_off_is_out_at_once(maria: User) -> None:
    client = log_in()
    maria.is_active = False
    maria.save()
    assert not may_look(client)


def test_what_groups_allow_is_asked_anew_in_an_open_session(maria: User) -> None:
    User.objects.update(is_superuser=False)
    client = log_in()
    operators = Group.objects.create(name="operators")

    def may() -> int:
        return client.get("/admin/auth/user/").status_code

    found = [may()]
    maria.groups.add(operators)
    found.append(may())
    maria.groups.remove(operators)
    assert [*found, may()] == [403, 200, 403]


def test_logging_out_ends_the_session_for_whoever_kept_the_key() -> None:
    client, thief = log_in(), Client()
    thief.cookies["sessionid"] = key(client)
    assert may_look(thief)
    client.post("/accounts/logout/")
    assert not may_look(thief)


def test_a_login_ends_when_nobody_used_it_for_long() -> None:
    client = log_in()
    unused(client, 239)
    assert may_look(client)
    unused(client, 239)
    assert may_look(client)
    unused(client, 241)
    assert not may_look(client)
    assert client.get("/events").status_code == 401
    assert client.post("/accounts/login/", FORM).status_code == 302
    assert may_look(client)


@pytest.mark.parametrize("look", ["refresh", "stream"])
def test_a_page_that_is_only_open_is_not_used(look: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = log_in()
    unused(client, 200)
    if look == "refresh":
        assert client.get("/", headers=HTMX).status_code == 200
    else:
        assert client.head("/events").status_code == 405
    unused(client, 50)
    assert not may_look(client)


def test_a_login_without_a_note_of_its_use_is_over() -> None:
    client = log_in()
    session = client.session
    del session[USED]
    session.save()
    assert not may_look(client)


def test_a_login_outlives_a_new_secret_key_while_the_old_one_counts(
    maria: User, settings: Settings
) -> None:
    client = Client()
    client.force_login(maria)
    old = settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new key " + "n" * 50, [old]
    assert client.get("/").status_code == 200
    # From its first use on, the login stands on the new key alone.
    settings.SECRET_KEY_FALLBACKS = []
    assert client.get("/").status_code == 200
    other = Client()
    other.force_login(maria)
    settings.SECRET_KEY = "another key " + "a" * 50
    assert other.get("/").status_code == 302


def test_a_login_ends_twelve_hours_after_it_however_much_it_is_used() -> None:
    client = log_in()
    ends = Session.objects.get().expire_date
    assert abs(ends - timezone.now() - timedelta(hours=12)) < timedelta(minutes=1)
    for _ in range(3):
        unused(client, 30)
        assert may_look(client)
        assert client.session[USED] > 0
    assert abs(Session.objects.get().expire_date - ends) < timedelta(seconds=2)
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert not may_look(client)


def test_a_page_in_use_costs_no_write_until_a_minute_is_over() -> None:
    client = log_in()
    unused(client, 0.5)
    assert may_look(client)
    assert client.session[USED] < time.time() - 29
    unused(client, 0.6)
    assert may_look(client)
    assert client.session[USED] > time.time() - 29


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"HITL_SESSION_HOURS": "0"}, "HITL_SESSION_HOURS must be from 1 to 168, not '0'."),
        ({"HITL_SESSION_IDLE_MINUTES": "never"}, "HITL_SESSION_IDLE_MINUTES must be from 5 to"),
    ],
)
def test_a_login_without_an_end_stops_the_boot_with_a_sentence(
    changes: dict[str, str], sentence: str
) -> None:
    stopped = manage("check", **changes)
    assert stopped.returncode != 0
    assert sentence in stopped.stderr
