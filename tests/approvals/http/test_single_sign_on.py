"""A login by OpenID Connect opens the account of whom a real provider vouches for, and no other."""

import json
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Barrier, Event, Semaphore
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from authlib.integrations.django_client import OAuthError
from django.conf import settings as configured
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings
from requests import JSONDecodeError, TooManyRedirects

from approvals.core.lifecycle import Actor, Via
from approvals.errors import NotAllowed
from approvals.models import AuditEntry, ProviderIdentity
from approvals.services import Person, admit_person
from hitl_project.embedded import Postgres
from hitl_project.logs import JsonLines
from hitl_project.provider import Provider
from hitl_project.single_sign_on import BACKEND, PROVIDER_SECONDS, _client
from integrations.addresses import RefusedAddress
from tests.application_role import as_application
from tests.approvals.pages import read
from tests.integrations.test_addresses import allow, listening, url
from tests.openid_provider import CLIENT_SECRET
from tests.openid_provider.process import OpenIdProvider
from tests.sandbox_process import PLAIN_HTTP
from tests.web_server import WebServer

pytestmark = pytest.mark.django_db

BEGIN, CALLBACK, PASSWORDS = "/accounts/sign-on/", "/accounts/sign-on/callback/", "/accounts/login/"
ADA = {
    "preferred_username": "ada",
    "given_name": "Ada",
    "family_name": "Lovelace",
    "email": "ada@example.com",
    "email_verified": True,
    "groups": ["sre", "cooks"],
}


PROVIDER = Provider(
    issuer="https://id.example.com",
    client_id="gateway",
    client_secret="",
    name="Elsewhere",
    scopes="openid",
    algorithm="RS256",
    groups_claim="groups",
    groups=(),
)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """The provider's process."""
    provider = OpenIdProvider.start(tmp_path_factory.mktemp("provider") / "log")
    yield provider
    provider.stop()


@pytest.fixture
def provider(process: OpenIdProvider, settings: Settings) -> OpenIdProvider:
    """The provider, which the gateway trusts and which knows Ada."""
    trust(settings, process.settings())
    know(process)
    return process


def trust(settings: Settings, provider: Provider | None, *, passwords: bool = True) -> None:
    """Configure the gateway as the environment would."""
    settings.HITL_OIDC, settings.HITL_PASSWORD_LOGIN = provider, passwords
    settings.AUTHENTICATION_BACKENDS = [
        "axes.backends.AxesStandaloneBackend",
        *(["django.contrib.auth.backends.ModelBackend"] if passwords else []),
        *([BACKEND] if provider else []),
    ]


def know(provider: OpenIdProvider, *, lies: Any = None, **more: Any) -> None:
    """Let the provider know Ada, with these claims changed."""
    registered = {name: more.pop(name) for name in ("algorithm", "consents") if name in more}
    callback = f"{configured.PUBLIC_URL}{CALLBACK}"
    provider.tell(callback, {"ada": {**ADA, **more}}, lies=lies, **registered)


def led_to(provider: OpenIdProvider, browser: Client, wanted: str = "", **how: Any) -> str:
    """Where the provider leads the browser of Ada, who wants to log in."""
    begun = browser.get(BEGIN, {"next": wanted} if wanted else {})
    assert begun.status_code == 302, begun.content.decode()
    address = provider.answer("ada", begun["Location"], **how)
    return address.removeprefix(configured.PUBLIC_URL)


def sign_on(provider: OpenIdProvider, browser: Client, wanted: str = "") -> Any:
    """What Ada's login is answered."""
    return browser.get(led_to(provider, browser, wanted))


def said(response: Any) -> str:
    """The sentence of a page that says why nobody was logged in."""
    assert not response.wsgi_request.user.is_authenticated
    return str(re.findall(r'role="alert">([^<]*)<', response.content.decode())[0])


def logged_in(browser: Client) -> bool:
    """Whether the browser opens the queue."""
    return browser.get("/").status_code == 200


def groups_of(name: str) -> set[str]:
    """The groups of an account."""
    return set(User.objects.get(username=name).groups.values_list("name", flat=True))


def entries() -> list[AuditEntry]:
    """What the audit log says of accounts."""
    return list(AuditEntry.objects.filter(name="approver.saved").order_by("pk"))


