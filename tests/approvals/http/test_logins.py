"""Whoever guesses at passwords has to wait, and keeps nobody else waiting."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from http.cookies import SimpleCookie
from threading import Barrier, Event
from typing import Any

import httpx
import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test import Client, override_settings
from prometheus_client import REGISTRY

from hitl_project.embedded import Postgres
from tests.application_role import as_application
from tests.approvals.pages import read
from tests.hitl_project.test_settings import complaint
from tests.web_server import WebServer

pytestmark = pytest.mark.django_db

RIGHT, WRONG = "correct horse battery", "wrong horse battery"
DOORS = ["/accounts/login/", "/admin/login/"]
CHANGES = ["/accounts/password_change/", "/admin/password_change/"]
NEW = "another horse battery"
HERE, THERE = "203.0.113.9", "198.51.100.4"


@pytest.fixture(autouse=True)
def maria(db: None) -> User:
    """Somebody who has a password, and may use the admin."""
    return User.objects.create_user("maria", password=RIGHT, is_staff=True, is_superuser=True)


def try_login(
    name: str = "maria", password: str = WRONG, *, at: str = DOORS[0], address: str = HERE
) -> Any:
    """What a login with this password is answered."""
    return Client(REMOTE_ADDR=address).post(at, {"username": name, "password": password})


def fail(times: int, name: str = "maria", **where: str) -> list[int]:
    """The statuses of so many failed logins."""
    return [try_login(name, **where).status_code for _ in range(times)]


def session_of(name: str = "maria", address: str = HERE) -> Client:
    """A browser in which somebody is logged in."""
    browser = Client(REMOTE_ADDR=address)
    browser.force_login(
        User.objects.get(username=name), "django.contrib.auth.backends.ModelBackend"
    )
    return browser


def try_change(browser: Client, at: str, old: str = WRONG) -> int:
    """What a new password is answered, with this as the old one."""
    words = {"old_password": old, "new_password1": NEW, "new_password2": NEW}
    return browser.post(at, words).status_code


def let_in(**where: str) -> bool:
    """Whether the right password logs in."""
    answer = try_login(password=RIGHT, **where)
    assert answer.status_code in {302, 429}
    return bool(answer.status_code == 302 and "sessionid" in answer.cookies)


def wait(minutes: float) -> None:
    """Let time go by."""
    AccessAttempt.objects.update(attempt_time=F("attempt_time") - timedelta(minutes=minutes))


@pytest.mark.parametrize("door", DOORS)
def test_five_failures_close_both_doors_to_the_right_password_until_the_wait_is_over(
    door: str,
) -> None:
    assert fail(5, at=door) == [200, 200, 200, 200, 429]
    assert [let_in(at=at) for at in DOORS] == [False, False]
    wait(4.5)
    assert not let_in()
    wait(0.6)
    assert [let_in(at=at) for at in DOORS] == [True, True]


@pytest.mark.parametrize("door", CHANGES)
def test_who_holds_a_session_has_no_more_guesses_at_its_password_than_anybody(
    door: str, maria: User
) -> None:
    thief, owner = session_of(), session_of(address=THERE)
    assert [try_change(thief, door) for _ in range(5)] == [200, 200, 200, 200, 429]
    assert [try_change(thief, at, RIGHT) for at in CHANGES] == [429, 429]
    assert [let_in(at=at) for at in DOORS] == [False, False]
    maria.refresh_from_db()
    assert maria.check_password(RIGHT)
    # The session goes on, and so does whoever is elsewhere.
    assert thief.get("/").status_code == 200
    assert try_change(owner, door, RIGHT) == 302
    maria.refresh_from_db()
    assert maria.check_password(NEW)


@pytest.mark.parametrize("door", CHANGES)
def test_guesses_at_the_old_password_and_at_a_login_count_together(door: str) -> None:
    browser = session_of()
    fail(2)
    assert [try_change(browser, door) for _ in range(2)] == [200, 200]
    assert fail(1) == [429]
    assert try_change(browser, door, RIGHT) == 429
    page = read(browser.post(door, {"old_password": RIGHT}))
    assert "Try again in 5 minutes" in page.text
    assert page.find("a", href=door)
    wait(5.1)
    assert try_change(browser, door, RIGHT) == 302


@pytest.mark.parametrize("door", CHANGES)
def test_who_remembers_the_old_password_starts_anew(door: str) -> None:
    browser = session_of()
    fail(2)
    assert [try_change(browser, door) for _ in range(2)] == [200, 200]
    assert try_change(browser, door, RIGHT) == 302
    assert not AccessAttempt.objects.exists()
    assert fail(1) == [200]


def test_what_is_tried_while_waiting_does_not_make_the_wait_longer() -> None:
    fail(5)
    wait(4)
    assert fail(30) == [429] * 30
    wait(1.1)
    assert let_in()


def test_the_wait_of_one_does_not_lock_another_person_or_another_address() -> None:
    fail(5)
    assert let_in(address=THERE)
    User.objects.create_user("otto", password=RIGHT)
    assert try_login("otto", RIGHT).status_code == 302


def test_one_address_cannot_keep_the_owner_out_however_often_it_fails() -> None:
    for _ in range(3):
        fail(8)
        wait(4)
        assert let_in(address=THERE)


def test_an_address_that_guesses_at_many_names_has_to_wait() -> None:
    assert [fail(1, f"name-{n}")[0] for n in range(20)] == [200] * 19 + [429]
    assert not let_in()
    assert let_in(address=THERE)


def test_a_name_that_is_guessed_at_from_many_addresses_has_to_wait_everywhere() -> None:
    statuses = [fail(5, address=f"198.51.100.{n}")[-1] for n in range(100, 110)]
    assert statuses == [429] * 10
    assert not let_in(address=THERE)
    User.objects.create_user("otto", password=RIGHT)
    assert try_login("otto", RIGHT, address=THERE).status_code == 302
    wait(5.1)
    assert let_in(address=THERE)


def test_who_logs_in_between_gets_no_more_guesses_at_another() -> None:
    User.objects.create_user("mallory", password=RIGHT)
    for _ in range(4):
        fail(1)
        assert try_login("mallory", RIGHT).status_code == 302
    assert fail(1) == [429]


def test_who_remembers_the_password_starts_anew() -> None:
    for _ in range(3):
        assert fail(4) == [200] * 4
        assert let_in()
    assert not AccessAttempt.objects.exists()


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.9", HERE, True),
        ("", "unix:", True),
    ],
)
def test_addresses_of_one_network_customer_count_together(
    one: str, other: str, *, together: bool
) -> None:
    fail(5, address=one)
    assert let_in(address=other) is not together


def test_a_proxy_that_is_not_named_cannot_choose_an_address_and_one_that_is_may(
    transactional_db: None, launch_web_server: Callable[..., WebServer]
) -> None:
    proxy = "127.0.0.2"
    server = launch_web_server(HITL_BEHIND_TLS_PROXY="1", FORWARDED_ALLOW_IPS=proxy)

    def statuses(source: str) -> list[int]:
        found = []
        with httpx.Client(
            base_url=server.url, transport=httpx.HTTPTransport(local_address=source)
        ) as browser:
            for number in range(6):
                claimed = {"X-Forwarded-For": f"203.0.113.{number}"}
                found.append(post(browser, WRONG, **claimed).status_code)
        return found

    assert statuses("127.0.0.3") == [200, 200, 200, 200, 429, 429]
    assert statuses(proxy) == [200] * 6


def post(browser: httpx.Client, password: str, **headers: str) -> httpx.Response:
    """Log in as a browser does, with the form's token."""
    page = browser.get(DOORS[0], headers=headers)
    token = SimpleCookie(page.headers["Set-Cookie"])["csrftoken"].value
    form = {"username": "maria", "password": password, "csrfmiddlewaretoken": token}
    return browser.post(DOORS[0], data=form, headers=headers)


