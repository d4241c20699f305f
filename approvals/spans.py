"""The steps of a decision's path as OpenTelemetry spans; imported only where traces are sent."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from approvals.core.events import ChannelBusy
from approvals.errors import Refusal

Fact = str | int | float | bool

_TRACE_CONTEXT = TraceContextTextMapPropagator()


class Spans:
    """Makes spans and says what the one under way is about.

    Their attributes are ids, counts and words of ours. Of an exception they tell the type alone,
    because its text may quote what people and agents wrote.
    """

    def __init__(self, provider: trace.TracerProvider) -> None:
        self._tracer = provider.get_tracer("hitl")

    @contextmanager
    def root(self, name: str, kind: str, traceparent: str | None = None) -> Iterator[Span]:
        """Begin a trace, or go on with the one that a traceparent of ours names."""
        attached = context.attach(_context_of(traceparent))
        try:
            with self.span(name, kind) as span:
                yield span
        finally:
            context.detach(attached)

    @contextmanager
    def span(self, name: str, kind: str) -> Iterator[Span]:
        """A span within the one under way; `kind` is one of OpenTelemetry's, in small letters."""
        with self._tracer.start_as_current_span(
            name,
            kind=SpanKind[kind.upper()],
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except (Refusal, ChannelBusy) as answer:
                span.set_attribute("hitl.answer", type(answer).__name__)
                raise
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def describe(self, facts: Mapping[str, Fact]) -> None:
        """Add facts to the span under way."""
        trace.get_current_span().set_attributes({f"hitl.{k}": v for k, v in facts.items()})

    def fail(self, message: str) -> None:
        """Mark the span under way as failed."""
        trace.get_current_span().set_status(Status(StatusCode.ERROR, message))

    def link(self, traceparent: str) -> None:
        """Lead from the span under way to another trace, if that one was kept."""
        span, other = trace.get_current_span(), _span_context(traceparent)
        if other.trace_flags.sampled and other.trace_id != span.get_span_context().trace_id:
            span.add_link(other)

    def ids(self) -> dict[str, str]:
        """The ids of the span under way, as a line of log shows them; empty without one."""
        span = trace.get_current_span().get_span_context()
        if not span.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(span.trace_id),
            "span_id": trace.format_span_id(span.span_id),
        }

    def traceparent(self) -> str | None:
        """The span under way in the words of W3C Trace Context; None without one."""
        carrier: dict[str, str] = {}
        _TRACE_CONTEXT.inject(carrier)
        return carrier.get("traceparent")


def _span_context(traceparent: str) -> SpanContext:
    return trace.get_current_span(_context_of(traceparent)).get_span_context()


def _context_of(traceparent: str | None) -> context.Context:
    """What a traceparent names; nothing where there is none, or it cannot be read."""
    carrier = {} if traceparent is None else {"traceparent": traceparent}
    return _TRACE_CONTEXT.extract(carrier, context.Context())
