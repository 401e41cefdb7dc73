"""Spans: around each pass and each step when wanted, and nothing at all otherwise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from meta.errors import PermanentError
from meta.names import AgentName
from reconciler.telemetry import activity, tracing

ALICE = AgentName("alice")


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.send_to(SimpleSpanProcessor(exporter))
    yield exporter
    tracing.stop()


def test_a_step_is_a_span_within_its_pass_and_both_name_the_agent(spans: InMemorySpanExporter) -> None:
    with activity.reconciling(ALICE), activity.stepping("build"):
        pass
    step, whole = spans.get_finished_spans()
    assert (step.name, whole.name) == ("build", "reconcile")
    assert step.parent is not None
    assert whole.context is not None
    assert step.parent.span_id == whole.context.span_id
    assert step.attributes is not None
    assert whole.attributes is not None
    assert (step.attributes["hive.agent"], step.attributes["hive.step"]) == ("alice", "build")
    assert step.attributes["hive.reconcile"] == whole.attributes["hive.reconcile"]


def test_an_error_is_the_spans_outcome_without_a_secret(spans: InMemorySpanExporter) -> None:
    with pytest.raises(PermanentError), activity.reconciling(ALICE), activity.stepping("build"):
        raise PermanentError("no access with sk-ant-api03-abcdefghijk")
    step = spans.get_finished_spans()[0]
    assert step.status.description == "no access with [redacted]"
    assert not step.events


def test_without_an_endpoint_nothing_is_begun_and_nothing_is_imported() -> None:
    code = (
        "import sys; from reconciler.telemetry import activity, tracing; assert not tracing.start({});"
        "m = activity.reconciling('alice'); m.__enter__(); m.__exit__(None, None, None); tracing.stop();"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


def test_an_endpoint_without_the_extra_is_said_and_does_not_stop_the_daemon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert not tracing.start({tracing.ENDPOINT: "http://127.0.0.1:1"})
    assert "hive[traces]" in caplog.text
    with tracing.span("build"):
        pass
