"""Nobody is called at an address that is neither public nor allowed, whatever a name leads to."""

import ast
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
from pytest_django import Settings
from urllib3 import ProxyManager

from agents.actions import NotBegun, load_executor
from approvals import outbox
from approvals.models import AuditEntry
from integrations.addresses import RefusedAddress, guarded, is_permitted
from integrations.executors.deadline import open_client_until
from integrations.github.client import configured_github, open_github
from integrations.guarded_session import guarded_session
from integrations.http import open_client, send
from tests.integrations.linear_world import LinearWorld

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = "operations.example"
PUBLIC = ["93.184.215.14", "1.1.1.1", "2606:4700::6810:84e5", "2a00:1450:4001:82a::200e"]
REFUSED = {
    "loopback": ["127.0.0.1", "127.8.8.8", "::1"],
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],  # noqa: S104 - nothing is bound
    "private": ["10.0.0.5", "172.16.0.1", "172.31.255.254", "192.168.1.1"],
    "shared by a carrier": ["100.64.0.1", "100.100.100.200"],
    "link-local": ["169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0"],
    "metadata elsewhere": ["168.63.129.16", "192.0.0.192", "fd00:ec2::254"],
    "unique local": ["fc00::1", "fdff::1"],
    "site-local": ["fec0::1"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "198.18.0.1", "4000::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:93.184.215.14"],
    "compatible": ["::7f00:1", "::93.184.215.14"],
    "NAT64": ["64:ff9b::a9fe:a9fe", "64:ff9b::1.1.1.1", "64:ff9b:1::1.1.1.1"],
    "6to4 and Teredo": ["2002:7f00:1::", "2002:101:101::", "2001:0:4136:e378:8000:63bf::"],
}
# Each a way to write 127.0.0.1 or 169.254.169.254 that the system's own look-up understands.
ODD_SPELLINGS = ["2130706433", "0x7f.1", "0x7f000001", "127.1", "2852039166", "localhost"]

Opened = Callable[[], httpx.Client | requests.Session]
CLIENTS: dict[str, Callable[[], httpx.Client]] = {
    "until_closed": open_client,
    "until_a_deadline": lambda: open_client_until(time.monotonic() + 5),
}
OPENERS: dict[str, Opened] = {**CLIENTS, "session": lambda: guarded_session(requests.Session())}
FAULTS = (httpx.TransportError, requests.RequestException)


@pytest.fixture(params=OPENERS)
def opened(request: pytest.FixtureRequest) -> Opened:
    """Each way in which the gateway calls somebody."""
    return OPENERS[request.param]


def allow(settings: Settings, *networks: str) -> None:
    settings.HITL_PRIVATE_NETWORKS = [ip_network(network) for network in networks]