def test_every_web_process_knows_of_the_failures(
    transactional_db: None, launch_web_server: Callable[..., WebServer]
) -> None:
    one, two = launch_web_server().client, launch_web_server().client
    assert [post(browser, WRONG).status_code for browser in (one, two, one, two)] == [200] * 4
    assert post(one, WRONG).status_code == 429
    assert [post(browser, RIGHT).status_code for browser in (one, two)] == [429, 429]
    wait(5.1)
    assert post(two, RIGHT).status_code == 302


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("door", "may_enter"), [(DOORS[0], True), *((DOORS[1], may) for may in (True, False))]
)
def test_guesses_that_are_made_at_the_same_time_count_like_any_other(
    monkeypatch: pytest.MonkeyPatch, door: str, may_enter: bool
) -> None:
    """Whoever asks for many before the first is answered has no more of them than one by one.

    Not even where a door is closed to the account: no answer tells the right guess from others.
    """
    User.objects.update(is_staff=may_enter, is_superuser=may_enter)

    def guess(password: str) -> int:
        return int(try_login(password=password, at=door).status_code)

    assert right_among_many(monkeypatch, guess) == 429


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", CHANGES)
def test_guesses_at_the_old_password_at_the_same_time_count_like_any_other(
    monkeypatch: pytest.MonkeyPatch, door: str, maria: User
) -> None:
    keys = session_of().cookies

    def guess(password: str) -> int:
        browser = Client(REMOTE_ADDR=HERE)
        browser.cookies = keys
        return try_change(browser, door, password)

    assert right_among_many(monkeypatch, guess) == 429
    monkeypatch.undo()
    maria.refresh_from_db()
    assert maria.check_password(RIGHT)


def right_among_many(monkeypatch: pytest.MonkeyPatch, guess: Callable[[str], int]) -> int:
    """What the right guess is answered, made together with wrong ones and looked at after them."""
    begun, failed = Barrier(9), Event()
    check = User.check_password

    def slowly(user: User, password: str) -> bool:
        begun.wait(20)
        if password == RIGHT:
            failed.wait(20)
        return check(user, password)

    monkeypatch.setattr(User, "check_password", slowly)

    def begin(password: str) -> int:
        try:
            return guess(password)
        finally:
            connection.close()

    with ThreadPoolExecutor(9) as pool:
        right = pool.submit(begin, RIGHT)
        list(pool.map(begin, [WRONG] * 8))
        failed.set()
        return right.result()


