"""`/healthz`, `/readyz` and `/metrics`, for whoever looks after the gateway."""

import hmac
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from threading import Lock

import psycopg
from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from psycopg.conninfo import make_conninfo
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from approvals import outbox
from approvals.core.events import WORKFLOW
from approvals.core.queues import Queue
from approvals.metrics import rendered, scrape
from approvals.selectors.health import NOT_ACCEPTED, heartbeats, is_database_accepted

PATIENCE_SECONDS = 2
FRESH_SECONDS = 30.0
_QUEUES = {
    Queue.SWEEPS: "the sweep that beat starts",
    Queue.RUNS: "a worker for the queue runs",
    Queue.CHANNELS: "a worker for the queue channels",
}


@dataclass
class _Shared:
    """A look at what is outside, one at a time: who waits for its turn shares what the next sees.

    So any number of callers, who need not even log in, costs one connection.
    """

    look: Callable[[], Mapping[str, str]]
    _turn: Lock = field(default_factory=Lock)
    _began_at: float = -1.0
    _seen: Mapping[str, str] = field(default_factory=dict)

    def __call__(self) -> Mapping[str, str]:
        asked_at = time.monotonic()
        with self._turn:
            # What was begun before this caller asked may be out of date.
            if self._began_at <= asked_at:
                began_at = time.monotonic()
                self._seen, self._began_at = self.look(), began_at
            return self._seen


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """200 as long as the process answers; asks nothing else."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """200 where everything needed is there, else 503 with the reasons in words."""
    checks = _checks()
    reasons = [sentence for sentence in checks.values() if sentence != "ok"]
    body = {"status": "not ready" if reasons else "ready", "checks": checks, "reasons": reasons}
    return JsonResponse(body, status=503 if reasons else 200)


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Every metric, as text or, where it is asked for, as OpenMetrics, to whoever may read it."""
    if (refusal := _refusal(request)) is not None:
        return refusal
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    openmetrics = content_type.startswith("application/openmetrics-text")
    end = b"# EOF\n" if openmetrics else b""
    counted = encode(_processes()).removesuffix(end)
    page = counted + rendered(scrape(), openmetrics=openmetrics).encode() + end
    return HttpResponse(page, content_type=content_type)


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """What to answer whoever may not read the metrics; asks the database nothing."""
    tokens, networks = settings.HITL_METRICS_TOKENS, settings.HITL_METRICS_NETWORKS
    if not tokens and not networks:
        return None
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # Every token is compared, whatever the first said: how long it takes tells nothing.
    matches = [hmac.compare_digest(given.strip().encode(), token.encode()) for token in tokens]
    if scheme.lower() == "bearer" and any(matches):
        return None
    if _comes_from(request.META.get("REMOTE_ADDR") or "", networks):
        return None
    text = "Metrics are only for those with a token or from a network that the gateway knows.\n"
    refusal = HttpResponse(text, content_type="text/plain", status=401 if tokens else 403)
    if tokens:
        refusal["WWW-Authenticate"] = 'Bearer realm="metrics"'
    return refusal


def _comes_from(text: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        # Such as of a Unix socket, which has none.
        return False
    # What listens on both kinds of addresses shows IPv4 ones as parts of IPv6.
    mapped = getattr(address, "ipv4_mapped", None)
    return any(address in network or (mapped and mapped in network) for network in networks)


def _processes() -> CollectorRegistry:
    """The counts of this process or, where several share a folder, of all of them."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


@_Shared
def _checks() -> Mapping[str, str]:
    """For each thing that the gateway needs, `ok` or what is wrong."""
    checks = {"postgresql": _postgresql(), "redis": _redis()}
    if checks["postgresql"] != "ok":
        return checks
    return {**checks, "database": "ok" if is_database_accepted() else NOT_ACCEPTED, **_queues()}


def _postgresql() -> str:
    """`ok`, or what is wrong; over a connection of its own, which a busy pool cannot delay."""
    conninfo = make_conninfo(
        settings.DATABASE_URL,
        dbname=str(connection.settings_dict["NAME"]),
        connect_timeout=PATIENCE_SECONDS,
        tcp_user_timeout=PATIENCE_SECONDS * 1000,
        application_name="hitl-readyz",
    )
    try:
        with psycopg.connect(conninfo, autocommit=True) as own:
            own.execute("SELECT 1")
    except psycopg.OperationalError:
        return f"PostgreSQL does not answer within {PATIENCE_SECONDS} s."
    return "ok"


def _redis() -> str:
    """`ok`, or what is wrong."""
    own = Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=PATIENCE_SECONDS,
        socket_timeout=PATIENCE_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        own.ping()
    except RedisError:
        return f"Redis does not answer within {PATIENCE_SECONDS} s."
    finally:
        own.close()
    return "ok"


def _queues() -> Mapping[str, str]:
    """For each queue that has work to expect, `ok` or when it was last seen."""
    ages = heartbeats()
    needed = dict(_QUEUES)
    if set(outbox.channels()) <= {WORKFLOW}:
        # Nothing is ever sent to a queue whose channels are all off.
        del needed[Queue.CHANNELS]
    return {queue: _seen(what, ages.get(queue)) for queue, what in needed.items()}


def _seen(what: str, age_seconds: float | None) -> str:
    if age_seconds is None:
        return f"Never seen at work: {what}."
    if age_seconds > FRESH_SECONDS:
        return f"Last seen at work {age_seconds:.0f} s ago: {what}."
    return "ok"