def test_somebody_new_gets_an_account_without_a_password_in_the_groups_that_are_mapped(
    provider: OpenIdProvider,
) -> None:
    browser = Client()
    answer = sign_on(provider, browser)
    assert (answer.status_code, answer["Location"], logged_in(browser)) == (302, "/", True)
    ada = User.objects.get()
    assert (ada.username, ada.get_full_name(), ada.email) == ("ada", "Ada Lovelace", ADA["email"])
    assert groups_of("ada") == {"platform"}
    assert (ada.is_staff, ada.is_superuser, ada.has_usable_password()) == (False, False, False)
    (entry,) = entries()
    assert (entry.actor, entry.via) == ("single sign-on", "sign_on")
    assert entry.data["groups"] == ["platform"]
    assert entry.data["identities"] == [f"subject-ada at {provider.issuer}"]


def test_the_request_for_a_login_is_bound_to_this_browser_and_holds_no_secret(
    provider: OpenIdProvider,
) -> None:
    asked = {
        name: values[0]
        for name, values in parse_qs(urlsplit(Client().get(BEGIN)["Location"]).query).items()
    }
    assert asked["code_challenge_method"] == "S256"
    assert all(len(asked[name]) >= 20 for name in ("code_challenge", "state", "nonce"))
    assert asked["redirect_uri"] == f"{configured.PUBLIC_URL}{CALLBACK}"
    assert asked["response_type"] == "code"
    assert CLIENT_SECRET not in str(asked)


def test_the_page_that_somebody_wanted_is_shown_and_no_other_site(
    provider: OpenIdProvider,
) -> None:
    browser = Client()
    assert sign_on(provider, browser, "/history/?q=x")["Location"] == "/history/?q=x"
    for elsewhere in ("https://evil.example.com/", "//evil.example.com", "javascript:alert(1)"):
        assert sign_on(provider, browser, elsewhere)["Location"] == "/"


def test_groups_are_taken_anew_at_each_login_and_a_change_is_recorded(
    provider: OpenIdProvider,
) -> None:
    sign_on(provider, Client())
    sign_on(provider, Client())
    assert len(entries()) == 1
    User.objects.get().groups.add(Group.objects.create(name="developers"))
    know(provider, groups=["releases"])
    sign_on(provider, Client())
    assert groups_of("ada") == {"release-managers", "developers"}
    know(provider, groups=None)
    assert "cannot trust" in said(sign_on(provider, Client()))
    know(provider, groups=[])
    sign_on(provider, Client())
    assert groups_of("ada") == {"developers"}
    assert [(entry.data["groups"], entry.data["changed"]) for entry in entries()[1:]] == [
        (["developers", "release-managers"], ["groups"]),
        (["developers"], ["groups"]),
    ]


def test_no_claim_makes_a_superuser_a_member_of_staff_or_an_operator(
    provider: OpenIdProvider, settings: Settings
) -> None:
    claimed = {"is_staff": True, "is_superuser": True, "groups": ["operators", "admins", "x"]}
    know(provider, **claimed)
    trust(settings, provider.settings(groups=(("x", "operators"),)))
    sign_on(provider, Client())
    ada = User.objects.get()
    assert (ada.is_staff, ada.is_superuser, groups_of("ada")) == (False, False, set())


def test_a_person_is_the_issuers_subject_whatever_else_they_claim(
    provider: OpenIdProvider,
) -> None:
    """Who renames themselves to an account that is there does not become its owner."""
    maria = User.objects.create_user("maria", email="maria@example.com", password="hers")
    sign_on(provider, Client())
    know(provider, preferred_username="maria", email="maria@example.com")
    browser = Client()
    sign_on(provider, browser)
    assert browser.get("/").context["user"].username == "ada"
    assert User.objects.get(username="ada").email == "ada@example.com"
    ProviderIdentity.objects.all().delete()
    for name in ("maria", "Maria"):
        know(provider, preferred_username=name, email="maria@example.com")
        refused = sign_on(provider, Client())
        assert refused.status_code == 403
        assert "not linked to this login" in said(refused)
    assert not ProviderIdentity.objects.exists()
    maria.refresh_from_db()
    assert maria.check_password("hers")


