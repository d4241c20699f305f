"""`/metrics` may be limited to who has a token or comes from a network."""

from collections.abc import Callable, Mapping
from ipaddress import ip_network

import httpx
import pytest
from django.test import Client
from pytest_django import Settings

from tests.hitl_project.test_settings import complaint
from tests.web_server import WebServer

# Most of these carry no mark for a database: a query would fail them.


def answer(address: str = "203.0.113.9", **headers: str) -> tuple[int, Mapping[str, str]]:
    """The status and headers that somebody from an address gets."""
    response = Client(REMOTE_ADDR=address).get("/metrics", headers=headers)
    return response.status_code, response.headers


@pytest.fixture
def tokens(settings: Settings) -> None:
    """Two tokens, while rotating."""
    settings.HITL_METRICS_TOKENS = ["old-token", "new-token"]


@pytest.fixture
def networks(settings: Settings) -> None:
    """Two networks, of both kinds."""
    settings.HITL_METRICS_NETWORKS = [ip_network("10.1.0.0/16"), ip_network("2001:db8::/32")]


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
@pytest.mark.parametrize("token", ["old-token", "new-token"])
def test_either_token_opens(db: None, tokens: None, scheme: str, token: str) -> None:
    assert answer(authorization=f"{scheme} {token}")[0] == 200


@pytest.mark.parametrize(
    "header",
    ["Bearer wrong", "Bearer ", "Bearer old-token,new-token", "old-token", "Basic old-token", "é"],
)
def test_another_token_is_refused_before_the_database_is_asked(tokens: None, header: str) -> None:
    status, headers = answer(authorization=header)
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')


def test_without_a_token_the_answer_says_what_is_missing(tokens: None) -> None:
    status, headers = answer()
    assert (status, "no-store" in headers["Cache-Control"]) == (401, True)


@pytest.mark.parametrize("address", ["10.1.255.1", "2001:db8::7", "::ffff:10.1.0.1"])
def test_who_comes_from_a_network_may_read(db: None, networks: None, address: str) -> None:
    assert answer(address)[0] == 200


@pytest.mark.parametrize("address", ["10.2.0.1", "2001:db9::1", "::ffff:10.2.0.1", "", "unix:"])
def test_who_comes_from_elsewhere_is_refused(networks: None, address: str) -> None:
    status, headers = answer(address, authorization="Bearer anything")
    assert (status, "WWW-Authenticate" in headers) == (403, False)


def test_of_both_either_is_enough(db: None, tokens: None, networks: None) -> None:
    assert answer("10.1.0.1")[0] == 200
    assert answer(authorization="Bearer new-token")[0] == 200


def test_of_both_one_is_needed(tokens: None, networks: None) -> None:
    assert answer("10.2.0.1", authorization="Bearer wrong")[0] == 401


def test_what_a_proxy_elsewhere_passes_on_comes_from_where_it_says(
    launch_web_server: Callable[..., WebServer],
) -> None:
    proxy = "127.0.0.2"
    server = launch_web_server(
        HITL_BEHIND_TLS_PROXY="1", HITL_METRICS_NETWORKS=f"{proxy}/32", FORWARDED_ALLOW_IPS=proxy
    )
    passed_on = {"X-Forwarded-For": "203.0.113.9"}
    transport = httpx.HTTPTransport(local_address=proxy)
    with httpx.Client(base_url=server.url, transport=transport) as client:
        assert client.get("/metrics").status_code == 200
        assert client.get("/metrics", headers=passed_on).status_code == 403


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"HITL_METRICS_NETWORKS": "10.0.0.0/8,localhost"}, "not 'localhost'"),
        ({"HITL_METRICS_NETWORKS": "10.0.0.1/8"}, "HITL_METRICS_NETWORKS must hold networks"),
        ({"HITL_METRICS_TOKEN": " , "}, "HITL_METRICS_TOKEN is set and names nothing"),
        ({"HITL_METRICS_NETWORKS": ","}, "HITL_METRICS_NETWORKS is set and names nothing"),
        ({"HITL_METRICS_TOKEN": "a,b,c"}, "at most two tokens"),
        ({"HITL_METRICS_TOKEN": "two words"}, "letters, digits"),
    ],
)
def test_a_wrong_limit_stops_the_boot_with_a_sentence(
    changes: dict[str, str], sentence: str
) -> None:
    said = complaint(**changes)
    assert sentence in said
    assert "two words" not in said