@pytest.mark.parametrize("door", DOORS)
def test_the_answer_says_when_to_try_again_and_nothing_of_who_exists(door: str) -> None:
    where = f"{door}?next=/history/"
    pages = []
    for name in ("maria", "nobody-has-this-name"):
        fail(4, name, at=where)
        answer = try_login(name, at=where)
        assert (answer.status_code, answer["Retry-After"]) == (429, "300")
        assert "no-store" in answer["Cache-Control"]
        assert "default-src 'none'" in answer["Content-Security-Policy"]
        assert not answer.cookies.get("sessionid")
        pages.append(answer.content.decode())
        page = read(answer)
        assert "Try again in 5 minutes" in page.text
        assert list(page.faults()) == []
        assert [h.tag for h in page.find("h1")] == ["h1"]
        assert page.find("main", id="content")
        assert page.find("p", role="alert")
        assert page.find("a", href=where)
        for secret in (name, WRONG, HERE):
            assert secret not in pages[-1]
    assert pages[0] == pages[1]


def test_an_unknown_name_a_disabled_account_and_one_without_password_cost_the_same_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[int] = []
    encode = PBKDF2PasswordHasher.encode

    def counting(self: Any, password: str, salt: str, iterations: int | None = None) -> str:
        hashed.append(iterations or self.iterations)
        return encode(self, password, salt, 1)

    hashers = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    with override_settings(PASSWORD_HASHERS=hashers):
        User.objects.create_user("otto", password=RIGHT)
        User.objects.create_user("left", password=RIGHT, is_active=False)
        User.objects.create_user("without")
        monkeypatch.setattr(PBKDF2PasswordHasher, "encode", counting)
        for name in ("otto", "left", "without", "nobody"):
            try_login(name)
    assert len(hashed) == 4
    assert len(set(hashed)) == 1


def test_the_lockout_leaves_a_line_that_names_the_account_and_nothing_that_was_typed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        fail(7)
        fail(7, "my-secret-password")
    found = [r for r in caplog.records if r.name == "hitl_project.logins"]
    assert [(r.levelname, r.getMessage()) for r in found] == [
        ("WARNING", "Too many logins failed; they have to wait")
    ] * 2
    assert [r.__dict__["facts"] for r in found] == [
        {"address": HERE, "account": "maria"},
        {"address": HERE},
    ]
    assert "my-secret-password" not in caplog.text
    assert WRONG not in caplog.text


def test_nothing_is_kept_of_what_was_typed_but_the_name_nor_of_who_logged_in() -> None:
    fail(2, at=f"{DOORS[0]}?next=/approvals/secret/")
    row = AccessAttempt.objects.get()
    assert "secret" not in row.get_data + row.post_data
    assert WRONG not in row.post_data
    browser = session_of()
    for door in CHANGES:
        try_change(browser, door)
    for row in AccessAttempt.objects.all():
        for typed in (WRONG, NEW):
            assert typed not in row.get_data + row.post_data
    let_in(address=THERE)
    assert not AccessLog.objects.exists()
    wait(6)
    let_in(address=THERE)
    assert not AccessAttempt.objects.exists()


def test_the_metrics_count_who_was_refused() -> None:
    labels = {"status": "429", "view": "login", "method": "POST"}
    name = "django_http_responses_total_by_status_view_method_total"
    before = REGISTRY.get_sample_value(name, labels) or 0
    fail(7)
    assert REGISTRY.get_sample_value(name, labels) == before + 3


@pytest.mark.parametrize(
    "command", [["axes_reset_username", "maria"], ["axes_reset_ip", HERE], ["axes_reset"]]
)
def test_a_command_ends_the_wait(command: list[str]) -> None:
    fail(5)
    call_command(*command)
    assert let_in()


@pytest.mark.django_db(transaction=True)
def test_the_applications_role_may_do_all_that_this_takes(postgres_server: Postgres) -> None:
    with as_application(postgres_server):
        assert fail(5) == [200, 200, 200, 200, 429]
        wait(5.1)
        assert let_in()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"HITL_LOGIN_FAILURES": "0"}, "HITL_LOGIN_FAILURES must be from 3 to 100, not '0'."),
        ({"HITL_LOGIN_FAILURES": "many"}, "HITL_LOGIN_FAILURES must be from 3 to 100"),
        ({"HITL_LOGIN_LOCKOUT_MINUTES": "0"}, "HITL_LOGIN_LOCKOUT_MINUTES must be from 1 to 60"),
        ({"HITL_LOGIN_LOCKOUT_MINUTES": "-5"}, "HITL_LOGIN_LOCKOUT_MINUTES must be from 1 to 60"),
    ],
)
def test_a_wrong_limit_stops_the_boot_with_a_sentence(
    changes: dict[str, str], sentence: str
) -> None:
    assert sentence in complaint(**changes)