@contextmanager
def listening(
    address: str = "127.0.0.1", port: int = 0, leads_to: str = ""
) -> Iterator[tuple[int, list[Any]]]:
    """A server that answers everything with 200, or by leading elsewhere.

    Gives its port, and what it is asked.
    """
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Host"]))
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(302 if leads_to else 200)
            if leads_to:
                self.send_header("Location", leads_to)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_CONNECT = do_POST = do_GET  # noqa: N815 - their names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            del format, args

    server = ThreadingHTTPServer((address, port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What a name server answers for NAME, one look-up after the other; the last one stays."""
    answers: dict[str, list[list[str]]] = {NAME: []}
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in answers:
            return real(host, port, *args, **options)
        addresses = answers[name].pop(0) if len(answers[name]) > 1 else answers[name][0]
        return [found for each in addresses for found in real(each, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return answers


def url(host: str, port: int = 9) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_permitted(settings: Settings, address: str) -> None:
    allow(settings)
    assert is_permitted(ip_address(address))


@pytest.mark.parametrize(
    "address", [pytest.param(each, id=each) for kind in REFUSED.values() for each in kind]
)
def test_any_other_address_is_not(settings: Settings, address: str) -> None:
    allow(settings)
    assert not is_permitted(ip_address(address))


@pytest.mark.parametrize(
    ("network", "address", "permitted"),
    [
        ("10.1.0.0/16", "10.1.2.3", True),
        ("10.1.0.0/16", "10.2.0.1", False),
        ("fd00:1::/32", "fd00:1::5", True),
        ("127.0.0.0/8", "::1", False),
        # What lies behind an address that stands for another one has to be permitted as well.
        ("127.0.0.0/8", "::ffff:127.0.0.1", False),
        ("64:ff9b::/96", "64:ff9b::1.1.1.1", True),
        ("64:ff9b::/96", "64:ff9b::169.254.169.254", False),
        ("::/0", "::ffff:10.1.2.3", False),
        ("2002::/16", "2002:7f00:1::", False),
    ],
)
def test_a_network_that_is_named_is_permitted_and_no_more(
    settings: Settings, network: str, address: str, permitted: bool
) -> None:
    allow(settings, network)
    assert is_permitted(ip_address(address)) is permitted


HOSTS = [address for kind in REFUSED.values() for address in kind if "%" not in address]
HOSTS += ODD_SPELLINGS


@pytest.mark.django_db
@pytest.mark.parametrize("way", CLIENTS)
def test_a_call_there_fails_for_good_and_names_the_setting(settings: Settings, way: str) -> None:
    allow(settings)
    with CLIENTS[way]() as client:
        for host in HOSTS:
            with pytest.raises(RefusedAddress) as refused:
                send(client, "GET", url(host), party="GitHub", operation="get_user")
            assert refused.value.permanent
            assert "is no public address" in str(refused.value)
            assert "HITL_PRIVATE_NETWORKS" in str(refused.value)


def test_a_session_calls_nobody_there_either(settings: Settings) -> None:
    allow(settings)
    with guarded_session(requests.Session()) as session:
        for host in HOSTS:
            with pytest.raises(RefusedAddress, match="is no public address, and HITL_PRIVATE_NET"):
                session.get(url(host))


def test_a_session_calls_whom_the_setting_allows_by_version_6_too(settings: Settings) -> None:
    allow(settings, "127.0.0.1/32")
    with guarded_session(requests.Session()) as session, listening() as (port, asked):
        assert session.post(url("127.0.0.1", port), data=b"spans").status_code == 200
        assert asked == [("/", f"127.0.0.1:{port}")]
        with pytest.raises(RefusedAddress, match=r"^::1 is"):
            session.get(url("::1", port))
        allow(settings, "::1/128")
        # Permitted, and nobody listens.
        with pytest.raises(requests.ConnectionError):
            session.get(url("::1", port))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("follows", [True, False])
def test_a_session_takes_a_redirect_for_a_fault(
    settings: Settings, method: str, follows: bool
) -> None:
    allow(settings, "127.0.0.1/32")
    with listening() as (there, never), listening(leads_to=url("127.0.0.1", there)) as (here, _):
        session = guarded_session(requests.Session())
        with session, pytest.raises(requests.TooManyRedirects, match=r"^127\.0\.0\.1 answered"):
            session.request(method, url("127.0.0.1", here), allow_redirects=follows)
    assert never == []


def test_a_session_uses_no_proxy_that_could_not_be_judged(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Socks(ProxyManager):
        """As where PySocks is installed, which opens its connections by itself."""

        def __init__(self, address: str, **_: object) -> None:
            super().__init__(address.replace("socks5", "http"))

    monkeypatch.setattr("requests.adapters.SOCKSProxyManager", Socks)
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    refused = pytest.raises(requests.exceptions.InvalidProxyURL, match="no other can be judged")
    with guarded_session(requests.Session()) as session, refused:
        session.get("http://nowhere.invalid/")


def test_a_name_that_leads_nowhere_else_is_refused_with_its_address(
    settings: Settings, opened: Opened, look_ups: dict[str, list[list[str]]]
) -> None:
    allow(settings)
    look_ups[NAME] = [["10.0.0.5", "169.254.169.254"]]
    with opened() as client, pytest.raises(RefusedAddress, match=rf"^10\.0\.0\.5 \({NAME}\) is"):
        client.get(url(NAME))


def test_of_several_addresses_only_permitted_ones_are_tried(
    settings: Settings, opened: Opened, look_ups: dict[str, list[list[str]]]
) -> None:
    allow(settings, "127.0.0.1/32", "127.0.0.3/32")
    with listening("127.0.0.1") as (port, asked), listening("127.0.0.2", port) as (_, never):
        # Nobody listens at the third.
        look_ups[NAME] = [["127.0.0.2", "127.0.0.3", "127.0.0.1"]]
        with opened() as client:
            assert client.get(url(NAME, port)).status_code == 200
    assert (len(asked), never) == (1, [])


def test_a_second_answer_of_dns_leads_nowhere_else(
    settings: Settings, opened: Opened, look_ups: dict[str, list[list[str]]]
) -> None:
    allow(settings, "127.0.0.1/32")
    with listening("127.0.0.1") as (port, asked), listening("127.0.0.2", port) as (_, never):
        look_ups[NAME] = [["127.0.0.1"], ["127.0.0.2"]]
        with opened() as client:
            assert client.get(url(NAME, port)).status_code == 200
            # The next connection asks anew, and is judged anew.
            with pytest.raises(RefusedAddress):
                client.get(url(NAME, port))
    assert never == []
    assert {host for _, host in asked} == {f"{NAME}:{port}"}


def test_the_certificate_is_asked_for_by_name(
    settings: Settings, opened: Opened, look_ups: dict[str, list[list[str]]]
) -> None:
    allow(settings, "127.0.0.1/32")
    look_ups[NAME] = [["127.0.0.1"]]
    hello: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hear() -> None:
            connection, _ = server.accept()
            with connection:
                hello.append(connection.recv(4096))

        hearing = threading.Thread(target=hear, daemon=True)
        hearing.start()
        with opened() as client, pytest.raises(FAULTS):
            client.get(f"https://{NAME}:{server.getsockname()[1]}/")
        hearing.join(5)
    assert NAME.encode() in hello[0]


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, list[Any]]]:
    """A proxy that the environment names, and what it is asked for."""
    with listening() as (port, asked):
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        yield port, asked


def test_a_proxy_of_the_environment_looks_names_up_and_decides_about_them(
    settings: Settings, opened: Opened, proxy: tuple[int, list[Any]]
) -> None:
    allow(settings, "127.0.0.1/32")
    with opened() as client:
        assert client.get("http://nowhere.invalid/path").status_code == 200
        with suppress(*FAULTS):  # it speaks no TLS behind its 200
            client.get("https://nowhere.invalid/")
    assert [path for path, _ in proxy[1]] == ["http://nowhere.invalid/path", "nowhere.invalid:443"]


def test_a_proxy_is_itself_connected_to_only_where_that_is_permitted(
    settings: Settings, opened: Opened, proxy: tuple[int, list[Any]]
) -> None:
    allow(settings)
    for scheme in ("http", "https"):
        with opened() as client, pytest.raises(RefusedAddress, match=r"^127\.0\.0\.1 is"):
            client.get(f"{scheme}://nowhere.invalid/")
    assert proxy[1] == []


def test_what_is_excepted_from_the_proxy_is_judged_here(
    settings: Settings,
    opened: Opened,
    proxy: tuple[int, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow(settings, "127.0.0.1/32")
    monkeypatch.setenv("no_proxy", "10.0.0.5")
    with opened() as client, pytest.raises(RefusedAddress, match=r"^10\.0\.0\.5 is"):
        client.get(url("10.0.0.5"))
    assert proxy[1] == []


def test_a_client_that_cannot_be_guarded_is_not_opened() -> None:
    unknown = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200)))
    with pytest.raises(TypeError, match="cannot be kept from private addresses"):
        guarded(unknown)


# Whatever speaks HTTP by itself, and who may name it for what.
SPEAKERS = (
    *("http.client", "requests", "urllib.request", "urllib3", "httpcore", "authlib"),
    *("opentelemetry.exporter", "aiohttp", "websockets"),
)
SPEAKING = {
    "integrations/addresses.py": {"httpcore"},
    "integrations/guarded_session.py": {"requests", "urllib3"},
    # By a guarded session: tests/approvals/http/test_single_sign_on.py.
    "hitl_project/single_sign_on.py": {"authlib", "requests"},
    "hitl_project/claims.py": {"authlib"},
    # By a guarded session: tests/hitl_project/test_otlp.py.
    "hitl_project/otlp.py": {"opentelemetry.exporter", "requests"},
    # `make run` asks the processes that it started itself on this machine.
    "hitl_project/local.py": {"http.client"},
    "hitl_project/local_prometheus.py": {"http.client"},
}


def production_code() -> Iterator[tuple[str, ast.Module]]:
    """Every module of production by its path."""
    for package in ("approvals", "agents", "integrations", "hitl_project"):
        for path in (ROOT / package).rglob("*.py"):
            yield f"{path.relative_to(ROOT)}", ast.parse(path.read_text())


def test_no_other_client_is_opened_in_production_code() -> None:
    opening = {"Client", "AsyncClient", "get", "post", "put", "patch", "request", "stream"}
    unguarded = []
    for path, tree in production_code():
        inside = {
            id(argument)
            for call in ast.walk(tree)
            if isinstance(call, ast.Call)
            and ast.unparse(call.func) in {"guarded", "guarded_session"}
            for argument in call.args
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and id(node) not in inside:
                module, _, name = ast.unparse(node.func).rpartition(".")
                # What carries requests out by a guarded client of its own.
                own = any(word.arg == "transport" for word in node.keywords)
                opened = module == "httpx" and name in opening and not own
                if opened or name.endswith("Session"):
                    unguarded.append(f"{path}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and node.module == "httpx":
                unguarded.append(f"{path}:{node.lineno}")
    assert unguarded == []


def test_nothing_else_that_speaks_http_is_imported_in_production_code() -> None:
    found: dict[str, set[str]] = {}
    for path, tree in production_code():
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            spoken = {s for s in SPEAKERS for name in names if f"{name}.".startswith(f"{s}.")}
            if spoken:
                found.setdefault(path, set()).update(spoken)
    assert found == SPEAKING


@pytest.mark.django_db
def test_a_delivery_to_a_refused_address_is_given_up_at_once_with_the_reason(
    settings: Settings, linear: LinearWorld
) -> None:
    allow(settings)
    request_id = linear.open()
    assert outbox.deliver_next("linear")
    delivery = linear.delivery(request_id)
    assert delivery.gave_up_at is not None
    assert "127.0.0.1 is no public address" in delivery.last_error
    assert "HITL_PRIVATE_NETWORKS" in delivery.last_error
    assert not outbox.deliver_next("linear")
    assert AuditEntry.objects.filter(stream=request_id, name="delivery.gave_up").exists()


@pytest.mark.django_db
def test_github_is_not_called_at_a_refused_address(settings: Settings) -> None:
    allow(settings)
    settings.GITHUB_TOKEN, settings.GITHUB_REPOSITORIES = "token", ["acme/shop"]
    settings.GITHUB_API_URL = "http://169.254.169.254"
    open_github.cache_clear()
    with pytest.raises(RefusedAddress):
        _ = configured_github().login
    action: dict[str, Any] = {
        "repo": "acme/shop",
        "workflow": "merge.yml",
        "ref": "main",
        "inputs": {},
        "idempotency_key_input": None,
        "timeout_seconds": 5,
    }
    reason = "^The workflow was not dispatched: 169.254.169.254 is no public address"
    with pytest.raises(NotBegun, match=reason):
        load_executor("github_workflow")(action, idempotency_key="request-7")


@pytest.mark.parametrize("idempotent", [False, True])
def test_an_operation_at_a_refused_address_is_not_begun_and_says_why(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, idempotent: bool
) -> None:
    allow(settings)
    monkeypatch.setenv("HITL_OPERATIONS_URL", "http://169.254.169.254/latest")
    action = {
        "method": "POST",
        "url": "http://169.254.169.254/latest/meta-data",
        "body": {},
        "headers_env": {},
        "base_url_env": "HITL_OPERATIONS_URL",
        "timeout_seconds": 5,
        "idempotent": idempotent,
    }
    started = time.monotonic()
    reason = r"^The call was not begun: it could not be made \(169\.254\.169\.254 is"
    with pytest.raises(NotBegun, match=reason) as stopped:
        load_executor("http")(action, idempotency_key="request-7")
    assert time.monotonic() - started < 1
    assert "HITL_PRIVATE_NETWORKS" in str(stopped.value)
