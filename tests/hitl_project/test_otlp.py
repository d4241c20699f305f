"""Spans go to the collector that the environment names, at an address that is permitted."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from pytest_django import Settings

from hitl_project.otlp import open_provider
from tests.hitl_project.collector import collecting
from tests.integrations.test_addresses import allow, listening, url

ENDPOINTS = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "/v1/traces",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "/",
}


@pytest.fixture(params=ENDPOINTS)
def endpoint(request: pytest.FixtureRequest) -> str:
    """Each variable that names a collector."""
    return str(request.param)


def send(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    """Send a span to the collector at an address, and wait for what comes of it."""
    monkeypatch.setenv(name, address)
    provider: TracerProvider = open_provider()
    provider.get_tracer(__name__).start_span("cast_vote").end()
    provider.shutdown()


def test_a_collector_that_is_allowed_gets_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(settings, "127.0.0.1/32")
    with collecting() as collector:
        send(monkeypatch, "OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        assert [span.name for span in collector.spans] == ["cast_vote"]


def test_a_collector_at_a_refused_address_is_not_called_and_a_line_names_the_setting(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    endpoint: str,
) -> None:
    allow(settings, "127.0.0.1/32")
    with listening("127.0.0.2") as (port, never):
        send(monkeypatch, endpoint, url("127.0.0.2", port))
    assert never == []
    assert "127.0.0.2 is no public address, and HITL_PRIVATE_NETWORKS does not" in caplog.text


def test_a_collector_that_leads_elsewhere_is_not_followed_and_a_line_says_so(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    endpoint: str,
) -> None:
    allow(settings, "127.0.0.1/32")
    with (
        listening() as (there, never),
        listening(leads_to=url("127.0.0.1", there)) as (here, asked),
    ):
        send(monkeypatch, endpoint, url("127.0.0.1", here))
    assert ([path for path, _ in asked], never) == ([ENDPOINTS[endpoint]], [])
    assert "127.0.0.1 answered with a redirect, and none is followed" in caplog.text
