"""Optional traces: a span around each pass of an agent's worker and around each of its steps.

They are on if OTEL_EXPORTER_OTLP_ENDPOINT is set and hive was installed as `hive[traces]`. Otherwise nothing is
imported, and a span costs a function call. The SDK reads the other OTEL_* variables.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from meta.errors import HiveError
from meta.text import one_line

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

log = logging.getLogger(__name__)
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
FLUSH = 2000
"""Milliseconds that the daemon waits at its end for the last spans to be sent."""

_provider: TracerProvider | None = None


def start(environment: Mapping[str, str]) -> bool:
    """Send spans to the endpoint in `environment`, if there is one. Return True if spans are sent."""
    if not environment.get(ENDPOINT):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("%s is set, but hive was installed without traces: pip install 'hive[traces]'", ENDPOINT)
        return False
    send_to(BatchSpanProcessor(OTLPSpanExporter()))
    return True


def send_to(processor: SpanProcessor) -> None:
    """Send spans to `processor` from now on."""
    global _provider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    _provider = TracerProvider(resource=Resource.create({"service.name": "hive"}), shutdown_on_exit=False)
    _provider.add_span_processor(processor)


def stop() -> None:
    """Send the remaining spans, for at most FLUSH, and turn traces off."""
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        provider.force_flush(FLUSH)
        provider.shutdown()


def span(name: str, /, **attributes: str) -> AbstractContextManager[None]:
    """Trace the block as a span. An error in the block becomes the span's status, scrubbed."""
    return nullcontext() if _provider is None else _span(_provider, name, attributes)


@contextmanager
def _span(provider: TracerProvider, name: str, attributes: Mapping[str, str]) -> Iterator[None]:
    from opentelemetry.trace import StatusCode

    tracer = provider.get_tracer("hive")
    named = {f"hive.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        name, attributes=named, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except HiveError as error:
            current.set_status(StatusCode.ERROR, one_line(error.summary))
            raise