def test_the_command_line_links_an_account_that_is_there(
    provider: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    User.objects.create_superuser("ada", email="old@example.com")
    sign_on(provider, Client())
    subject = next(
        vars(line)["facts"]["subject"] for line in caplog.records if "facts" in vars(line)
    )
    call_command("create_approver", "ada", "--email=ada@example.com", f"--oidc-subject={subject}")
    browser = Client()
    sign_on(provider, browser)
    assert browser.get("/").context["user"].is_superuser
    with pytest.raises(CommandError, match="linked to another account"):
        call_command("create_approver", "bob", "--email=b@example.com", f"--oidc-subject={subject}")


def test_who_took_a_name_first_is_not_made_an_approver_by_it(provider: OpenIdProvider) -> None:
    """A name at the provider is its person's choice: it may be the one of an approver to be."""
    browser = Client()
    sign_on(provider, browser)
    given = ["create_approver", "ada", "--email=ada@example.com", "--group=release-managers"]
    with pytest.raises(CommandError, match="logs in as subject-ada at"):
        call_command(*given)
    assert groups_of("ada") == {"platform"}
    call_command(*given, "--oidc-subject=subject-ada")
    assert groups_of("ada") == {"platform", "release-managers"}
    assert logged_in(browser)
    # Whoever was the account before is it no longer, not even where they are logged in.
    call_command(*given, "--oidc-subject=the-other-ada")
    assert not logged_in(browser)
    assert "not linked to this login" in said(sign_on(provider, Client()))


def test_an_account_that_was_switched_off_stays_off(provider: OpenIdProvider) -> None:
    browser = Client()
    sign_on(provider, browser)
    User.objects.update(is_active=False)
    assert not logged_in(browser)
    refused = sign_on(provider, browser)
    assert (refused.status_code, said(refused)) == (403, "Your account here is switched off.")
    assert not User.objects.get().is_active


@pytest.mark.parametrize("verified", [False, None, "true"])
def test_an_email_address_that_the_provider_did_not_check_is_not_kept(
    provider: OpenIdProvider, verified: object
) -> None:
    know(provider, email_verified=verified)
    sign_on(provider, Client())
    assert User.objects.get().email == ""


def test_a_name_that_only_looks_like_an_accounts_is_not_taken(provider: OpenIdProvider) -> None:
    know(provider, preferred_username="\N{CYRILLIC SMALL LETTER A}da")
    sign_on(provider, Client())
    assert User.objects.get().username == "ada@example.com"


def test_a_new_login_gets_a_new_session_with_the_bounds_of_any_other(
    provider: OpenIdProvider,
) -> None:
    browser = Client()
    address = led_to(provider, browser)
    before = browser.cookies["sessionid"].value
    browser.get(address)
    session = Session.objects.get(session_key=browser.cookies["sessionid"].value)
    assert not Session.objects.filter(session_key=before).exists()
    ends = session.expire_date - timezone.now()
    assert abs(ends - timedelta(seconds=configured.SESSION_COOKIE_AGE)) < timedelta(minutes=1)
    kept = session.get_decoded()
    assert "used_at" in kept
    assert not [name for name in kept if "oidc" in name or "sign_on" in name]
    browser.post("/accounts/logout/")
    assert not logged_in(browser)


def test_a_login_cannot_be_used_twice_or_in_another_browser(provider: OpenIdProvider) -> None:
    mine, other = Client(), Client()
    address = led_to(provider, mine)
    for browser in (other, Client()):
        assert browser.get(address).status_code == 400
    assert mine.get(address).status_code == 302
    again = mine.get(address)
    assert again.status_code == 400
    code = parse_qs(urlsplit(address).query)["code"][0]
    # With a state of their own the provider knows the code, and that it is not theirs.
    for browser in (other, Client()):
        fresh = led_to(provider, browser)
        stolen = re.sub(r"code=[^&]*", f"code={code}", fresh)
        refused = browser.get(stolen)
        assert (refused.status_code, logged_in(browser)) == (400, False)


def test_a_code_of_another_browser_is_refused_before_anybody_used_it(
    provider: OpenIdProvider,
) -> None:
    """A code is worth nothing without the verifier that its browser's session holds."""
    code = parse_qs(urlsplit(led_to(provider, Client())).query)["code"][0]
    thief = Client()
    address = re.sub(r"code=[^&]*", f"code={code}", led_to(provider, thief))
    assert (thief.get(address).status_code, logged_in(thief)) == (400, False)


LATER = 10**10


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"iss": "https://another.example.com"}, {"error": "invalid_claim", "claim": "iss"}),
        ({"aud": "another-application"}, {"error": "invalid_claim", "claim": "aud"}),
        (
            {"aud": ["another-application"], "azp": "gateway"},
            {"error": "invalid_claim", "claim": "aud"},
        ),
        ({"nonce": "of-another-login"}, {"error": "invalid_claim", "claim": "nonce"}),
        ({"exp": 1_700_000_000}, {"error": "expired_token", "claim": "exp"}),
        ({"iat": LATER}, {"claim": "iat"}),
        ({"sub": "somebody-else"}, {"error": "wrong_subject"}),
        ({"sub": ""}, {"error": "wrong_subject"}),
        ({"sub": 7}, {}),
        ({"groups": {"sre": True}}, {"error": "wrong_groups"}),
    ],
    ids=str,
)
def test_a_signed_token_that_is_not_for_this_login_is_refused(
    provider: OpenIdProvider,
    caplog: pytest.LogCaptureFixture,
    lie: dict[str, Any],
    why: dict[str, str],
) -> None:
    know(provider, lies=lie)
    browser = Client()
    refused = sign_on(provider, browser)
    assert (refused.status_code, logged_in(browser)) == (502, False)
    assert not User.objects.exists()
    (facts,) = [vars(line)["facts"] for line in caplog.records if "facts" in vars(line)]
    assert facts.items() >= why.items()


