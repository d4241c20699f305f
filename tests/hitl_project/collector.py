"""A stand-in OpenTelemetry collector: takes spans over real HTTP and keeps what they say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from tests.waiting import eventually


@dataclass(frozen=True)
class Span:
    """A span as the collector got it; `links` are the traces that it leads to."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    facts: dict[str, Any]
    links: tuple[str, ...]
    failed: bool
    text: str


@dataclass
class Collector:
    """What arrived so far, and the keys that it came with."""

    url: str
    spans: list[Span] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)

    def about(self, request_id: str) -> list[Span]:
        """The spans of a request."""
        return [s for s in list(self.spans) if s.facts.get("hitl.request_id") == request_id]

    def wait(self, name: str, request_id: str, **facts: str) -> Span:
        """The first span of that name about a request, with these facts, once it arrived."""
        wanted = {"hitl.request_id": request_id, **{f"hitl.{k}": v for k, v in facts.items()}}
        return self.wait_for(
            lambda span: span.name == name and span.facts.items() >= wanted.items(),
            f"a span {name} of {request_id}",
        )

    def wait_for(self, condition: Callable[[Span], bool], what: str) -> Span:
        """The first span for which the condition holds, once it arrived."""
        found: list[Span] = []

        def arrived() -> bool:
            found[:] = filter(condition, list(self.spans))
            return bool(found)

        eventually(arrived, f"{what} arrived", 30)
        return found[0]

    def web_request_of(self, span: Span) -> Span:
        """The web request that a span is part of, once it has ended and arrived."""
        found: list[Span] = []

        def arrived() -> bool:
            known = {one.id: one for one in list(self.spans)}
            found[:] = [span]
            while found[0].parent in known:
                found[:] = [known[found[0].parent]]
            return found[0].kind == "SPAN_KIND_SERVER"

        eventually(arrived, f"the web request of {span.name} arrived", 30)
        return found[0]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port, until the end of the block."""
    collector = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.keys.add(self.headers.get("api-key", ""))
            taken = self.path == "/v1/traces"
            if taken:
                collector.spans += _read(body)
            self.send_response(200 if taken else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: a test shows what it needs."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield collector
        server.shutdown()


def _read(body: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        for scope in resource.scope_spans:
            for message in scope.spans:
                yield _span(message, f"{resource.resource} {message}")


def _span(message: Message, whole: str) -> Span:
    facts = {
        fact.key: getattr(fact.value, str(fact.value.WhichOneof("value")))
        for fact in message.attributes
    }
    return Span(
        name=message.name,
        kind=Message.SpanKind.Name(message.kind),
        trace=message.trace_id.hex(),
        id=message.span_id.hex(),
        parent=message.parent_span_id.hex(),
        facts=facts,
        links=tuple(link.trace_id.hex() for link in message.links),
        failed=message.status.code == 2,
        text=whole,
    )
