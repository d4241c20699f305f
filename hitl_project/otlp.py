"""Spans to an OpenTelemetry collector; imported only where there is one."""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from requests import Session

from integrations.guarded_session import guarded_session


def open_provider() -> TracerProvider:
    """A provider that sends in the background, as the standard OTEL_ variables say.

    It sends to permitted addresses only. Processes that are forked later send for themselves.
    """
    named = OTELResourceDetector().detect()
    provider = TracerProvider(
        resource=Resource.create({"service.name": "hitl-gateway"}).merge(named)
    )
    exporter = OTLPSpanExporter(session=guarded_session(Session()))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
