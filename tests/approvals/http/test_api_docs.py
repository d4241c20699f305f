"""The description of the API and its page, which loads nothing from elsewhere."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.approvals.http.gateway import Api, People
from tests.browser import chromium
from tests.web_server import WebServer


def test_the_description_names_every_call_and_how_to_authenticate(api: Api, people: People) -> None:
    answer = api.call("", "GET", "/openapi.json")
    assert answer.status_code == 200
    described = answer.json()
    calls = {
        f"{method.upper()} {path}" for path, found in described["paths"].items() for method in found
    }
    assert {
        "POST /api/approvals",
        "GET /api/approvals",
        "GET /api/approvals/{reference}",
        "POST /api/approvals/{reference}/approve",
        "POST /api/approvals/{reference}/reject",
        "POST /api/approvals/{reference}/cancel",
    } <= calls
    assert described["components"]["securitySchemes"] == {
        "BearerToken": {"type": "http", "scheme": "bearer"}
    }
    opening = described["paths"]["/api/approvals"]["post"]
    assert {"200", "201", "401", "403", "409", "422"} <= set(opening["responses"])


def test_the_description_is_made_once_for_all_who_ask(
    api: Api, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask for it, and making it takes a fifth of a second."""
    first = api.call("", "GET", "/openapi.json").json()

    def make_anew(**_: object) -> None:
        raise AssertionError("It is made once more.")

    monkeypatch.setattr("ninja.main.get_schema", make_anew)
    assert api.call("", "GET", "/openapi.json").json() == first


def test_every_answer_leads_to_calls_that_there_are(api: Api, people: People) -> None:
    described = api.call("", "GET", "/openapi.json").json()
    calls = {
        call["operationId"]: {parameter["name"] for parameter in call.get("parameters", ())}
        for found in described["paths"].values()
        for call in found.values()
    }
    links = [
        link
        for found in described["paths"].values()
        for call in found.values()
        for answer in call["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) == 6
    for link in links:
        assert set(link["parameters"]) <= calls[link["operationId"]]


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of a real browser."""
    with chromium() as browser:
        yield browser.new_page()


def test_the_page_shows_every_call_in_a_browser_under_the_strict_policy(
    web_server: WebServer, committed_people: People, page: Page
) -> None:
    complaints: list[str] = []
    addresses: list[str] = []
    page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: addresses.append(request.url))
    response = page.goto(f"{web_server.url}/api/docs")
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    page.get_by_text("Ask whether an operation may run").first.wait_for(timeout=30_000)
    shown = page.locator("#swagger-ui").inner_text()
    assert "/api/approvals/{reference}/reject" in shown
    page.locator("button.opblock-summary-control").first.click()
    page.get_by_role("button", name="Try it out").wait_for(timeout=30_000)
    assert complaints == []
    assert [a for a in addresses if not a.startswith((web_server.url, "data:", "blob:"))] == []
