"""Single sign-on as a person sees it: the way in, the way out of both, and what fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from playwright.sync_api import Browser, expect

from hitl_project.embedded import OWNER, Postgres
from tests.browser import Complaints
from tests.e2e.axe import barriers
from tests.openid_provider import CLIENT_ID, CLIENT_SECRET
from tests.openid_provider.process import OpenIdProvider
from tests.web_server import WebServer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[OpenIdProvider]:
    """The provider's process."""
    started = OpenIdProvider.start(tmp_path / "provider.log")
    yield started
    started.stop()


@pytest.fixture
def server(
    provider: OpenIdProvider, postgres_server: Postgres, tmp_path: Path
) -> Iterator[WebServer]:
    """A gateway that trusts the provider, which knows Ada."""
    started = WebServer.start(
        postgres_server.url(OWNER, str(connection.settings_dict["NAME"])),
        tmp_path / "web.log",
        DJANGO_SETTINGS_MODULE="tests.approvals.http.server_settings",
        HITL_OIDC_ISSUER=provider.issuer,
        HITL_OIDC_CLIENT_ID=CLIENT_ID,
        HITL_OIDC_CLIENT_SECRET=CLIENT_SECRET,
        HITL_OIDC_NAME="Example Login",
    )
    callback = f"{started.url}/accounts/sign-on/callback/"
    provider.tell(callback, {"ada": {"preferred_username": "ada"}})
    yield started
    started.stop()


@pytest.mark.parametrize("width", [390, 1400])
def test_a_person_comes_in_by_the_provider_and_leaves_both(
    browser: Browser, provider: OpenIdProvider, server: WebServer, width: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    page, complaints = context.new_page(), Complaints()
    complaints.follow(page)
    context.request.get(f"{provider.url}/login/?as=ada")
    found = {}
    page.goto(server.url)
    found["login"] = barriers(page)
    page.get_by_role("link", name="Log in with Example Login").click()
    page.get_by_role("heading", name="Queue").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="You are logged out").wait_for()
    found["logged out"] = barriers(page)
    page.get_by_role("link", name="Log out of Example Login").click()
    page.locator("[name=allow]").click()
    led = context.request.get(f"{server.url}/accounts/sign-on/", max_redirects=0)
    asked = context.request.get(led.headers["location"], max_redirects=0)
    assert asked.headers["location"].startswith("/login/")
    page.goto(f"{server.url}/accounts/sign-on/callback/?state=forged&code=1")
    expect(page.get_by_role("alert")).to_contain_text("begun in another browser")
    found["failed"] = barriers(page)
    context.close()
    assert {name: said for name, said in found.items() if said} == {}
    # The browser itself writes the 400 that was asked for to its console.
    assert [text for text in complaints.sentences if "Failed to load resource" not in text] == []