def test_a_token_signed_with_the_shared_secret_is_refused(provider: OpenIdProvider) -> None:
    know(provider, algorithm="HS256")
    assert sign_on(provider, Client()).status_code == 502


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_secret": "not the one that is shared with the provider"},
        {"algorithm": "ES256"},
    ],
    ids=str,
)
def test_a_wrong_configuration_is_a_page_and_a_line_without_a_secret(
    provider: OpenIdProvider,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    wrong: dict[str, str],
) -> None:
    trust(settings, provider.settings(**wrong))
    browser = Client()
    address = led_to(provider, browser)
    # Not what the test's own client says of the provider's part.
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    refused = browser.get(address)
    assert refused.status_code == 502
    assert "cannot be reached, or gave an answer that the gateway cannot trust" in said(refused)
    told = " ".join(map(JsonLines().format, caplog.records))
    assert "could not be used" in told
    query = parse_qs(urlsplit(address).query)
    for secret in (wrong.get("client_secret", CLIENT_SECRET), *query["code"]):
        assert secret not in told
        assert secret not in refused.content.decode()


def test_a_provider_by_another_name_or_that_is_down_is_a_page(
    provider: OpenIdProvider, settings: Settings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"http://127.0.0.1:{free.getsockname()[1]}"
    for issuer in (
        f"{provider.issuer}/",
        provider.issuer.replace("127.0.0.1", "localhost"),
        closed,
    ):
        trust(settings, provider.settings(issuer=issuer))
        answer = Client().get(BEGIN)
        assert answer.status_code == 502
        assert "Example Login cannot be reached" in said(answer)


def test_whom_the_provider_refuses_is_told_so(provider: OpenIdProvider) -> None:
    know(provider, consents=False)
    browser = Client()
    address = led_to(provider, browser, denies=True)
    assert "error=access_denied" in address
    refused = browser.get(address)
    assert (refused.status_code, said(refused)) == (403, "Example Login did not let you in.")
    assert browser.get(address).status_code == 400


@pytest.mark.parametrize(
    "query", ["", "?code=x&state=y", "?error=access_denied", "?error=<b>&state="]
)
def test_an_answer_that_nobody_asked_for_is_refused(provider: OpenIdProvider, query: str) -> None:
    refused = Client().get(f"{CALLBACK}{query}")
    assert refused.status_code == 400
    assert "<b>" not in refused.content.decode()


def test_without_a_provider_there_is_nothing_of_it(settings: Settings) -> None:
    trust(settings, None)
    assert [Client().get(at).status_code for at in (BEGIN, CALLBACK)] == [404, 404]
    assert "sign-on" not in Client().get(PASSWORDS).content.decode()
    assert Client().get("/admin/login/").status_code == 200


def test_a_login_ends_when_the_provider_is_taken_away(
    provider: OpenIdProvider, settings: Settings
) -> None:
    browser = Client()
    sign_on(provider, browser)
    trust(settings, None)
    assert not logged_in(browser)


def test_the_login_page_offers_both_and_the_admin_has_the_same_door(
    provider: OpenIdProvider,
) -> None:
    page = read(Client().get(f"{PASSWORDS}?next=/history/"))
    assert f"{BEGIN}?next=/history/" in page.links()
    assert "Log in with Example Login" in page.text
    assert page.find("input", name="password")
    assert not page.find("input", autofocus="")
    assert list(page.faults()) == []
    led = Client().get("/admin/login/?next=/admin/approvals/vote/")
    assert led["Location"] == f"{PASSWORDS}?next=/admin/approvals/vote/"
    User.objects.create_superuser("root", password="correct horse battery")
    given = {"username": "root", "password": "correct horse battery", "next": "/admin/"}
    browser = Client()
    assert browser.post(PASSWORDS, given)["Location"] == "/admin/"
    assert browser.get("/admin/").status_code == 200


@pytest.mark.parametrize("door", ["/accounts/logout/", "/admin/logout/"])
def test_who_logs_out_is_led_to_where_the_provider_ends_its_own_session(
    provider: OpenIdProvider, door: str
) -> None:
    browser = Client()
    sign_on(provider, browser)
    User.objects.update(is_staff=True)
    page = read(browser.post(door))
    assert not logged_in(browser)
    assert list(page.faults()) == []
    (address,) = [link for link in page.links() if link.startswith(provider.url)]
    with httpx.Client(base_url=provider.url, verify=PLAIN_HTTP) as there:
        there.get("/login/", params={"as": "ada"}).raise_for_status()
        begun = browser.get(BEGIN)["Location"]
        assert there.get(begun).headers["Location"].startswith(configured.PUBLIC_URL)
        asked = there.get(address)
        given = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', asked.text))
        there.post(address, data={**given, "allow": "Log out"})
        assert there.get(begun).headers["Location"].startswith("/login/")


def test_who_logged_in_by_password_or_at_a_provider_without_a_logout_is_logged_out_here(
    provider: OpenIdProvider, settings: Settings
) -> None:
    by_password, by_provider = Client(), Client()
    by_password.force_login(User.objects.create_user("ben"), configured.AUTHENTICATION_BACKENDS[1])
    trust(settings, provider.settings(name="Without a logout"))
    metadata = _client(settings.HITL_OIDC).load_server_metadata()
    del metadata["end_session_endpoint"]
    sign_on(provider, by_provider)
    for browser in (by_password, by_provider):
        assert logged_in(browser)
        assert browser.post("/accounts/logout/")["Location"] == PASSWORDS
        assert not logged_in(browser)


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri", "end_session_endpoint"])
def test_a_provider_that_is_reached_by_https_may_name_nothing_that_is_not(name: str) -> None:
    issuer = "https://id.example.com"
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint")
    told = {"issuer": issuer, **{each: f"{issuer}/{each}" for each in names}, "_loaded_at": 1}
    client = _client(PROVIDER)
    client.server_metadata = {**told, name: f"http://id.example.com/{name}"}
    with pytest.raises(OAuthError, match="insecure_address"):
        client.load_server_metadata()
    client.server_metadata = told
    assert client.load_server_metadata()["token_endpoint"] == f"{issuer}/token_endpoint"


CALLS: dict[str, Callable[[Any], object]] = {
    "metadata": lambda client: client.load_server_metadata(),
    "token_endpoint": lambda client: client.fetch_access_token(code="x"),
    "jwks_uri": lambda client: client.fetch_jwk_set(),
    "userinfo_endpoint": lambda client: client.userinfo(
        token={"access_token": "x", "token_type": "Bearer"}
    ),
}


def naming(call: str, address: str, **more: object) -> Any:
    """The gateway's client of a provider that names this address for a call."""
    issuer = address.rstrip("/")
    client = _client(replace(PROVIDER, issuer=issuer))
    client.server_metadata = {}
    if call != "metadata":
        client.server_metadata = {"issuer": issuer, call: address, "_loaded_at": 1, **more}
    return client


@pytest.mark.parametrize("call", CALLS)
def test_no_call_to_the_provider_is_led_elsewhere(call: str) -> None:
    with (
        listening() as (there, never),
        listening(leads_to=url("127.0.0.1", there)) as (here, asked),
        pytest.raises(TooManyRedirects),
    ):
        CALLS[call](naming(call, url("127.0.0.1", here)))
    assert (len(asked), never) == (1, [])


@pytest.mark.parametrize("call", CALLS)
def test_the_provider_is_called_at_no_address_that_is_neither_public_nor_allowed(
    settings: Settings, call: str
) -> None:
    allow(settings, "127.0.0.1/32")
    refused = pytest.raises(RefusedAddress, match=r"^127\.0\.0\.2 is no public address")
    with listening("127.0.0.2") as (port, never), refused:
        CALLS[call](naming(call, url("127.0.0.2", port)))
    assert never == []


def test_what_the_provider_says_of_itself_changes_nothing_else_of_the_calls() -> None:
    """Authlib hands a session whatever it finds there, such as that certificates do not count."""
    said = {"verify": False, "proxies": {"http": "http://127.0.0.1:9"}, "default_timeout": 3600}
    with listening() as (port, asked):
        client = naming("userinfo_endpoint", url("127.0.0.1", port), **said)
        with pytest.raises(JSONDecodeError):
            CALLS["userinfo_endpoint"](client)
    assert len(asked) == 1
    session = client._get_oauth_client(**said)  # noqa: SLF001 - what a call is made by
    assert (session.verify, session.default_timeout) == (True, PROVIDER_SECONDS)


def test_a_provider_at_a_refused_address_is_a_page_and_a_line_that_names_the_setting(
    provider: OpenIdProvider, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    allow(settings)
    # What it said of itself before.
    _client.cache_clear()
    refused = Client().get(BEGIN)
    assert refused.status_code == 502
    assert "127.0.0.1" not in said(refused)
    (facts,) = [vars(line)["facts"] for line in caplog.records if "facts" in vars(line)]
    assert facts["fault"] == "RefusedAddress"
    assert "127.0.0.1 is no public address, and HITL_PRIVATE_NETWORKS" in facts["reason"]


def test_passwords_can_be_switched_off_at_every_door(
    provider: OpenIdProvider, settings: Settings
) -> None:
    User.objects.create_superuser("root", password="correct horse battery")
    given = {"username": "root", "password": "correct horse battery"}
    before = Client()
    before.post(PASSWORDS, given)
    assert logged_in(before)
    trust(settings, provider.settings(), passwords=False)
    page = read(Client().get(PASSWORDS))
    assert not page.find("input", name="password")
    assert BEGIN in page.links()
    browser = Client()
    assert browser.post(PASSWORDS, given)["Location"] == PASSWORDS
    assert browser.post("/admin/login/", given).status_code == 302
    for path in ("accounts/password_reset", "accounts/password_change", "admin/password_change"):
        assert browser.get(f"/{path}/").status_code == 404
    assert not logged_in(browser)
    assert not logged_in(before)
    sign_on(provider, browser)
    assert logged_in(browser)
    staff = Client()
    staff.force_login(User.objects.get(username="root"), BACKEND)
    assert "/admin/password_change/" not in read(staff.get("/admin/")).links()
    trust(settings, provider.settings())
    assert "/admin/password_change/" in read(staff.get("/admin/")).links()


def test_a_locked_password_keeps_nobody_from_signing_on(provider: OpenIdProvider) -> None:
    browser = Client()
    sign_on(provider, browser)
    for _ in range(6):
        last = Client().post(PASSWORDS, {"username": "ada", "password": "wrong"})
    assert last.status_code == 429
    assert "You can log in with Example Login meanwhile" in read(last).text
    again = Client()
    sign_on(provider, again)
    assert logged_in(again)


def test_only_single_sign_on_says_who_logged_in(db: None) -> None:
    person = Person(issuer="https://id.example.com", subject="1", name="ada")
    for via in set(Via) - {Via.SIGN_ON}:
        with pytest.raises(NotAllowed):
            admit_person(person, governed=(), actor=Actor(name="x", via=via, operator=True))
    assert not User.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_first_logins_in_two_tabs_at_once_are_one_account() -> None:
    both = Barrier(2, timeout=20)

    def first_login(number: int) -> str:
        try:
            person = Person(issuer="https://id.example.com", subject=str(number), name=f"p{number}")
            both.wait()
            return admit_person(person, governed=()).username
        finally:
            connection.close()

    numbers = [number // 2 for number in range(24)]
    with ThreadPoolExecutor(2) as tabs:
        assert list(tabs.map(first_login, numbers)) == [f"p{number}" for number in numbers]
    assert User.objects.count() == ProviderIdentity.objects.count() == len(entries()) == 12


@pytest.mark.django_db(transaction=True)
def test_the_applications_own_role_of_the_database_suffices(
    provider: OpenIdProvider, postgres_server: Postgres
) -> None:
    with as_application(postgres_server):
        browser = Client()
        sign_on(provider, browser)
        assert logged_in(browser)


@pytest.mark.django_db(transaction=True)
def test_a_gateway_that_its_environment_alone_configures_logs_in(
    process: OpenIdProvider, launch_web_server: Callable[..., WebServer]
) -> None:
    server = launch_web_server(
        HITL_OIDC_ISSUER=process.issuer,
        HITL_OIDC_CLIENT_ID="gateway",
        HITL_OIDC_CLIENT_SECRET=CLIENT_SECRET,
        HITL_OIDC_NAME="Example Login",
        HITL_OIDC_GROUPS="sre=platform; cooks=kitchen",
        HITL_PASSWORD_LOGIN="0",
        HITL_LOG_LEVEL="DEBUG",
    )
    process.tell(f"{server.url}{CALLBACK}", {"ada": ADA})
    with httpx.Client(base_url=server.url, verify=PLAIN_HTTP) as browser:
        assert "Log in with Example Login" in browser.get(PASSWORDS).text
        begun = browser.get(BEGIN).headers["Location"]
        answer = browser.get(process.answer("ada", begun))
        assert (answer.status_code, answer.headers["Location"]) == (302, "/")
        assert browser.get("/").status_code == 200
    assert groups_of("ada") == {"platform", "kitchen"}
    log = server.log.read_text()
    code = parse_qs(answer.request.url.query.decode())["code"][0]
    assert [secret for secret in (CLIENT_SECRET, code, "code_verifier") if secret in log] == []


class Slow(BaseHTTPRequestHandler):
    """A provider that says what it is, at once or when it is let, and gives no token before."""

    tells = True
    asked = Semaphore(0)
    answers = Event()

    def do_GET(self) -> None:
        """Say what it is."""
        if not self.tells:
            self._hang()
        issuer = f"http://{self.headers['Host']}"
        told = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(told).encode())

    def do_POST(self) -> None:
        """Give no token."""
        self._hang()

    def _hang(self) -> None:
        self.asked.release()
        self.answers.wait(30)

    def log_message(self, *_: object) -> None:
        """Say nothing of each call."""


class Crowded(ThreadingHTTPServer):
    """A server for many who come at once: past its backlog they would try again a second later."""

    request_queue_size = 64


@pytest.mark.parametrize("step", ["begin", "finish", "logout"])
def test_who_waits_for_the_provider_keeps_the_database_from_nobody(
    transactional_db: None, launch_web_server: Callable[..., WebServer], step: str
) -> None:
    """A web server has 20 connections, and people who all try again are more."""
    Slow.tells, Slow.asked, Slow.answers = step == "finish", Semaphore(0), Event()
    many = 25
    sessions = ["of an earlier login, which is over"] * many
    if step == "logout":
        browsers = [Client() for _ in sessions]
        account = User.objects.create_user("ada")
        for browser in browsers:
            browser.force_login(account, BACKEND)
        sessions = [browser.cookies["sessionid"].value for browser in browsers]
    with Crowded(("127.0.0.1", 0), Slow) as slow, ThreadPoolExecutor(many + 1) as pool:
        pool.submit(slow.serve_forever)
        server = launch_web_server(
            HITL_OIDC_ISSUER=f"http://127.0.0.1:{slow.server_address[1]}",
            HITL_OIDC_CLIENT_ID="gateway",
            HITL_OIDC_CLIENT_SECRET=CLIENT_SECRET,
        )

        def ask(session: str) -> None:
            with httpx.Client(base_url=server.url, verify=PLAIN_HTTP, timeout=30) as browser:
                browser.cookies["sessionid"] = session
                if step == "logout":
                    browser.cookies["csrftoken"] = "t" * 32
                    browser.post("/accounts/logout/", headers={"X-CSRFToken": "t" * 32})
                    return
                address = BEGIN
                if step == "finish":
                    led = browser.get(BEGIN).headers["Location"]
                    state = parse_qs(urlsplit(led).query)["state"][0]
                    address = f"{CALLBACK}?code=x&state={state}"
                browser.get(address)

        waiting = [pool.submit(ask, session) for session in sessions]
        ends = time.monotonic() + 8
        reached = [Slow.asked.acquire(timeout=max(0, ends - time.monotonic())) for _ in waiting]
        Slow.answers.set()
        slow.shutdown()
    assert all(reached)
